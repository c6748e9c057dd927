//! A further vector column as typed: `NAME:DIMENSION`, then what it is where that is not as of the vectors that are there.

use arrow_schema::Field;
use clap::ValueEnum;
use longbow_client::{Error, ErrorCode, Schema, VectorElement};
use longbow_types::{limits::DIMENSION_MAX, schema::vector_type};

use super::{ElementArg, MetricArg, QuantizationArg};

/// The schema with a vector column more.
///
/// # Errors
/// `INVALID_SCHEMA` for what is no such column, naming the option `add_vector`; those of a schema that cannot have it.
pub(super) fn add(schema: &Schema, text: &str) -> Result<Schema, Error> {
    let first = schema.vector();
    let (mut element, mut metric, mut codes) = (None, None, None);
    // Names may have any sign: what is told of a column stands behind its name.
    let mut rest = text;
    while let Some((before, word)) = rest.rsplit_once(':') {
        let is_new = match (
            ElementArg::from_str(word, false),
            MetricArg::from_str(word, false),
            QuantizationArg::from_str(word, false),
        ) {
            (Ok(told), ..) => element.replace(VectorElement::from(told)).is_none(),
            (_, Ok(told), _) => metric.replace(told.into()).is_none(),
            (.., Ok(told)) => codes.replace(told.into()).is_none(),
            _ => break,
        };
        if !is_new {
            return Err(wrong(format!("{text:?} tells the same twice")));
        }
        rest = before;
    }
    let dimension = rest
        .rsplit_once(':')
        .map(|(name, digits)| (name, digits.parse::<usize>()));
    let Some((name, Ok(dimension))) = dimension else {
        return Err(wrong(format!("{text:?} has no dimension")));
    };
    if !(1..=DIMENSION_MAX).contains(&dimension) {
        let message = format!("a vector of {dimension} elements");
        return Err(Error::new(ErrorCode::InvalidSchema, message)
            .field(name.to_owned())
            .limit(format!("1 to {DIMENSION_MAX}")));
    }
    let data_type = vector_type(element.unwrap_or(first.element), dimension);
    schema
        .with_column(Field::new(name, data_type, true), None)?
        .with_vector(
            name,
            metric.unwrap_or(first.metric),
            codes.unwrap_or(first.quantization),
        )
}

fn wrong(why: String) -> Error {
    Error::new(ErrorCode::InvalidSchema, why)
        .field("add_vector")
        .limit("NAME:DIMENSION[:ELEMENT][:METRIC][:CODES], see `longbow dataset alter --help`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_client::{IdKind, Metric, Quantization, SchemaBuilder};

    fn schema() -> Schema {
        SchemaBuilder::new()
            .id("id", IdKind::U64)
            .vector("vector", 4, VectorElement::F16, Metric::L2)
            .quantization(Quantization::Sq4)
            .build()
            .unwrap()
    }

    #[test]
    fn what_is_left_out_is_as_of_the_vectors_there_are() {
        let of = |text: &str| {
            let schema = add(&schema(), text).unwrap();
            let vector = schema.vectors()[1];
            let name = schema.name_at(vector.position).to_owned();
            (
                name,
                vector.dimension,
                vector.element,
                vector.metric,
                vector.quantization,
            )
        };
        use {Metric as M, Quantization as Q, VectorElement as E};
        assert_eq!(of("image:512"), ("image".into(), 512, E::F16, M::L2, Q::Sq4));
        assert_eq!(
            of("image:512:f32:dot:none"),
            ("image".into(), 512, E::F32, M::Dot, Q::None)
        );
        assert_eq!(of("a:b:8:cosine"), ("a:b".into(), 8, E::F16, M::Cosine, Q::Sq4));
        assert_eq!(of("dot:8:bit1:f64"), ("dot".into(), 8, E::F64, M::L2, Q::Bit1));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "image",
            "image:f16",
            "8",
            "image:x",
            "image:8:f16:f32",
            "image:8:",
            "image:-1",
        ] {
            let error = add(&schema(), bad).unwrap_err();
            assert_eq!(error.field.as_deref(), Some("add_vector"), "{bad}");
        }
        for (bad, field) in [
            ("vector:8", "vector"),
            ("image:0", "image"),
            ("image:32769", "image"),
        ] {
            let error = add(&schema(), bad).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidSchema, Some(field))
            );
        }
    }
}
