//! `longbow demo`: a whole cluster in this process, with something to search.
//!
//! Everything it does to the cluster goes through the public API over loopback: there is no side door.

pub mod cluster;
mod measure;
mod sample;
mod steps;
mod talk;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use longbow_client::{Ack, Client, Consistency, DatasetHandle, Options};
use longbow_node::{
    shutdown::Shutdown,
    telemetry::{LogFormat, init_logging},
};
use serde_json::{Value as Json, json};

use self::{
    cluster::Cluster,
    measure::Measured,
    sample::Sample,
    steps::{Check, Shown},
};
use crate::{
    args::{Global, folder},
    commands::search::{hit_json, hits_table},
    import::load,
    output::{
        Output,
        table::{table, thousands},
    },
    up::{
        identity::DataDir,
        layout::{self, Common, NodePlan, Preferred, Shape},
        ports::Ports,
    },
};

const EXAMPLES: &str = "\
Examples:
  longbow demo                           runs until Ctrl-C; the same --data-dir starts it again with its data
  longbow demo --once                    ends after the checks, with code 1 if one fails
  longbow demo --once --json | jq 'select(.recall_at_10)'

With --json it prints a line when it is ready, when it has checked, and, without --once, when it begins to serve.

One router, one wal-keeper and two shards in this process, talking over the same RPC, log and gossip as separate
processes do. The first start loads 5,000 WordNet synsets into the dataset `wordnet`.";

const DATASET: &str = "wordnet";
/// How long the cluster may take to be ready. A long log takes its time.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `longbow demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Where the cluster keeps everything; made if it is not there.
    #[arg(long, default_value = ".longbow/demo", value_name = "DIR", value_parser = folder)]
    pub data_dir: PathBuf,
    /// End after the checks; with code 1 if one fails.
    #[arg(long)]
    pub once: bool,
    /// Log level of the nodes; log lines go to stderr.
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    pub log_level: String,
}

/// What the demo found out.
struct Report {
    recovered: bool,
    load_seconds: f64,
    rows: u64,
    shown: Vec<Shown>,
    measured: Measured,
    checks: Vec<Check>,
}

/// Runs the command.
pub async fn run(args: &DemoArgs, global: &Global) -> anyhow::Result<()> {
    let started = Instant::now();
    let output = Output { json: global.json };
    init_logging(&args.log_level, LogFormat::Text)?;
    let shutdown = Shutdown::new();
    shutdown.on_signals().context("listening for signals")?;
    let dir = DataDir::open(&args.data_dir)?;
    let cluster = start(&dir, &args.log_level).await?;
    let outcome = tokio::select! {
        outcome = show(&cluster, &dir, args, output, started) => outcome,
        () = shutdown.wait() => Ok(()),
    };
    if outcome.is_ok() && !args.once {
        shutdown.wait().await;
    }
    // Nobody may read this any more; the cluster is stopped all the same.
    let _ = output.note("stopping");
    let stopped = cluster.stop().await;
    outcome.and(stopped)
}

async fn start(dir: &DataDir, log_level: &str) -> anyhow::Result<Cluster> {
    let mut ports = Ports::random(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let shape = Shape {
        keepers: 1,
        shards: 2,
        routers: 1,
    };
    let preferred = Preferred {
        data: 3000,
        meta: 3001,
        http: 9090,
    };
    let common = Common {
        all: vec!["--log-level".to_owned(), log_level.to_owned()],
        ..Common::default()
    };
    let plans = layout::plan(shape, dir, &mut ports, Some(preferred), &common)?;
    drop(ports);
    Cluster::start(plans).await
}

/// Waits for the cluster, loads, shows, measures and judges.
async fn show(
    cluster: &Cluster,
    dir: &DataDir,
    args: &DemoArgs,
    output: Output,
    started: Instant,
) -> anyhow::Result<()> {
    cluster.ready(READY_PATIENCE).await?;
    let ready_seconds = started.elapsed().as_secs_f64();
    let nodes: Vec<Json> = cluster.plans().map(NodePlan::json).collect();
    let (data, meta, http) = cluster.router()?;
    let ready = json!({ "event": "ready", "ready_seconds": ready_seconds, "nodes": nodes });
    output.result(&ready, || nodes_text(cluster, dir, ready_seconds))?;
    let client = Client::connect([format!("http://{data}")], Options::default().timeout(TIMEOUT)).await?;
    let sample = Sample::load()?;
    let report = work(&client, &sample, output).await?;
    let failed: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| check.name)
        .collect();
    let mut value = as_json(&report, dir, &format!("http://{data}"), ready_seconds);
    value["nodes"] = json!(nodes);
    output.result(&value, || measured_text(&report))?;
    if !args.once {
        let serving = json!({ "event": "serving", "endpoint": format!("http://{data}"), "nodes": nodes });
        output.result(&serving, || {
            let snippets = talk::snippets(data, meta, http);
            format!("{snippets}\nCtrl-C stops it; the same --data-dir starts it again with its data.")
        })?;
    }
    if !failed.is_empty() {
        let message = format!("checks failed: {}", failed.join(", "));
        if args.once {
            bail!(message);
        }
        eprintln!("error: {message}");
    }
    Ok(())
}

