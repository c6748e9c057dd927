//! When do the rows of a dataset go by themselves?

use std::time::Duration;

use arrow_schema::DataType;

use super::Schema;
use crate::{
    Error, ErrorCode,
    limits::{TTL_MAX, TTL_MIN},
};

/// By what a row's time is told. Both may be: an instant of a row's own goes before the age of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Expiry {
    /// How long a row lives after it was last written, in milliseconds.
    ttl_ms: Option<u64>,
    /// Position of the column that tells when each row goes.
    column: Option<usize>,
}

impl Schema {
    /// The same schema, whose rows live so long after they were last written; `None`: for ever.
    ///
    /// # Errors
    /// `INVALID_SCHEMA` naming the limits.
    pub fn with_ttl(mut self, ttl: Option<Duration>) -> Result<Self, Error> {
        if let Some(ttl) = ttl
            && !(TTL_MIN..=TTL_MAX).contains(&ttl)
        {
            let message = format!("rows that live for {} ms", ttl.as_millis());
            return Err(Error::new(ErrorCode::InvalidSchema, message)
                .field("ttl")
                .limit(format_args!(
                    "{} to {} ms",
                    TTL_MIN.as_millis(),
                    TTL_MAX.as_millis()
                )));
        }
        // Within the limits it fits.
        self.expiry.ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        Ok(self)
    }

    /// The same schema, in which a column of timestamps tells when each row goes, and rows that hold a null there go by
    /// their age, if at all; `None`: no column does.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN`; `INVALID_SCHEMA` for a column of another type.
    pub fn with_expires_column(mut self, column: Option<&str>) -> Result<Self, Error> {
        self.expiry.column = match column {
            None => None,
            Some(name) => {
                let (position, field) = self.column(name)?;
                if !matches!(field.data_type(), DataType::Timestamp(..)) {
                    let message = format!("{} does not tell when a row goes", field.data_type());
                    return Err(Error::new(ErrorCode::InvalidSchema, message)
                        .field(name.to_owned())
                        .limit("a column of timestamps"));
                }
                Some(position)
            }
        };
        Ok(self)
    }

    /// How long a row lives after it was last written, if not for ever.
    pub fn ttl(&self) -> Option<Duration> {
        self.expiry.ttl_ms.map(Duration::from_millis)
    }

    /// Position of the column that tells when each row goes, if one does.
    pub fn expires_position(&self) -> Option<usize> {
        self.expiry.column
    }

    /// Name of that column.
    pub fn expires_column(&self) -> Option<&str> {
        self.expiry
            .column
            .map(|position| self.arrow.field(position).name().as_str())
    }

    /// Whether any row may go by itself.
    pub fn rows_expire(&self) -> bool {
        self.expiry != Expiry::default()
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{Field, TimeUnit};

    use super::*;
    use crate::schema::vector_type;
    use crate::{Metric, VectorElement};

    fn schema() -> Schema {
        let columns = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F16, 4), false),
            Field::new("gone", DataType::Timestamp(TimeUnit::Second, None), true),
        ];
        Schema::new(columns, "id", Metric::L2).unwrap()
    }

    #[test]
    fn a_schema_tells_when_its_rows_go() {
        assert!(!schema().rows_expire());
        let day = Duration::from_secs(86_400);
        let aged = schema().with_ttl(Some(day)).unwrap();
        assert_eq!((aged.ttl(), aged.expires_column()), (Some(day), None));
        let told = schema().with_expires_column(Some("gone")).unwrap();
        assert_eq!((told.ttl(), told.expires_column()), (None, Some("gone")));
        assert!(aged.rows_expire() && told.rows_expire());
        assert_ne!(aged, schema());
        assert_eq!(aged.with_ttl(None).unwrap(), schema());
        assert_eq!(told.with_expires_column(None).unwrap(), schema());
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for ttl in [
            Duration::ZERO,
            Duration::from_millis(999),
            TTL_MAX + Duration::from_millis(1),
        ] {
            let error = schema().with_ttl(Some(ttl)).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidSchema, Some("ttl"))
            );
        }
        for (column, code) in [
            ("nope", ErrorCode::UnknownColumn),
            ("id", ErrorCode::InvalidSchema),
            ("vector", ErrorCode::InvalidSchema),
        ] {
            let error = schema().with_expires_column(Some(column)).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (code, Some(column)));
        }
    }
}
