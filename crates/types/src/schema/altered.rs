//! A schema made from another: how the next version of a dataset's is written down.

use arrow_schema::{DataType, Field};

use super::{DefaultValue, Schema};
use crate::Error;

impl Schema {
    /// The same schema with one column more at its end. Of a vector column [`Schema::with_vector`] tells how it is
    /// searched; until then as the others, with the default codes.
    ///
    /// # Errors
    /// `INVALID_SCHEMA` or `INVALID_NAME` naming the column.
    pub fn with_column(&self, column: Field, default: Option<DefaultValue>) -> Result<Self, Error> {
        let name = column.name().clone();
        let fields = self.arrow.fields().iter().map(|field| Field::clone(field));
        let wider = self.rebuilt(fields.chain([column]).collect())?;
        match default {
            Some(value) => wider.with_default(&name, value),
            None => Ok(wider),
        }
    }

    /// The same schema, in which a column has another type. Whether a dataset may change so is for
    /// [`crate::evolution`] to say.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN`; `INVALID_SCHEMA` for a type that the column cannot have.
    pub fn with_type(&self, column: &str, data_type: DataType) -> Result<Self, Error> {
        let (position, _) = self.column(column)?;
        let mut fields: Vec<Field> = self
            .arrow
            .fields()
            .iter()
            .map(|field| Field::clone(field))
            .collect();
        fields[position] = fields[position].clone().with_data_type(data_type);
        self.rebuilt(fields)
    }

    /// These columns, and everything else as it is here.
    fn rebuilt(&self, fields: Vec<Field>) -> Result<Self, Error> {
        let mut schema = Self::new(fields, self.id_name(), self.vector().metric)?;
        for vector in &self.vectors {
            let name = self.name_at(vector.position);
            schema = schema.with_vector(name, vector.metric, vector.quantization)?;
        }
        for (position, default) in self.defaults.iter().enumerate() {
            if let Some(value) = default {
                schema = schema.with_default(self.arrow.field(position).name(), value.clone())?;
            }
        }
        schema
            .with_ttl(self.ttl())?
            .with_expires_column(self.expires_column())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evolution::{Change, changes};
    use crate::schema::vector_type;
    use crate::{ErrorCode, Metric, Quantization, VectorElement};

    fn base() -> Schema {
        let fields = vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("vector", vector_type(VectorElement::F16, 4), false),
            Field::new("n", DataType::Int8, true),
        ];
        Schema::new(fields, "key", Metric::Dot)
            .unwrap()
            .with_quantization(Quantization::Bit1)
            .with_default("n", DefaultValue::Int(3))
            .unwrap()
    }

    #[test]
    fn what_is_made_so_may_follow() {
        let added = Field::new("text", DataType::Utf8, false);
        let next = base()
            .with_column(added, Some(DefaultValue::Text("none".into())))
            .unwrap()
            .with_type("n", DataType::Int64)
            .unwrap();
        let expected = [
            Change::Widened {
                column: "n".into(),
                from: DataType::Int8,
                to: DataType::Int64,
            },
            Change::Added {
                column: "text".into(),
            },
        ];
        assert_eq!(changes(&base(), &next).unwrap(), expected);
        assert_eq!(next.default_of(2), Some(&DefaultValue::Int(3)));
        assert_eq!(next.vector(), base().vector());
    }

    #[test]
    fn a_vector_column_is_added_and_searched_in_its_own_way() {
        let vectors = Field::new("image", vector_type(VectorElement::F32, 8), true);
        let next = base().with_column(vectors, None).unwrap();
        let told = next.with_vector("image", Metric::L2, Quantization::Sq4).unwrap();
        let after = told
            .with_column(Field::new("m", DataType::Int8, true), None)
            .unwrap();
        assert_eq!(after.vectors(), told.vectors(), "it is kept by what comes after");
        assert_eq!(after.vector(), base().vector());
        let image = after.vector_named("image").unwrap();
        assert_eq!(
            (image.metric, image.quantization),
            (Metric::L2, Quantization::Sq4)
        );
    }

    #[test]
    fn rows_go_as_they_did() {
        let at = || {
            Field::new(
                "at",
                DataType::Timestamp(arrow_schema::TimeUnit::Second, None),
                true,
            )
        };
        let ttl = Some(std::time::Duration::from_secs(5));
        let before = base().with_column(at(), None).unwrap().with_ttl(ttl).unwrap();
        let before = before.with_expires_column(Some("at")).unwrap();
        let next = before
            .with_column(Field::new("m", DataType::Int8, true), None)
            .unwrap();
        assert_eq!((next.ttl(), next.expires_column()), (ttl, Some("at")));
        // A column that is not one of timestamps any more is no schema's.
        let error = before.with_type("at", DataType::Int64).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("at"));
    }

    #[test]
    fn what_cannot_be_a_schema_is_named() {
        let twice = base().with_column(Field::new("n", DataType::Utf8, true), None);
        assert_eq!(twice.unwrap_err().field.as_deref(), Some("n"));
        let nowhere = base().with_type("m", DataType::Int64).unwrap_err();
        assert_eq!(nowhere.code, ErrorCode::UnknownColumn);
        // A default that the other type cannot hold.
        assert!(base().with_type("n", DataType::Utf8).is_err());
    }
}
