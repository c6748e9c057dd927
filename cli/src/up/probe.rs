//! Whether a node says that it is ready: `GET /readyz`.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Longest answer read.
const ANSWER_BYTES_MAX: u64 = 4096;
/// Time for one probe.
const PATIENCE: Duration = Duration::from_secs(2);

/// `Ok` when the node is ready, else what it says, or what went wrong.
pub async fn ready(http: SocketAddr) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, get(http)).await {
        Ok(Ok(answer)) => judge(&answer),
        Ok(Err(error)) => Err(format!("does not answer yet ({error})")),
        Err(_) => Err("does not answer in time".to_owned()),
    }
}

async fn get(http: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(http).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(answer: &str) -> Result<(), String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(()),
        Some(_) => Err(body.trim().to_owned()),
        None => Err("does not speak HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged() {
        assert_eq!(judge("HTTP/1.1 200 OK\r\n\r\nready"), Ok(()));
        assert_eq!(
            judge("HTTP/1.1 503 No\r\na: b\r\n\r\nno leader\n"),
            Err("no leader".to_owned())
        );
        assert!(judge("").is_err());
    }
}
