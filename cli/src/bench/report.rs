//! What the benchmark prints: a table for people, JSON lines for `peers.py` and other machines.

use serde_json::{Map, Value, json};

use super::{churn::Churned, measure::Timing};

/// Where results go.
pub(super) struct Report {
    json: bool,
}

fn round(x: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    json!((x * scale).round() / scale)
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    fn line(&self, value: &Value, text: impl FnOnce() -> String) {
        if self.json {
            println!("{value}");
        } else {
            println!("{}", text());
        }
    }

    pub(super) fn dataset(&self, rows: usize, dimension: usize, queries: usize, simd: &str, element: &str) {
        let value = json!({"phase": "dataset", "rows": rows, "dimension": dimension, "queries": queries,
            "simd": simd, "element": element});
        self.line(&value, || {
            format!("{rows} rows × {dimension}, {queries} queries, {element}, {simd}")
        });
    }

    pub(super) fn build(&self, threads: usize, rows: usize, seconds: f64, rss_mb: f64) {
        let value = json!({"phase": "build", "seconds": round(seconds, 3), "threads": threads,
            "rss_mb": round(rss_mb, 1), "rows_per_second": round(rows as f64 / seconds, 0)});
        self.line(&value, || {
            let rate = rows as f64 / seconds;
            format!("build, {threads} threads: {seconds:.1} s ({rate:.0} rows/s), {rss_mb:.0} MB")
        });
    }

    pub(super) fn load(&self, seconds: f64) {
        let value = json!({"phase": "load", "seconds": round(seconds, 3)});
        self.line(&value, || format!("read from its file in {seconds:.1} s"));
    }

    pub(super) fn churn(&self, churned: &Churned) {
        let value = json!({"phase": "churn", "recall_lost": round(churned.recall_lost, 5),
            "qps_over_fresh": round(churned.qps_over_fresh, 4), "slots_per_row": round(churned.slots_per_row, 4)});
        self.line(&value, || {
            let Churned { recall_lost, qps_over_fresh, slots_per_row } = churned;
            format!("churned: {recall_lost:.4} of recall lost, {qps_over_fresh:.2} of the speed left, {slots_per_row:.2} slots for each row")
        });
    }

    pub(super) fn heading(&self) {
        if !self.json {
            println!(
                "{:>8} {:>6} {:>8} {:>9} {:>8} {:>8} {:>9} {:>7} {:>6}",
                "", "ef", "recall", "qps", "p50 µs", "p99 µs", "distances", "p99", "hops"
            );
        }
    }

    /// One row. `ef` 0 is the default. `extra` only shows in JSON.
    pub(super) fn search(
        &self,
        filter: Option<&str>,
        k: usize,
        ef: usize,
        timing: &Timing,
        extra: &[(String, f64)],
    ) {
        let mut value = Map::new();
        value.insert(
            "phase".into(),
            json!(if filter.is_some() { "filter" } else { "search" }),
        );
        if let Some(filter) = filter {
            value.insert("filter".into(), json!(filter));
        }
        value.insert("ef".into(), json!(ef));
        value.insert(format!("recall{k}"), round(timing.recall, 5));
        value.insert("qps".into(), round(timing.qps, 1));
        value.insert("p50_us".into(), round(timing.p50_us, 2));
        value.insert("p99_us".into(), round(timing.p99_us, 2));
        value.insert("distances".into(), round(timing.distances, 1));
        value.insert("distances_p50".into(), json!(timing.distances_p50));
        value.insert("distances_p99".into(), json!(timing.distances_p99));
        value.insert("hops".into(), round(timing.hops, 1));
        for (name, number) in extra {
            value.insert(name.clone(), round(*number, 1));
        }
        self.line(&Value::Object(value), || {
            let ef = if ef == 0 {
                "default".to_owned()
            } else {
                ef.to_string()
            };
            format!(
                "{:>8} {:>6} {:>8.4} {:>9.0} {:>8.1} {:>8.1} {:>9.0} {:>7} {:>6.0}",
                filter.unwrap_or(""),
                ef,
                timing.recall,
                timing.qps,
                timing.p50_us,
                timing.p99_us,
                timing.distances,
                timing.distances_p99,
                timing.hops
            )
        });
    }
}
