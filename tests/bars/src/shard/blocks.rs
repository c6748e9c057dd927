//! Copying runs of rows beside `memcpy` of as many bytes, and beside a copy that takes every row by itself.
//!
//! All copies go into memory that was asked for anew, as those of a merge do.

use std::{
    fs,
    hint::black_box,
    io::Write,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder, UInt64Array,
};
use longbow_storage::compact::blocks::{Run, copy};
use serde_json::json;

use super::median;
use crate::{
    ShardArgs,
    report::{Report, Required::AtLeast},
    run::root,
};

/// Bytes of a column, about: far more than caches hold.
const COLUMN_BYTES: usize = 96 << 20;
/// Rows of a long run; a hundred are left out behind each.
const RUN_ROWS: usize = 10_000;
const GAP_ROWS: usize = 100;
const ROUNDS: usize = 7;
const ROUNDS_FULL: usize = 25;

/// Measures the bars of compaction.
pub(super) fn bars(report: &mut Report, args: &ShardArgs) -> Result<()> {
    let rounds = if args.full { ROUNDS_FULL } else { ROUNDS };
    fs::create_dir_all(root().join("target/bars"))?;
    let mut samples = fs::File::create(root().join("target/bars/shard-blocks.jsonl"))?;
    for (name, make) in COLUMNS {
        let bars = [
            (format!("shard-block-copy-{name}-vs-memcpy"), 0.7),
            (format!("shard-block-copy-{name}-vs-rows"), 5.0),
        ];
        if !bars.iter().any(|(bar, _)| report.wants(bar)) {
            continue;
        }
        let ratios = ratios(name, &make(), rounds, &mut samples)?;
        for ((bar, required), ratio) in bars.iter().zip(ratios) {
            report.bar(bar, AtLeast(*required), || Ok(ratio));
        }
    }
    report.bar("shard-two-columns-over-two-memcpys", AtLeast(0.9), || {
        scaling(rounds, &mut samples)
    });
    Ok(())
}

/// Makes a column.
type Make = fn() -> ArrayRef;

const COLUMNS: [(&str, Make); 5] = [
    ("u64", || {
        Arc::new(UInt64Array::from_iter_values(0..COLUMN_BYTES as u64 / 8))
    }),
    ("i32-nullable", || {
        Arc::new(Int32Array::from_iter(
            (0..COLUMN_BYTES as i32 / 4).map(|row| (row % 7 > 0).then_some(row)),
        ))
    }),
    ("bool-nullable", || {
        let rows = COLUMN_BYTES * 4;
        Arc::new(BooleanArray::from_iter(
            (0..rows).map(|row| (row % 7 > 0).then_some(row % 3 == 0)),
        ))
    }),
    ("utf8", texts),
    ("list-of-utf8", || {
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in 0..COLUMN_BYTES / 120 {
            lists.append_value((0..3).map(|at| Some(format!("a tag of some length {:08}", row + at))));
        }
        Arc::new(lists.finish())
    }),
];

fn texts() -> ArrayRef {
    let rows = 0..COLUMN_BYTES / 44;
    Arc::new(StringArray::from_iter_values(
        rows.map(|row| format!("row {row:08} has a text of forty letters")),
    ))
}

/// Runs of so many rows, all but the gaps behind them.
fn runs(rows: usize, len: usize, gap: usize) -> Vec<Run> {
    let starts = (0..rows).step_by(len + gap);
    starts
        .map(|start| Run {
            source: 0,
            start,
            len: len.min(rows - start),
        })
        .collect()
}

/// Every row of some runs by itself.
fn single_rows(runs: &[Run]) -> Vec<Run> {
    let rows = runs.iter().flat_map(|run| run.start..run.start + run.len);
    rows.map(|start| Run {
        source: 0,
        start,
        len: 1,
    })
    .collect()
}

fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn copied(column: &dyn Array, runs: &[Run]) -> ArrayRef {
    copy(&[column], runs, &|| false).expect("columns of one type, and nobody cancels")
}

/// The bytes of some memory in new memory.
fn memcpy(bytes: &[u8]) -> Vec<u8> {
    let mut copy = Vec::with_capacity(bytes.len());
    copy.extend_from_slice(bytes);
    copy
}

/// How fast blocks are beside `memcpy` and beside single rows: medians over rounds in which each had its turn.
fn ratios(name: &str, column: &ArrayRef, rounds: usize, samples: &mut dyn Write) -> Result<[f64; 2]> {
    let runs = runs(column.len(), RUN_ROWS, GAP_ROWS);
    // A tenth of the rows are enough to be timed one by one.
    let (some, rows) = {
        let some = &runs[..(runs.len() / 10).max(1)];
        (some.to_vec(), single_rows(some))
    };
    let bytes = vec![1_u8; copied(column, &runs).get_buffer_memory_size()];
    let (mut over_memcpy, mut over_rows) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let blocks = seconds(|| drop(black_box(copied(column, &runs))));
        let plain = seconds(|| drop(black_box(memcpy(&bytes))));
        let few = seconds(|| drop(black_box(copied(column, &some))));
        let single = seconds(|| drop(black_box(copied(column, &rows))));
        over_memcpy.push(plain / blocks);
        over_rows.push(single / few);
        let line = json!({"column": name, "bytes": bytes.len(), "blocks": blocks, "memcpy": plain, "some": few, "rows": single});
        writeln!(samples, "{line}")?;
    }
    Ok([median(over_memcpy), median(over_rows)])
}

/// How much two columns gain by two threads, by how much two `memcpy`s do.
fn scaling(rounds: usize, samples: &mut dyn Write) -> Result<f64> {
    let columns = [COLUMNS[0].1(), texts()];
    let runs: Vec<Vec<Run>> = columns
        .iter()
        .map(|column| runs(column.len(), RUN_ROWS, GAP_ROWS))
        .collect();
    let sizes = [0, 1].map(|at: usize| copied(&columns[at], &runs[at]).get_buffer_memory_size());
    let bytes = sizes.map(|size| vec![1_u8; size]);
    let column = |at: usize| drop(black_box(copied(&columns[at], &runs[at])));
    let plain = |at: usize| drop(black_box(memcpy(&bytes[at])));
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let ours = gain(&column);
        let theirs = gain(&plain);
        ratios.push(ours / theirs);
        let line = json!({"threads": 2, "columns": ours, "memcpy": theirs});
        writeln!(samples, "{line}")?;
    }
    Ok(median(ratios))
}

/// Time of two pieces of work one after the other, by their time at once.
fn gain(work: &(dyn Fn(usize) + Sync)) -> f64 {
    let alone = seconds(|| (0..2).for_each(work));
    let barrier = Barrier::new(2);
    let at_once = thread::scope(|scope| {
        let threads = [0, 1].map(|at| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let began = Instant::now();
                work(at);
                began.elapsed()
            })
        });
        let times = threads.map(|thread| thread.join().unwrap_or(Duration::MAX));
        times[0].max(times[1])
    });
    alone / at_once.as_secs_f64()
}
