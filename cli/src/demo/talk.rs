//! How to talk to the cluster that runs now.

use std::net::SocketAddr;

/// Snippets with the addresses in them.
pub fn snippets(data: SocketAddr, meta: Option<SocketAddr>, http: SocketAddr) -> String {
    let default = data == SocketAddr::from(([127, 0, 0, 1], 3000));
    let export = if default {
        String::new()
    } else {
        format!("  export LONGBOW_ENDPOINT=http://{data}\n")
    };
    let meta = meta.map_or(String::new(), |meta| format!(", also on {meta}"));
    format!(
        r#"Talk to it (native gRPC and Arrow Flight on {data}{meta}; metrics on http://{http}/metrics):

command line
{export}  longbow status
  longbow search wordnet --id 10734 -k 5 --filter "pos = 'noun'" --columns lemmas,gloss

any gRPC client, for example grpcurl (the server knows its own protos)
  grpcurl -plaintext -d '{{"dataset":"wordnet","id":{{"u64":10734}},"k":3,"columns":["lemmas"]}}' \
      {data} longbow.v1.SearchService/Search

Python, with pyarrow alone
  import pyarrow.flight as fl, json
  db = fl.connect("grpc://{data}")
  words = db.do_get(fl.Ticket(b'{{"name":"wordnet","limit":5}}')).read_all()
  ask = {{"search": {{"dataset": "wordnet", "vector": words["vector"][0].as_py(), "k": 3}}}}
  print(db.do_get(fl.Ticket(json.dumps(ask).encode())).read_all())
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_the_real_ones() {
        let text = snippets(
            "127.0.0.1:4000".parse().unwrap(),
            Some("127.0.0.1:4001".parse().unwrap()),
            "127.0.0.1:9091".parse().unwrap(),
        );
        assert!(text.contains("export LONGBOW_ENDPOINT=http://127.0.0.1:4000"));
        assert!(text.contains("127.0.0.1:4001") && text.contains("http://127.0.0.1:9091/metrics"));
        assert!(
            text.contains(r#"{"dataset":"wordnet","id":{"u64":10734}"#),
            "{text}"
        );
        let usual = snippets(
            "127.0.0.1:3000".parse().unwrap(),
            None,
            "127.0.0.1:9090".parse().unwrap(),
        );
        assert!(!usual.contains("export"));
    }
}
