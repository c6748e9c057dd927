//! Schemas, built in code.

use std::{sync::Arc, time::Duration};

use arrow_schema::{DataType, Field, TimeUnit};
use longbow_types::{
    DefaultValue, Error, ErrorCode, IdKind, Metric, Quantization, Result, Schema, VectorElement,
    limits::DIMENSION_MAX,
    schema::{utf8_item, vector_type},
};

/// Builds the schema of a dataset. Columns keep the order in which they are named.
///
/// ```
/// use longbow_client::{IdKind, Metric, SchemaBuilder, VectorElement};
///
/// let schema = SchemaBuilder::new()
///     .id("id", IdKind::U64)
///     .vector("vector", 384, VectorElement::F16, Metric::Cosine)
///     .utf8("pos")
///     .int32("word_count")
///     .build()?;
/// assert_eq!(schema.vector().dimension, 384);
/// # Ok::<(), longbow_client::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct SchemaBuilder {
    fields: Vec<Field>,
    id: Option<String>,
    metric: Option<Metric>,
    quantization: Quantization,
    /// Further vector columns, and how they are searched.
    further: Vec<(String, Metric, Quantization)>,
    defaults: Vec<(String, DefaultValue)>,
    ttl: Option<Duration>,
    expires: Option<String>,
    fault: Option<Error>,
}

macro_rules! scalars {
    ($($(#[$doc:meta])* $name:ident => $data_type:expr;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(self, name: impl Into<String>) -> Self {
                self.column(name, $data_type)
            }
        )*
    };
}

impl SchemaBuilder {
    /// A schema without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the id column.
    #[must_use]
    pub fn id(mut self, name: impl Into<String>, kind: IdKind) -> Self {
        let name = name.into();
        let data_type = match kind {
            IdKind::U64 => DataType::UInt64,
            IdKind::I64 => DataType::Int64,
            IdKind::Utf8 => DataType::Utf8,
        };
        self.fields.push(Field::new(&name, data_type, false));
        self.id = Some(name);
        self
    }

    /// Adds the vector column.
    #[must_use]
    pub fn vector(
        mut self,
        name: impl Into<String>,
        dimension: usize,
        element: VectorElement,
        metric: Metric,
    ) -> Self {
        let name = name.into();
        if !(1..=DIMENSION_MAX).contains(&dimension) {
            let error = Error::new(
                ErrorCode::InvalidSchema,
                format!("a vector of {dimension} elements"),
            );
            self.fault = Some(error.field(name).limit(format_args!("1 to {DIMENSION_MAX}")));
            return self;
        }
        self.fields
            .push(Field::new(name, vector_type(element, dimension), false));
        self.metric = Some(metric);
        self
    }

    /// Adds a further vector column, in which rows need not have a value. It is searched if a search
    /// [names](crate::Search::vector_column) it.
    #[must_use]
    pub fn further_vector(
        self,
        name: impl Into<String>,
        (dimension, element): (usize, VectorElement),
        metric: Metric,
        quantization: Quantization,
    ) -> Self {
        let (name, first) = (name.into(), self.metric);
        let mut this = self.vector(name.clone(), dimension, element, metric);
        // That of the vector which every row has is told by itself.
        this.metric = first;
        if this.fault.is_none() {
            this = this.nullable();
            this.further.push((name, metric, quantization));
        }
        this
    }

    /// Makes the column added last take nulls.
    fn nullable(mut self) -> Self {
        if let Some(field) = self.fields.pop() {
            self.fields.push(field.with_nullable(true));
        }
        self
    }

    /// What the search graph is walked on; without it [`Quantization::Sq8`].
    #[must_use]
    pub fn quantization(mut self, quantization: Quantization) -> Self {
        self.quantization = quantization;
        self
    }

    /// Lets rows go so long after they were last written, by the time of the log: a second or more. Without it they stay.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Lets each row go at the instant that it holds in a column of timestamps, whatever the [`ttl`](Self::ttl). Rows that
    /// hold a null there go by that, if at all.
    #[must_use]
    pub fn expires_at(mut self, column: impl Into<String>) -> Self {
        self.expires = Some(column.into());
        self
    }

    scalars! {
        /// Adds a column of booleans, which may be null.
        bool => DataType::Boolean;
        /// Adds a column of 32-bit signed integers, which may be null.
        int32 => DataType::Int32;
        /// Adds a column of 64-bit signed integers, which may be null.
        int64 => DataType::Int64;
        /// Adds a column of 64-bit unsigned integers, which may be null.
        uint64 => DataType::UInt64;
        /// Adds a column of 32-bit floats, which may be null.
        float32 => DataType::Float32;
        /// Adds a column of 64-bit floats, which may be null.
        float64 => DataType::Float64;
        /// Adds a column of text, which may be null.
        utf8 => DataType::Utf8;
        /// Adds a column of lists of text, which may be null.
        utf8_list => DataType::List(utf8_item());
        /// Adds a column of bytes, which may be null.
        binary => DataType::Binary;
        /// Adds a column of instants: microseconds since the Unix epoch, UTC, which may be null.
        timestamp_micros => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")));
    }

