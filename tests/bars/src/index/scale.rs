//! Ten times the rows, and other data.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, ensure};

use super::{
    beside::RECALLS,
    generated::generated,
    only_full,
    ours::{F32, Ours, SQ4_F16},
    peers::{Engine, Run, Setup},
};
use crate::{
    IndexArgs,
    cached::Cached,
    npy::Matrix,
    report::{
        Report,
        Required::{AtLeast, AtMost},
    },
};

const EF: [u64; 11] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400];
const OURS: [(&Ours, &[&str]); 2] = [(&F32, &[]), (&SQ4_F16, &[])];
/// The fastest peers on the data set of the other bars.
const OTHER_PEERS: [&str; 3] = ["hnswlib", "faiss-hnsw-sq8", "svs-f16"];

/// Measures the bars.
pub(super) fn bars(report: &mut Report, args: &IndexArgs) {
    let falls = Cached::new();
    let of = |engine: &str| -> Result<f64> {
        only_full(args)?;
        let falls = falls.get(|| falls_of_speed(args))?;
        let fall = falls.iter().find(|(name, _)| *name == engine);
        fall.map(|(_, fall)| *fall)
            .with_context(|| format!("no speeds of {engine}"))
    };
    for (bar, ours) in [
        ("scale-100k-to-1m-fall-of-qps95", SQ4_F16.name),
        ("scale-100k-to-1m-fall-of-qps95-f32", F32.name),
    ] {
        report.bar(bar, AtMost(2.2), || of(ours));
    }
    others(report, args);
}

/// A run beside some peers. Built on one thread, so that there are batches of one thread to compare with.
fn beside(args: &IndexArgs, name: &str, dataset: &str, peers: &[&str]) -> Result<Run> {
    let setup = Setup {
        name,
        dataset,
        peers: &peers.join(","),
        required: peers,
        tried: &[],
        ours: &OURS,
        threads: "1",
        ef: &EF,
        rounds: "3",
        filters: false,
    };
    Run::new(args, &setup)
}

/// How many times slower searches at recall 0.95 are on a million rows than on the first tenth of them.
fn falls_of_speed(args: &IndexArgs) -> Result<Vec<(&'static str, f64)>> {
    let options = ["--of", "1000000", "--dimension", "96", "--seed", "1"];
    let sets = [("clustered-100k", "100000"), ("clustered-1m", "1000000")];
    let sets = sets.map(|(name, rows)| {
        let folder = generated(args, name, &[&["--rows", rows], &options[..]].concat())?;
        Ok::<_, anyhow::Error>((name, folder))
    });
    let [small, large] = sets;
    let (small, large) = (small?, large?);
    ensure!(
        begins_with(&base(&large.1), &base(&small.1))?,
        "the smaller set is not the beginning of the larger"
    );
    let mut speeds = Vec::new();
    for (name, dataset) in [small, large] {
        let run = beside(args, name, &dataset, &["hnswlib"])?;
        let speed = |engine| -> Result<f64> {
            let qps = run.engine(engine)?.qps_at(0.95).context("0.95 not reached")?;
            eprintln!("  {engine:24} {qps:8.0} QPS on {name}");
            Ok(qps)
        };
        speeds.push([speed(F32.name)?, speed(SQ4_F16.name)?, speed("hnswlib")?]);
    }
    let engines = [F32.name, SQ4_F16.name, "hnswlib"].into_iter().enumerate();
    let falls: Vec<_> = engines
        .map(|(at, engine)| (engine, speeds[0][at] / speeds[1][at]))
        .collect();
    for (engine, fall) in &falls {
        eprintln!("  {engine:24} {fall:8.2} times slower on ten times the rows");
    }
    Ok(falls)
}

fn base(dataset: &str) -> String {
    format!("{dataset}/base.f32.npy")
}

/// Whether the rows of one file are the first rows of another.
fn begins_with(long: &str, short: &str) -> Result<bool> {
    let open = |path: &str| -> Result<(Matrix, BufReader<File>)> {
        let matrix = Matrix::open(Path::new(path))?;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(matrix.start))?;
        Ok((matrix, BufReader::new(file)))
    };
    let ((long, longer), (short, shorter)) = (open(long)?, open(short)?);
    if long.columns != short.columns || long.rows < short.rows {
        return Ok(false);
    }
    let bytes = shorter.bytes().zip(longer.bytes());
    for (a, b) in bytes {
        if a? != b? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ratios on data that nothing was tuned to, within a fifth of what is asked of the main data set.
fn others(report: &mut Report, args: &IndexArgs) {
    let sets: [(&str, &[&str]); 2] = [
        (
            "mean-200",
            &[
                "--rows",
                "50000",
                "--dimension",
                "200",
                "--seed",
                "2",
                "--mean",
                "1.0",
            ],
        ),
        (
            "tails-768",
            &[
                "--rows",
                "30000",
                "--dimension",
                "768",
                "--seed",
                "3",
                "--tail",
                "3",
            ],
        ),
    ];
    for (name, options) in sets {
        let run = Cached::new();
        let run = || {
            only_full(args)?;
            run.get(|| beside(args, name, &generated(args, name, options)?, &OTHER_PEERS))
        };
        ratios(report, name, &run);
    }
}

/// What part of a ratio is enough on other data.
const ENOUGH: f64 = 0.8;

fn ratios<'a>(report: &mut Report, name: &str, run: &dyn Fn() -> Result<&'a Run>) {
    for recall in RECALLS {
        let at = (recall * 100.0) as u32;
        let speed = |engine: &Engine| engine.qps_at(recall).context("recall not reached");
        report.bar(
            &format!("other-data-{name}-qps{at}-vs-best-peer"),
            AtLeast(1.3 * ENOUGH),
            || {
                let best = |engines: &mut dyn Iterator<Item = &Engine>| {
                    let speeds = engines.filter_map(|engine| engine.qps_at(recall));
                    speeds.reduce(f64::max).context("recall not reached")
                };
                Ok(best(&mut run()?.ours())? / best(&mut run()?.peers())?)
            },
        );
        report.bar(
            &format!("other-data-{name}-qps{at}-f32-vs-hnswlib"),
            AtLeast(1.3 * ENOUGH),
            || Ok(speed(run()?.engine(F32.name)?)? / speed(run()?.engine("hnswlib")?)?),
        );
    }
    for (bar, ours, least) in [("f32", &F32, 1.5), ("quantized", &SQ4_F16, 2.0)] {
        report.bar(
            &format!("other-data-{name}-build-{bar}-vs-hnswlib"),
            AtLeast(least * ENOUGH),
            || {
                let seconds = |name| run()?.engine(name)?.build_seconds(1);
                Ok(seconds("hnswlib")? / seconds(ours.name)?)
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, rows: usize, last: u8) -> String {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({rows}, 2), }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend((0..2 * rows as u8 - 1).chain([last]));
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    #[test]
    fn the_first_rows_are_told_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        // Headers of different lengths.
        let long = file(folder, "long", 100, 199);
        assert!(begins_with(&long, &file(folder, "first", 7, 13)).unwrap());
        assert!(!begins_with(&long, &file(folder, "other", 7, 14)).unwrap());
        assert!(!begins_with(&file(folder, "short", 7, 13), &long).unwrap());
    }
}
