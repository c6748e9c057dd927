//! Which numbers `bench ann` takes, on its command line and from the environment that other benchmarks run it in.

use std::{ffi::OsString, ops::RangeInclusive};

use clap::builder::RangedU64ValueParser;
use longbow_client::{Error, ErrorCode};

/// Builder threads.
pub(super) const THREADS: RangeInclusive<u64> = 1..=1024;
const SECONDS_MAX: f64 = 3600.0;
const ROUND_ENV: &str = "PEERS_ROUND";
const THREADS_ENV: &str = "PEERS_THREADS";

/// A whole number in a range.
pub(super) fn whole(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

/// A share of the rows, of which there must be some.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let share = number.filter(|&share| share > 0.0 && share <= 1.0);
    share.ok_or_else(|| "a share is above 0 and at most 1".to_owned())
}

/// Seconds to measure for.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let seconds = number.filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    seconds.ok_or_else(|| format!("0 to {SECONDS_MAX} seconds"))
}

/// What a benchmark that measures several engines in turn says in the environment. An empty value counts as not set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Peers {
    /// Number of this round.
    pub(super) round: Option<u32>,
    /// Builder threads, if it says so.
    pub(super) threads: Option<Vec<usize>>,
}

impl Peers {
    /// Reads the variables of this process.
    pub(super) fn from_env() -> Result<Self, Error> {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let value = |name| {
            let text = variable(name)?.to_string_lossy().trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        let wrong = |name: &'static str, text: &str| {
            Error::new(ErrorCode::InvalidValue, format!("{name}={text} cannot be read")).field(name)
        };
        let round = value(ROUND_ENV).map(|text| {
            let round = text.parse().ok();
            round.ok_or_else(|| wrong(ROUND_ENV, &text).limit("0, 1, 2, …"))
        });
        let threads = value(THREADS_ENV).map(|text| {
            let one = |number: &str| {
                let threads = number.trim().parse().ok()?;
                THREADS.contains(&threads).then_some(threads as usize)
            };
            let all: Option<Vec<usize>> = text.split(',').map(one).collect();
            all.ok_or_else(|| {
                let (least, most) = THREADS.into_inner();
                wrong(THREADS_ENV, &text).limit(format_args!(
                    "numbers from {least} to {most}, separated by commas"
                ))
            })
        });
        Ok(Self {
            round: round.transpose()?,
            threads: threads.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_their_range() {
        for bad in ["0", "-0.1", "2", "nan", "inf", "x", ""] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert_eq!((share("1"), share("0.001")), (Ok(1.0), Ok(0.001)));
        for bad in ["nan", "-1", "inf", "3601", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds("0"), Ok(0.0));
    }

    #[test]
    fn the_environment_is_read() {
        let of = |round: &str, threads: &str| {
            Peers::of(|name| Some(if name == ROUND_ENV { round } else { threads }.into()))
        };
        let nothing = Peers {
            round: None,
            threads: None,
        };
        assert_eq!(Peers::of(|_| None).unwrap(), nothing);
        assert_eq!(of("", " ").unwrap(), nothing);
        let both = of("2", "1, 2").unwrap();
        assert_eq!((both.round, both.threads), (Some(2), Some(vec![1, 2])));
        for bad in ["0", "1,", "1025", "two"] {
            let error = of("", bad).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(THREADS_ENV), "{error}");
            assert!(error.message.contains(THREADS_ENV));
        }
        assert_eq!(of("-1", "").unwrap_err().field.as_deref(), Some(ROUND_ENV));
    }
}
