//! How a search was carried out, for people and machines.

use std::time::Duration;

use longbow_client::{Explanation, PartitionExplanation};
use serde_json::{Value, json};

use crate::output::table::{table, thousands};

/// An explanation as JSON: the fields of the protocol, plans as words.
pub fn json(told: &Explanation) -> Value {
    json!({
        "near_nanos": nanos(told.near),
        "scatter_nanos": nanos(told.scatter),
        "merge_nanos": nanos(told.merge),
        "partitions": told.partitions.iter().map(partition_json).collect::<Vec<_>>(),
    })
}

fn partition_json(told: &PartitionExplanation) -> Value {
    let mut out = json!({
        "partition": told.partition,
        "node_id": told.node_id,
        "applied_index": told.applied_index,
        "planned": told.planned.as_str(),
        "taken": told.taken.as_str(),
        "rows": told.rows,
        "rows_matching": told.rows_matching,
        "rows_unlinked": told.rows_unlinked,
        "ef": told.ef,
        "hops": told.hops,
        "distances": told.distances,
        "refined": told.refined,
        "repeated": told.repeated,
        "exact": told.exact,
        "expected_recall": told.expected_recall,
    });
    for (name, time) in told.times.by_name() {
        out[format!("{name}_nanos")] = json!(nanos(time));
    }
    out
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// An explanation as tables: what was done, what was counted, and how long it took.
pub fn text(told: &Explanation) -> String {
    let plan_head = ["partition", "replica", "applied", "ef", "plan"];
    let mut plans = table(plan_head, &["applied", "ef"]);
    let count_head = [
        "partition",
        "rows",
        "matching",
        "unlinked",
        "hops",
        "distances",
        "refined",
    ];
    let mut counts = table(count_head, &count_head[1..]);
    let time_head = [
        "partition",
        "wait",
        "queue",
        "filter",
        "graph",
        "tail",
        "refine",
        "fetch",
    ];
    let mut times = table(time_head, &time_head[1..]);
    for partition in &told.partitions {
        let ordinal = partition.partition.to_string();
        plans.add_row([
            ordinal.clone(),
            partition.node_id.clone(),
            partition.applied_index.to_string(),
            partition.ef.to_string(),
            plan(partition),
        ]);
        let counted = [
            partition.rows,
            partition.rows_matching,
            partition.rows_unlinked,
            partition.hops,
            partition.distances,
            partition.refined,
        ];
        counts.add_row(std::iter::once(ordinal.clone()).chain(counted.map(thousands)));
        let parts = partition.times.by_name().map(|(_, time)| short(time));
        times.add_row(std::iter::once(ordinal).chain(parts));
    }
    let router = format!(
        "router: query vector {}, all partitions {}, merge {}",
        short(told.near),
        short(told.scatter),
        short(told.merge)
    );
    format!("{plans}\n{counts}\n{times}\n{router}")
}

/// What was planned, what it came to if that is another, and whether it was done twice.
fn plan(told: &PartitionExplanation) -> String {
    let mut out = told.planned.as_str().to_owned();
    if told.taken != told.planned {
        out.push_str(&format!(", then {}", told.taken.as_str()));
    }
    if told.repeated {
        out.push_str(", again on vectors");
    }
    out
}

/// A time with three digits and its unit.
fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1_000.0 => format!("{micros:.1} µs"),
        1_000.0..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_client::{SearchPlan, StageTimes};

    fn told() -> Explanation {
        let partition = PartitionExplanation {
            partition: 3,
            node_id: "shard-1".to_owned(),
            applied_index: 77,
            planned: SearchPlan::FilteredWalk,
            taken: SearchPlan::TwoHop,
            rows: 12_000,
            rows_matching: 700,
            rows_unlinked: 4,
            ef: 96,
            hops: 31,
            distances: 1_500,
            refined: 20,
            repeated: true,
            exact: false,
            expected_recall: None,
            times: StageTimes {
                graph: Duration::from_nanos(1_234_567),
                ..StageTimes::default()
            },
        };
        Explanation {
            partitions: vec![partition],
            near: Duration::ZERO,
            scatter: Duration::from_millis(2),
            merge: Duration::from_nanos(300),
        }
    }

    #[test]
    fn an_explanation_is_told_to_people_and_to_machines() {
        let text = text(&told());
        for part in [
            "shard-1",
            "77",
            "filtered_walk, then two_hop, again on vectors",
            "12 000",
            "1.23 ms",
            "0.3 µs",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json = json(&told());
        let partition = &json["partitions"][0];
        assert_eq!(json["scatter_nanos"], 2_000_000);
        assert_eq!(
            (&partition["planned"], &partition["taken"]),
            (&json!("filtered_walk"), &json!("two_hop"))
        );
        assert_eq!(partition["graph_nanos"], 1_234_567);
        assert_eq!(partition["expected_recall"], Value::Null);
    }

    #[test]
    fn times_have_a_unit_that_fits() {
        for (nanos, expected) in [
            (0, "0.0 µs"),
            (999_900, "999.9 µs"),
            (1_000_000, "1.00 ms"),
            (2_500_000_000, "2.50 s"),
        ] {
            assert_eq!(short(Duration::from_nanos(nanos)), expected);
        }
    }
}