async fn work(client: &Client, sample: &Sample, output: Output) -> anyhow::Result<Report> {
    let dataset = client.dataset(DATASET);
    let looked = Instant::now();
    let made = dataset.create(&sample.schema).if_not_exists().await?;
    let recovered = !made.created && is_whole(&dataset, sample).await?;
    let load_seconds = if recovered {
        let text = format!(
            "recovered: all {} rows of {DATASET} are there with their contents; nothing was loaded ({:.0} ms to check)",
            thousands(sample.ids.len() as u64),
            looked.elapsed().as_secs_f64() * 1e3
        );
        output.note(&text)?;
        0.0
    } else {
        load_sample(&dataset, sample, output).await?
    };
    let shown = vec![
        steps::dense(&dataset).await?,
        steps::filtered(&dataset).await?,
        steps::own_write(client, &dataset, sample).await?,
    ];
    for step in &shown {
        let text = format!(
            "\n{}\n$ {}\n{}",
            step.title,
            step.command,
            hits_table(&step.hits, Some(&["lemmas", "gloss"]))
        );
        output.note(&text)?;
    }
    let rows = dataset.describe().await?.rows.unwrap_or_default();
    let alone = rows == sample.ids.len() as u64;
    let measured = measure::measure(&dataset, sample, alone).await?;
    let mut checks: Vec<Check> = shown.iter().flat_map(|step| step.checks.clone()).collect();
    checks.push(steps::judge(&measured));
    Ok(Report {
        recovered,
        load_seconds,
        rows,
        shown,
        measured,
        checks,
    })
}

/// Whether every row of the sample is there and says what it should.
async fn is_whole(dataset: &DatasetHandle, sample: &Sample) -> anyhow::Result<bool> {
    let found = dataset
        .get(sample.ids.iter().copied())
        .columns(["synset"])
        .consistency(Consistency::FreshStrict)
        .await?;
    let same = |row: &longbow_client::Found, synset| row.columns.get("synset") == Some(synset);
    Ok(found.rows.len() == sample.ids.len()
        && found
            .rows
            .iter()
            .zip(&sample.synsets)
            .all(|(row, synset)| same(row, synset)))
}

async fn load_sample(dataset: &DatasetHandle, sample: &Sample, output: Output) -> anyhow::Result<f64> {
    let bar = load::progress(sample.ids.len() as u64, DATASET, !output.json);
    let batches: Vec<_> = sample.batches.iter().cloned().map(Ok).collect();
    let plan = load::Plan {
        ack: Ack::Logged,
        last_ack: Ack::Indexed,
        parallel: 1,
    };
    let loaded = load::load(dataset, batches.into_iter(), &plan, &bar).await;
    bar.finish_and_clear();
    let loaded = loaded.context("loading the sample")?;
    let seconds = loaded.elapsed.as_secs_f64();
    let text = format!(
        "loaded and indexed {} rows into {DATASET} in {seconds:.2} s",
        thousands(loaded.rows)
    );
    output.note(&text)?;
    Ok(seconds)
}

fn nodes_text(cluster: &Cluster, dir: &DataDir, ready_seconds: f64) -> String {
    let mut nodes = table(["node", "role", "address", "gossip", "metrics"], &[]);
    for plan in cluster.plans() {
        nodes.add_row([
            plan.node_id.clone(),
            plan.role.to_string(),
            plan.rpc.to_string(),
            plan.gossip.to_string(),
            format!("http://{}/metrics", plan.http),
        ]);
    }
    format!(
        "cluster {} is ready after {ready_seconds:.2} s; data in {}\n{nodes}",
        dir.cluster_id(),
        dir.path().display()
    )
}

fn measured_text(report: &Report) -> String {
    let measured = &report.measured;
    let mut numbers = table(["measured", "value", "how"], &["value"]);
    numbers.add_row([
        "recall@10".to_owned(),
        format!("{:.4}", measured.recall),
        format!("100 searches against exact neighbours, {}", measured.exact_by),
    ]);
    let how = format!(
        "{} fresh searches over gRPC, one at a time, k = 10, {} rows",
        measured.searches,
        thousands(report.rows)
    );
    for (name, time) in [("latency p50", measured.p50), ("latency p99", measured.p99)] {
        numbers.add_row([
            name.to_owned(),
            format!("{:.2} ms", time.as_secs_f64() * 1e3),
            how.clone(),
        ]);
    }
    let mut checks = table(["check", "", "what was seen"], &[]);
    for check in &report.checks {
        checks.add_row([check.name, if check.ok { "ok" } else { "FAILED" }, &check.detail]);
    }
    format!("\n{numbers}\n{checks}\n")
}

fn as_json(report: &Report, dir: &DataDir, endpoint: &str, ready_seconds: f64) -> Json {
    let searches = report.shown.iter().map(|step| {
        json!({
            "title": step.title,
            "command": step.command,
            "hits": step.hits.iter().map(hit_json).collect::<Vec<_>>(),
        })
    });
    let checks = report
        .checks
        .iter()
        .map(|check| json!({ "name": check.name, "ok": check.ok, "detail": check.detail }));
    json!({
        "event": "checked",
        "ok": report.checks.iter().all(|check| check.ok),
        "cluster_id": dir.cluster_id(),
        "data_dir": dir.path().display().to_string(),
        "endpoint": endpoint,
        "ready_seconds": ready_seconds,
        "recovered": report.recovered,
        "load_seconds": report.load_seconds,
        "rows": report.rows,
        "recall_at_10": report.measured.recall,
        "exact_by": report.measured.exact_by,
        "latency_ms": {
            "p50": report.measured.p50.as_secs_f64() * 1e3,
            "p99": report.measured.p99.as_secs_f64() * 1e3,
            "searches": report.measured.searches,
        },
        "searches": searches.collect::<Vec<_>>(),
        "checks": checks.collect::<Vec<_>>(),
    })
}
