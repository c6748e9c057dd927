//! What a process tells about itself: log lines on stderr, metrics for Prometheus.
//!
//! The logger and the recorder are the only things global to the process. Both are installed once; later calls keep
//! what is there.

use std::{io::IsTerminal as _, str::FromStr, sync::OnceLock, time::Duration};

use longbow_types::{Error, ErrorCode};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(
                Error::new(ErrorCode::InvalidValue, format!("{text:?} is not a log format"))
                    .field("log.format")
                    .limit("text or json"),
            ),
        }
    }
}

/// Sends log lines to stderr. `level` is a level or a tracing filter such as `info,longbow_node=debug`.
///
/// An error only for a filter that cannot be read. If a logger is installed already (another role of this process, a
/// test) it stays.
pub fn init_logging(level: &str, format: LogFormat) -> Result<(), Error> {
    let filter = filter(level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colours are for people who look, not for files.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let _already_installed = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// Reads a level or a tracing filter.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder().parse(level).map_err(|error| {
        Error::new(
            ErrorCode::InvalidValue,
            format!("{level:?} is not a log filter: {error}"),
        )
        .field("log.level")
        .limit("error, warn, info, debug, trace, or target=level pairs")
    })
}

/// Seconds; from an in-memory answer to a caller that gave up. Fine where searches and fsyncs live.
const LATENCY_BUCKETS: [f64; 20] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
];

/// How often histograms are folded, so that they do not grow between scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);

/// The operators' list: what every metric means. A test of the tree keeps its names equal to those of the code.
const LIST: &str = include_str!("../../../docs/operations/metrics.md");

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the process's metrics recorder, once, and gives what renders it.
pub fn metrics() -> PrometheusHandle {
    METRICS.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)
        .expect("the buckets are not empty")
        .build_recorder();
    let handle = recorder.handle();
    if ::metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is installed: /metrics stays empty");
    }
    for (name, meaning) in meanings() {
        // Descriptions are kept by name; which kind of metric asks for it makes no difference.
        ::metrics::describe_gauge!(name, meaning);
    }
    let upkeep = handle.clone();
    let spawned = std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP_EVERY);
                upkeep.run_upkeep();
            }
        });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread for metrics upkeep: histograms are folded by scrapes alone");
    }
    handle
}

/// Names and meanings: the first and the last column of the list's tables.
fn meanings() -> impl Iterator<Item = (&'static str, &'static str)> {
    LIST.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` |")?;
        let (_, meaning) = rest.rsplit_once("| ")?;
        Some((name, meaning))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_meaning() {
        let rows = LIST
            .lines()
            .filter(|line| line.starts_with("| `longbow_"))
            .count();
        assert!(rows > 20 && meanings().count() == rows);
        assert!(meanings().all(|(name, meaning)| name.starts_with("longbow_") && meaning.ends_with('.')));
        let handle = metrics();
        ::metrics::gauge!("longbow_node_info").set(1.0);
        let text = handle.render();
        assert!(
            text.contains("# HELP longbow_node_info Which node this is; always 1."),
            "{text}"
        );
    }

    #[test]
    fn latencies_become_histograms_and_installing_twice_is_once() {
        let handle = metrics();
        ::metrics::histogram!("longbow_test_duration_seconds").record(0.002);
        let text = metrics().render();
        assert!(
            text.contains("longbow_test_duration_seconds_bucket{le=\"0.0025\"} 1"),
            "{text}"
        );
        assert_eq!(text, handle.render());
    }

    #[test]
    fn bad_filters_are_refused() {
        let error = init_logging("inf=o=x", LogFormat::Text).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("log.level"));
        assert!("xml".parse::<LogFormat>().is_err());
        assert_eq!("json".parse::<LogFormat>(), Ok(LogFormat::Json));
    }
}
