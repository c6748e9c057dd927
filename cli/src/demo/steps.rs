//! What the demo shows, each step with the checks that it must pass.

use std::time::{SystemTime, UNIX_EPOCH};

use longbow_client::{Client, DatasetHandle, Hit, Row, RowId, Value, col};

use super::{
    measure::{K, Measured},
    sample::{DOG, Sample},
};

/// Least recall that passes.
const RECALL_MIN: f64 = 0.95;
/// Id of the row that the demo writes and deletes again; far above those of WordNet.
const NOTE: u64 = 4_000_000_000;

/// Something that must be true.
#[derive(Debug, Clone)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

fn check(name: &'static str, ok: bool, detail: impl Into<String>) -> Check {
    Check {
        name,
        ok,
        detail: detail.into(),
    }
}

/// A search and what it found.
#[derive(Debug)]
pub struct Shown {
    /// The same as one would type it.
    pub command: String,
    /// What it is about.
    pub title: &'static str,
    /// Hits.
    pub hits: Vec<Hit>,
    /// Checks.
    pub checks: Vec<Check>,
}

/// Near the synset *dog*.
pub async fn dense(dataset: &DatasetHandle) -> anyhow::Result<Shown> {
    let answer = dataset
        .search()
        .near_row(DOG)
        .k(K as u32)
        .columns(["lemmas", "gloss"])
        .await?;
    let hits = answer.hits;
    let canines = [109_931, 10_733].map(RowId::U64);
    let checks = vec![
        check("dog: k rows", hits.len() == K, format!("{} of {K}", hits.len())),
        check(
            "dog: best first",
            hits.is_sorted_by(|a, b| a.score >= b.score),
            "scores fall",
        ),
        check(
            "dog: canines lead",
            canines
                .iter()
                .all(|id| hits.iter().take(3).any(|hit| hit.id == *id)),
            "canine and the genus Canis are among the first three",
        ),
        check(
            "dog: not itself",
            hits.iter().all(|hit| hit.id != RowId::U64(DOG)),
            "the row searched by is left out",
        ),
    ];
    Ok(Shown {
        command: format!(
            "longbow search {} --id {DOG} --columns lemmas,gloss",
            dataset.name()
        ),
        title: "What is near dog?",
        hits,
        checks,
    })
}

/// The same among verbs with several words.
pub async fn filtered(dataset: &DatasetHandle) -> anyhow::Result<Shown> {
    let answer = dataset
        .search()
        .near_row(DOG)
        .k(K as u32)
        .filter(col("pos").eq("verb").and(col("word_count").ge(2)))
        .columns(["lemmas", "gloss", "pos", "word_count"])
        .await?;
    let hits = answer.hits;
    let verbs = hits
        .iter()
        .filter(|hit| hit.columns.get("pos").and_then(Value::as_str) == Some("verb"))
        .filter(|hit| match hit.columns.get("word_count") {
            Some(Value::I64(count)) => *count >= 2,
            Some(Value::U64(count)) => *count >= 2,
            _ => false,
        })
        .count();
    let checks = vec![
        check(
            "filtered: k rows",
            hits.len() == K,
            format!("{} of {K}", hits.len()),
        ),
        check(
            "filtered: all match",
            verbs == hits.len(),
            format!("{verbs} of {} are such verbs", hits.len()),
        ),
    ];
    Ok(Shown {
        command: format!(
            "longbow search {} --id {DOG} --filter \"pos = 'verb' and word_count >= 2\" --columns lemmas,gloss",
            dataset.name()
        ),
        title: "And among verbs with several words?",
        hits,
        checks,
    })
}

/// Writes a row, finds it, deletes it, misses it. Every read is given the token of the write before it.
pub async fn own_write(client: &Client, dataset: &DatasetHandle, sample: &Sample) -> anyhow::Result<Shown> {
    // Another client: the token alone carries the knowledge.
    let reader = client.session().dataset(dataset.name());
    let millis = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let gloss = format!("a note that this demo wrote at {millis} ms after 1970");
    let vector = unlike_anything(sample.dimension);
    let row = Row::new(NOTE)
        .vector(vector.clone())
        .column("synset", "longbow-demo")
        .column("lemmas", vec!["note"])
        .column("gloss", gloss.as_str())
        .column("pos", "noun")
        .column("lexname", "noun.communication")
        .column("word_count", 1);
    let written = dataset.upsert([row]).await?;
    let answer = reader
        .search()
        .near(vector)
        .k(3)
        .columns(["lemmas", "gloss"])
        .at_least(&written.token)
        .await?;
    let first = answer.hits.first();
    let seen = first.is_some_and(|hit| {
        hit.id == RowId::U64(NOTE) && hit.columns.get("gloss").and_then(Value::as_str) == Some(&gloss)
    });
    let deleted = dataset.delete([NOTE]).await?;
    let after = reader.get([NOTE]).at_least(&deleted.token).await?;
    let checks = vec![
        check(
            "own write: seen",
            seen,
            "the search given the write's token finds the new row first",
        ),
        check(
            "own delete: seen",
            after.rows.is_empty(),
            "the read given the delete's token misses the row",
        ),
    ];
    Ok(Shown {
        command: format!(
            "longbow search {} --vector @note.json -k 3 --columns lemmas,gloss --consistency {}",
            dataset.name(),
            written.token
        ),
        title: "A row written just now, searched with the token of its write (then deleted again)",
        hits: answer.hits,
        checks,
    })
}

/// Judges what was measured.
pub fn judge(measured: &Measured) -> Check {
    check(
        "recall@10",
        measured.recall >= RECALL_MIN,
        format!("{:.4}, at least {RECALL_MIN} wanted", measured.recall),
    )
}

/// A unit vector far from every text.
fn unlike_anything(dimension: usize) -> Vec<f32> {
    let wave: Vec<f32> = (0..dimension).map(|x| (x as f32 * 1.7).sin()).collect();
    let length = wave.iter().map(|x| x * x).sum::<f32>().sqrt();
    wave.into_iter().map(|x| x / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_is_far_from_every_word() {
        let sample = Sample::load().unwrap();
        let note = unlike_anything(sample.dimension);
        let nearest = (0..sample.ids.len())
            .map(|row| {
                sample
                    .vector(row)
                    .iter()
                    .zip(&note)
                    .map(|(a, b)| a * b)
                    .sum::<f32>()
            })
            .fold(f32::MIN, f32::max);
        assert!(nearest < 0.5, "{nearest}");
    }

    #[test]
    fn low_recall_fails() {
        let measured = |recall| Measured {
            recall,
            exact_by: "computed here",
            searches: 1,
            p50: std::time::Duration::ZERO,
            p99: std::time::Duration::ZERO,
        };
        assert!(judge(&measured(0.96)).ok);
        assert!(!judge(&measured(0.94)).ok);
    }
}