    /// Adds a column of any supported Arrow type, which may be null.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, data_type: DataType) -> Self {
        self.fields.push(Field::new(name, data_type, true));
        self
    }

    /// Makes the column added last refuse nulls.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        if let Some(field) = self.fields.pop() {
            self.fields.push(field.with_nullable(false));
        }
        self
    }

    /// Gives the column added last a value for rows that do not tell it.
    #[must_use]
    pub fn default_value(mut self, value: DefaultValue) -> Self {
        if let Some(field) = self.fields.last() {
            self.defaults.push((field.name().clone(), value));
        }
        self
    }

    /// Checks the schema.
    pub fn build(self) -> Result<Schema> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let id = self.id.unwrap_or_default();
        let schema = Schema::new(self.fields, &id, self.metric.unwrap_or(Metric::Cosine))?;
        let mut schema = schema.with_quantization(self.quantization);
        for (column, metric, quantization) in self.further {
            schema = schema.with_vector(&column, metric, quantization)?;
        }
        for (column, value) in self.defaults {
            schema = schema.with_default(&column, value)?;
        }
        schema
            .with_ttl(self.ttl)?
            .with_expires_column(self.expires.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named() {
        let no_id = SchemaBuilder::new().vector("v", 2, VectorElement::F32, Metric::L2);
        assert_eq!(no_id.build().unwrap_err().code, ErrorCode::InvalidSchema);
        let too_wide = SchemaBuilder::new().id("id", IdKind::Utf8).vector(
            "v",
            DIMENSION_MAX + 1,
            VectorElement::F32,
            Metric::L2,
        );
        assert_eq!(too_wide.build().unwrap_err().field.as_deref(), Some("v"));
    }

    #[test]
    fn further_vectors_are_searched_as_they_say() {
        let schema = SchemaBuilder::new()
            .id("id", IdKind::U64)
            .further_vector("image", (3, VectorElement::F16), Metric::Dot, Quantization::None)
            .vector("v", 2, VectorElement::F32, Metric::L2)
            .build()
            .unwrap();
        assert_eq!((schema.vector_name(), schema.vector().metric), ("v", Metric::L2));
        let image = schema.vector_named("image").unwrap();
        assert_eq!((image.dimension, image.metric), (3, Metric::Dot));
        assert_eq!(image.quantization, Quantization::None);
        assert!(schema.arrow().field(image.position).is_nullable());
    }

    #[test]
    fn the_quantization_is_the_one_chosen() {
        let built = |chosen: Option<Quantization>| {
            let builder =
                SchemaBuilder::new()
                    .id("id", IdKind::U64)
                    .vector("v", 2, VectorElement::F16, Metric::Dot);
            let builder = match chosen {
                Some(quantization) => builder.quantization(quantization),
                None => builder,
            };
            builder.build().unwrap().vector().quantization
        };
        assert_eq!(built(None), Quantization::Sq8);
        for quantization in Quantization::ALL {
            assert_eq!(built(Some(quantization)), quantization);
        }
    }

    #[test]
    fn a_default_is_for_the_last_column() {
        let of = |value| {
            SchemaBuilder::new()
                .id("id", IdKind::U64)
                .vector("v", 2, VectorElement::F16, Metric::Dot)
                .utf8("a")
                .int32("b")
                .not_null()
                .default_value(value)
                .build()
        };
        let schema = of(DefaultValue::Int(4)).unwrap();
        assert_eq!(schema.default_of(2), None);
        assert_eq!(schema.default_of(3), Some(&DefaultValue::Int(4)));
        let error = of(DefaultValue::Text("x".into())).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("b"));
    }

    #[test]
    fn rows_go_by_their_age_or_by_a_column() {
        let of = |column: &str, seconds| {
            SchemaBuilder::new()
                .id("id", IdKind::U64)
                .vector("v", 2, VectorElement::F16, Metric::Dot)
                .timestamp_micros("until")
                .ttl(Duration::from_secs(seconds))
                .expires_at(column)
                .build()
        };
        let schema = of("until", 60).unwrap();
        assert_eq!(schema.ttl(), Some(Duration::from_secs(60)));
        assert_eq!(schema.expires_column(), Some("until"));
        assert_eq!(of("until", 0).unwrap_err().field.as_deref(), Some("ttl"));
        assert_eq!(of("v", 60).unwrap_err().field.as_deref(), Some("v"));
    }

    #[test]
    fn not_null_is_for_the_last_column() {
        let schema = SchemaBuilder::new()
            .id("id", IdKind::U64)
            .vector("v", 2, VectorElement::F16, Metric::Dot)
            .utf8("a")
            .utf8("b")
            .not_null()
            .build()
            .unwrap();
        assert!(schema.arrow().field(2).is_nullable());
        assert!(!schema.arrow().field(3).is_nullable());
        assert_eq!(schema.vector().metric, Metric::Dot);
    }
}
