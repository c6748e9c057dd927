//! A replica after its rows came and went beside one that was built of the same rows at once, each in a process of its
//! own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use longbow_storage::{
    Options, Replica, View, WriteKind,
    compact::{Cursor, Sizes},
};
use longbow_types::Schema;
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use serde_json::{Value, json};

use super::{
    data::{ask, body, recall, schema, vector},
    median,
};
use crate::{
    ShardArgs,
    cached::Cached,
    report::{
        Report,
        Required::{AtLeast, AtMost},
    },
    run::{json_lines, run},
};

const ROWS: usize = 30_000;
const ROWS_FULL: usize = 116_659;
const ROUNDS: usize = 10;
/// One of so many rows is replaced in each round.
const SHARE: usize = 5;
const BATCH_ROWS: usize = 2_000;
const QUERIES: usize = 300;
const MEASURED: Duration = Duration::from_secs(2);

pub(super) fn bars(report: &mut Report, args: &ShardArgs) {
    let rows = if args.full { ROWS_FULL } else { ROWS };
    let measured = Cached::new();
    let both = || -> Result<(Value, Value)> { Ok((in_process(rows, ROUNDS)?, in_process(rows, 0)?)) };
    let read = |key: &str| -> Result<(f64, f64)> {
        let (churned, fresh) = measured.get(both)?;
        let of = |line: &Value| line[key].as_f64().with_context(|| format!("no {key}"));
        Ok((of(churned)?, of(fresh)?))
    };
    report.bar("shard-churn-recall10-lost", AtMost(0.01), || {
        let (churned, fresh) = read("recall")?;
        Ok(fresh - churned)
    });
    report.bar("shard-churn-memory-over-fresh", AtMost(1.15), || {
        let (churned, fresh) = read("grown")?;
        Ok(churned / fresh)
    });
    report.bar("shard-churn-qps-over-fresh", AtLeast(0.85), || {
        let (churned, fresh) = read("qps")?;
        Ok(churned / fresh)
    });
}

/// What a process of its own prints.
fn in_process(rows: usize, rounds: usize) -> Result<Value> {
    let program = std::env::current_exe()?.display().to_string();
    let cost = run(&program, &["churned", &rows.to_string(), &rounds.to_string()])?;
    eprintln!("  {}", cost.stdout.trim_end());
    json_lines(&cost.stdout)
        .into_iter()
        .next()
        .context("it printed nothing")
}

/// Builds a replica, replaces rows of it in so many rounds, or builds one of the rows that there would be then, and
/// prints how good it is.
pub fn print(rows: usize, rounds: usize) -> Result<()> {
    let mut data = Data::new(rows)?;
    let everything: Vec<usize> = (0..rows).collect();
    let (began, before) = (Instant::now(), rss_anon()?);
    if rounds == 0 {
        (0..ROUNDS).for_each(|_| drop(data.change()));
        data.write(&everything)?;
    } else {
        data.write(&everything)?;
        for _ in 0..rounds {
            let changed = data.change();
            data.write(&changed)?;
        }
    }
    let (took, grown) = (began.elapsed().as_secs_f64(), rss_anon()? - before);
    let view = data.replica.reader().view();
    let mut rng = SmallRng::seed_from_u64(77);
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|_| vector(&mut rng)).collect();
    let recall = recall(&view, &queries)?;
    let qps = median((0..3).map(|_| qps(&view, &queries)).collect::<Result<Vec<_>>>()?);
    let line = json!({
        "rounds": rounds, "rows": view.rows(), "rows_stored": view.rows_stored(), "slots": view.slots(),
        "chunks": view.chunks(), "recall": recall, "qps": qps, "grown": grown, "seconds": took,
        "rows_moved": data.moved,
    });
    println!("{line}");
    Ok(())
}

struct Data {
    rng: SmallRng,
    schema: Schema,
    vectors: Vec<Vec<f32>>,
    replica: Replica,
    index: u64,
    cursor: Cursor,
    moved: u64,
}

impl Data {
    fn new(rows: usize) -> Result<Self> {
        let schema = schema()?;
        let mut rng = SmallRng::seed_from_u64(1);
        Ok(Self {
            vectors: (0..rows).map(|_| vector(&mut rng)).collect(),
            replica: Replica::new(schema.clone(), &Options::default(), 1),
            rng,
            schema,
            index: 1,
            cursor: Cursor::default(),
            moved: 0,
        })
    }

    /// Gives some rows other vectors.
    fn change(&mut self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.vectors.len()).collect();
        rows.shuffle(&mut self.rng);
        rows.truncate(self.vectors.len() / SHARE);
        for &row in &rows {
            self.vectors[row] = vector(&mut self.rng);
        }
        rows
    }

    /// Writes rows, and has all done behind it that a shard's threads do.
    fn write(&mut self, rows: &[usize]) -> Result<()> {
        for rows in rows.chunks(BATCH_ROWS) {
            self.index += 1;
            let rows_of = rows.iter().map(|&row| (row as u64, &self.vectors[row][..]));
            let body = body(&self.schema, rows_of)?;
            self.replica
                .apply(self.index, WriteKind::Upsert, &body, rows.len() as u32)?;
            self.replica.publish();
            let reader = self.replica.reader();
            while reader.link(1_000) > 0 {}
            while reader.vacuum(1_000) > 0 {}
            while let Some(plan) = self
                .replica
                .reader()
                .view()
                .compaction(&Sizes::default(), &mut self.cursor)
            {
                let merged = plan.merge(&|| false)?;
                let moved = self
                    .replica
                    .install(merged)
                    .context("nobody else changes chunks")?;
                self.moved += moved.rows;
                self.replica.publish();
            }
        }
        Ok(())
    }
}

fn qps(view: &View, queries: &[Vec<f32>]) -> Result<f64> {
    let (began, mut asked) = (Instant::now(), 0);
    while began.elapsed() < MEASURED {
        for query in queries {
            ask(view, query, false)?;
        }
        asked += queries.len();
    }
    Ok(asked as f64 / began.elapsed().as_secs_f64())
}

/// Bytes of memory that are this process's own.
fn rss_anon() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no RssAnon")?
        .parse()?;
    Ok(kib * 1024.0)
}
