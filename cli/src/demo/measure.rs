//! Recall against exact answers, and latency.

use std::time::{Duration, Instant};

use longbow_client::{DatasetHandle, RowId};

use super::sample::Sample;

/// Neighbours asked for.
pub const K: usize = 10;
/// Searches measured for recall.
const RECALL_QUERIES: usize = 100;
/// Rounds over those queries for latency.
const LATENCY_ROUNDS: usize = 5;

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Share of the true neighbours that were found.
    pub recall: f64,
    /// Who computed the true neighbours.
    pub exact_by: &'static str,
    /// Searches behind the latencies.
    pub searches: usize,
    /// Half of the searches took at most this.
    pub p50: Duration,
    /// 99 of 100 searches took at most this.
    pub p99: Duration,
}

/// Measures with some of the sample's own vectors as queries. `alone`: the dataset holds the sample and nothing else,
/// so the true neighbours can be computed here, without believing the server.
pub async fn measure(dataset: &DatasetHandle, sample: &Sample, alone: bool) -> anyhow::Result<Measured> {
    let step = (sample.ids.len() / RECALL_QUERIES).max(1);
    let queries: Vec<usize> = (0..sample.ids.len()).step_by(step).take(RECALL_QUERIES).collect();
    let mut found = 0;
    for &row in &queries {
        let truth = if alone {
            exact(sample, row)
        } else {
            ask(dataset, sample.vector(row), true).await?
        };
        let answer = ask(dataset, sample.vector(row), false).await?;
        found += answer.iter().filter(|id| truth.contains(id)).count();
    }
    let mut times = Vec::with_capacity(queries.len() * LATENCY_ROUNDS);
    for _ in 0..LATENCY_ROUNDS {
        for &row in &queries {
            let started = Instant::now();
            ask(dataset, sample.vector(row), false).await?;
            times.push(started.elapsed());
        }
    }
    times.sort_unstable();
    Ok(Measured {
        recall: found as f64 / (queries.len() * K) as f64,
        exact_by: if alone { "computed here" } else { "exact search" },
        searches: times.len(),
        p50: percentile(&times, 50),
        p99: percentile(&times, 99),
    })
}

async fn ask(dataset: &DatasetHandle, vector: &[f32], exact: bool) -> anyhow::Result<Vec<u64>> {
    let mut search = dataset.search().near(vector).k(K as u32);
    if exact {
        search = search.exact();
    }
    let answer = search.await?;
    let ids = answer.hits.into_iter().filter_map(|hit| match hit.id {
        RowId::U64(id) => Some(id),
        _ => None,
    });
    Ok(ids.collect())
}

/// The true neighbours of a row, itself included, by cosine over the vectors as they are stored.
fn exact(sample: &Sample, row: usize) -> Vec<u64> {
    let query = sample.vector(row);
    let mut all: Vec<(f32, u64)> = (0..sample.ids.len())
        .map(|other| (-cosine(query, sample.vector(other)), sample.ids[other]))
        .collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.into_iter().take(K).map(|(_, id)| id).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        dot += x * y;
        aa += x * x;
        bb += y * y;
    }
    dot / (aa * bb).sqrt()
}

/// The smallest time that `percent` of the sorted times do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn a_row_is_its_own_nearest_neighbour() {
        let sample = Sample::load().unwrap();
        let row = sample
            .ids
            .iter()
            .position(|id| *id == super::super::sample::DOG)
            .unwrap();
        let near = exact(&sample, row);
        assert_eq!(near.len(), K);
        assert_eq!(near[0], super::super::sample::DOG);
        // canine, the genus Canis
        assert!(near.contains(&109_931) && near.contains(&10_733), "{near:?}");
    }
}
