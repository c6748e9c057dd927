//! Filtered searches of Qdrant's embedded engine.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{peers::script, results};
use crate::{IndexArgs, report::NotRun, run::run};

/// Queries a second at recall 0.95, under filters of the data set.
pub(super) struct Qdrant(Value);

impl Qdrant {
    /// Builds and searches.
    pub(super) fn new(args: &IndexArgs, dataset: &str) -> Result<Self> {
        let (python, script) = (args.e2e_python.display().to_string(), script(args, "e2e.py")?);
        if run(&python, &["-c", "import qdrant_edge"]).is_err() {
            bail!(NotRun(format!(
                "{python} has no qdrant_edge: name one with --e2e-python"
            )));
        }
        let out = results().join("index-qdrant.json").display().to_string();
        let work = tempfile::tempdir()?;
        let folder = work.path().display().to_string();
        let words = [
            &script,
            "--dataset",
            dataset,
            "--engines",
            "qdrant",
            "--work",
            &folder,
            "--out",
            &out,
        ];
        run(&python, &words)?;
        let mut document: Value = serde_json::from_slice(&fs::read(&out)?)?;
        Self::read(document["qdrant"].take())
    }

    fn read(result: Value) -> Result<Self> {
        ensure!(result["exit"] == 0, "Qdrant ended with {}", result["exit"]);
        Ok(Self(result))
    }

    /// Under a filter; nothing if it was searched and does not reach the recall.
    pub(super) fn qps_at_95(&self, filter: &str) -> Result<Option<f64>> {
        let mut lines = self.0["rows"].as_array().context("no rows")?.iter();
        ensure!(
            lines.any(|line| line["filter"] == filter),
            "Qdrant did not search under {filter}"
        );
        Ok(self.0["at95"][filter].as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_recall_that_is_not_reached_is_told_from_a_search_that_failed() {
        let qdrant = Qdrant::read(json!({"exit": 0, "at95": {"f1": 7.0, "f10": null},
            "rows": [{"phase": "filter", "filter": "f1"}, {"phase": "filter", "filter": "f10"}]}));
        let qdrant = qdrant.unwrap();
        assert_eq!(qdrant.qps_at_95("f1").unwrap(), Some(7.0));
        assert_eq!(qdrant.qps_at_95("f10").unwrap(), None);
        assert!(qdrant.qps_at_95("f50").is_err());
        assert!(Qdrant::read(json!({"exit": 1, "rows": [], "at95": {}})).is_err());
        assert!(Qdrant::read(Value::Null).is_err());
    }
}
