//! The log of the only keeper is damaged, and is cut knowingly, with the command that people have for it: rows before the cut are
//! there, those behind it are not, and no shard or router takes one for the other.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use longbow_harness::{
    cluster::{Cluster, PATIENCE, Shape},
    load::{channel, create_dataset, row_id, text_of, upsert_of},
    wait,
};
use longbow_types::{ErrorCode, Token};
use longbow_wire::{
    convert::status::from_status,
    v1::{
        self, consistency::Level, search_service_client::SearchServiceClient,
        write_service_client::WriteServiceClient,
    },
};
use serde_json::Value;

use crate::shared::binary;

const DATASET: &str = "d";
const KEEPER: &str = "keeper-0";
const SHARD: &str = "shard-0";
const ROWS: u64 = 300;
const SETTINGS: [(&str, &str); 3] = [
    ("LONGBOW_KEEPER_SEGMENT_BYTES", "65536"),
    ("LONGBOW_KEEPER_CHECKPOINT_INTERVAL", "200ms"),
    // Many, so that some are behind the cut.
    ("LONGBOW_SHARD_SNAPSHOT_EVERY", "2000"),
];

/// Writes a version of a row; its token.
async fn write(endpoint: &str, id: u64, version: u64) -> Result<String> {
    let mut client = WriteServiceClient::new(channel(endpoint)?);
    let request = v1::UpsertRequest {
        ack: v1::AckLevel::Applied as i32,
        ..upsert_of(DATASET, &[id], version)
    };
    Ok(client.upsert(request).await?.into_inner().token)
}

/// Which of the rows are there, by a read that sees everything, or all up to a token.
async fn there(endpoint: &str, at_least: Option<&str>) -> Result<Vec<u64>, longbow_types::Error> {
    let level = match at_least {
        Some(token) => Level::AtLeast(token.to_owned()),
        None => Level::Fresh(v1::Fresh { strict: true }),
    };
    let request = v1::GetRowsRequest {
        dataset: DATASET.to_owned(),
        ids: (0..2 * ROWS).map(row_id).collect(),
        consistency: Some(v1::Consistency { level: Some(level) }),
        ..v1::GetRowsRequest::default()
    };
    let mut client = SearchServiceClient::new(channel(endpoint).unwrap());
    let answer = client
        .get_rows(request)
        .await
        .map_err(|status| from_status(&status))?;
    let rows = answer.into_inner().rows;
    let id = |row: &v1::FoundRow| match row.id.as_ref().and_then(|id| id.kind.clone()) {
        Some(v1::row_id::Kind::U64(id)) => id,
        other => panic!("{other:?}"),
    };
    let mut ids: Vec<u64> = rows.iter().map(id).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Flips a bit of a row's text in the keeper's log.
fn damage(log: &Path, id: u64) -> Result<()> {
    let text = text_of(id, 1);
    for file in fs::read_dir(log)? {
        let path = file?.path();
        let mut bytes = fs::read(&path)?;
        if let Some(at) = bytes.windows(text.len()).position(|part| part == text.as_bytes()) {
            bytes[at] ^= 1;
            return Ok(fs::write(path, bytes)?);
        }
    }
    anyhow::bail!("the row is nowhere in the log")
}

fn cut(data_path: &Path, rest: &[&str]) -> Result<Value> {
    let output = Command::new(binary())
        .args(["wal", "cut", "--json"])
        .arg(data_path)
        .args(rest)
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What is left after a cut while some nodes are up: before it, those named go down with the keeper.
async fn goes_back(down: &[&str]) -> Result<()> {
    let env: Vec<_> = SETTINGS
        .iter()
        .map(|&(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let mut cluster = Cluster::start_with(binary(), Shape::SMALLEST, &env)?;
    let endpoint = cluster.endpoints()[0].clone();
    create_dataset(&endpoint, DATASET).await?;
    let mut tokens = Vec::new();
    for id in 0..ROWS {
        tokens.push(write(&endpoint, id, 1).await?);
    }
    assert_eq!(there(&endpoint, None).await?, (0..ROWS).collect::<Vec<_>>());
    for node in down.iter().chain([&KEEPER]) {
        cluster.kill(node)?;
    }
    let data_path = cluster.data_dir().join(KEEPER);
    damage(&data_path.join("wal"), ROWS * 2 / 3)?;
    cluster.restart(KEEPER)?;
    cluster.ended(KEEPER).await?;
    let said = cluster.restarted_log(KEEPER)?;
    ensure!(said.contains("longbow wal cut"), "{said}");

    let told = cut(&data_path, &[])?;
    let last = told["last_index"].as_u64().context("no last index")?;
    ensure!(told["cut"] == false && told["incarnation"] == 2, "{told}");
    let refused = cut(
        &data_path,
        &["--after", &(last + 1).to_string(), "--reason", "a test"],
    );
    ensure!(refused.is_err(), "it cut where it was not told to");
    let done = cut(&data_path, &["--after", &last.to_string(), "--reason", "a test"])?;
    ensure!(done["cut"] == true && done["last_index"] == last, "{done}");
    ensure!(cut(&data_path, &[])?["sound"] == true, "it is not sound");
    for node in [&KEEPER].into_iter().chain(down) {
        cluster.restart(node)?;
        cluster.ready(node).await?;
    }

    let index = |token: &String| Some(token.parse::<Token>().ok()?.in_group(0)?.index);
    let indexes: Option<Vec<u64>> = tokens.iter().map(index).collect();
    let indexes = indexes.context("a token cannot be read")?;
    let mut kept: Vec<u64> = (0..ROWS).filter(|&id| indexes[id as usize] <= last).collect();
    ensure!(
        kept.len() == ROWS as usize * 2 / 3,
        "{} rows are kept",
        kept.len()
    );
    // The router may have connections to learn of, and so may the shard.
    let seen = wait::until("what was cut off to be gone", PATIENCE, || async {
        Ok(there(&endpoint, None).await?)
    })
    .await?;
    assert_eq!(seen, kept);
    let error = there(&endpoint, tokens.last().map(String::as_str))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidToken, "{error}");
    for id in ROWS..ROWS + 20 {
        let token = write(&endpoint, id, 2).await?;
        kept.push(id);
        ensure!(index(&token) > indexes.last().copied(), "an index comes twice");
        assert_eq!(there(&endpoint, Some(&token)).await.unwrap(), kept);
    }
    for node in [SHARD, KEEPER] {
        cluster.kill(node)?;
        cluster.restart(node)?;
        cluster.ready(node).await?;
    }
    assert_eq!(there(&endpoint, None).await.unwrap(), kept);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_log_goes_on_while_shard_and_router_run() {
    goes_back(&[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_log_goes_on_when_the_shard_comes_back() {
    goes_back(&[SHARD]).await.unwrap();
}
