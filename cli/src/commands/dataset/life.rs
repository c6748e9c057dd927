//! When do the rows of a dataset go? As typed, and as told.

use std::time::Duration;

use clap::Args;
use longbow_client::{Error, Schema};

use crate::args::duration;

/// When rows of a new dataset go.
#[derive(Debug, Clone, Default, Args)]
pub struct LifeArgs {
    /// How long a row lives after it was last written: 90s, 12h, 7d. Without it: for ever.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub ttl: Option<Duration>,
    /// A column of timestamps that tells when each row goes, whatever the ttl; rows with a null there go by the ttl.
    #[arg(long, value_name = "COLUMN")]
    pub expires_at: Option<String>,
}

/// When rows of a dataset that is there go from now on.
#[derive(Debug, Clone, Default, Args)]
pub struct NewLifeArgs {
    /// What is set.
    #[command(flatten)]
    pub set: LifeArgs,
    /// Rows live for ever, but for those that tell when they go.
    #[arg(long, conflicts_with = "ttl")]
    pub no_ttl: bool,
    /// No column tells any more when a row goes.
    #[arg(long, conflicts_with = "expires_at")]
    pub no_expires_at: bool,
}

impl NewLifeArgs {
    /// A schema with what was typed.
    pub(super) fn apply(&self, schema: Schema) -> Result<Schema, Error> {
        let ttl = self.set.ttl.or(schema.ttl()).filter(|_| !self.no_ttl);
        let column = self.set.expires_at.as_deref().or(schema.expires_column());
        let column = column.filter(|_| !self.no_expires_at).map(str::to_owned);
        schema.with_ttl(ttl)?.with_expires_column(column.as_deref())
    }
}

/// A length of time in its largest unit.
pub(super) fn span(time: Duration) -> String {
    let ms = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units
        .into_iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "ms"));
    format!("{}{name}", ms / unit)
}

/// How long rows live.
pub(super) fn life(ttl: Option<Duration>) -> String {
    ttl.map_or_else(|| "for ever".to_owned(), span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_as_they_are_typed() {
        for typed in ["90s", "12h", "7d", "1500ms", "2m", "1d"] {
            assert_eq!(span(duration(typed).unwrap()), typed);
        }
        assert_eq!(span(duration("24h").unwrap()), "1d");
        assert_eq!(
            (life(None), span(Duration::ZERO)),
            ("for ever".into(), "0ms".into())
        );
    }
}
