//! Creates a dataset.

use std::time::Instant;

use bytes::Bytes;
use longbow_types::{
    Error, ErrorCode, Result, Schema, Token,
    limits::{PARTITIONS_DEFAULT, PARTITIONS_MAX},
    schema::check_dataset_name,
};
use longbow_wire::{
    convert,
    internal::{CreateDatasetCommand, entry_header::Command},
};
use prost::Message;

use super::{Core, Open};

/// A dataset to be created.
#[derive(Debug, Clone)]
pub struct NewDataset {
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: Schema,
    /// Number of partitions; 0: the default.
    pub partitions: u32,
    /// Copies of each partition; 0: the keepers choose.
    pub replication_factor: u32,
    /// Be content with one that is there and has the same schema.
    pub if_not_exists: bool,
}

/// A dataset that is there now.
#[derive(Debug, Clone)]
pub struct Created {
    /// The dataset.
    pub open: Open,
    /// Whether this call made it.
    pub created: bool,
    /// Covers its creation.
    pub token: Token,
}

impl Core {
    /// Creates a dataset. When this returns, this router knows it.
    ///
    /// # Errors
    /// `INVALID_NAME`, `INVALID_VALUE`, `DATASET_EXISTS`, `NOT_ENOUGH_SHARDS`, and those of an append.
    pub async fn create_dataset(&self, new: NewDataset, at: Instant) -> Result<Created> {
        check_dataset_name(&new.name)?;
        if new.partitions > PARTITIONS_MAX {
            let message = format!("{} partitions", new.partitions);
            return Err(Error::new(ErrorCode::InvalidValue, message)
                .field("partitions")
                .limit(format_args!(
                    "1 to {PARTITIONS_MAX}, or 0 for {PARTITIONS_DEFAULT}"
                )));
        }
        let partition_count = if new.partitions == 0 {
            PARTITIONS_DEFAULT
        } else {
            new.partitions
        };
        let command = CreateDatasetCommand {
            name: new.name.clone(),
            schema: convert::schema::to_proto(&new.schema).encode_to_vec().into(),
            partitions: Vec::new(),
            partition_count,
            replication_factor: new.replication_factor,
            rows_expire: new.schema.rows_expire(),
        };
        match self
            .append(Command::CreateDataset(command), Bytes::new(), at)
            .await
        {
            Ok(lsn) => {
                self.0.watch.wait_for_index(lsn.index, Some(at)).await?;
                Ok(Created {
                    open: self.open(&new.name, at).await?,
                    created: true,
                    token: Token::of(lsn),
                })
            }
            Err(error) if error.code == ErrorCode::DatasetExists && new.if_not_exists => {
                self.existing(&new, at).await
            }
            Err(error) => Err(error),
        }
    }

    /// The dataset of that name, if it is what was asked for.
    async fn existing(&self, new: &NewDataset, at: Instant) -> Result<Created> {
        let open = self.open(&new.name, at).await?;
        if let Some(error) = difference(&new.name, &open.schema, &new.schema) {
            return Err(error);
        }
        let partitions = open.partition_count();
        if new.partitions != 0 && new.partitions != partitions {
            let message = format!(
                "the dataset {:?} is there with {partitions} partitions, not {}; their number cannot be changed",
                new.name, new.partitions
            );
            return Err(Error::new(ErrorCode::DatasetExists, message)
                .field("partitions")
                .limit(partitions));
        }
        let token = self.token(open.view.incarnation, open.dataset.id.0);
        Ok(Created {
            open,
            created: false,
            token,
        })
    }
}

/// What is told of a dataset that is there with another schema than asked for: the first thing in which they differ.
fn difference(name: &str, there: &Schema, asked: &Schema) -> Option<Error> {
    let (is, wanted) = (there.vector(), asked.vector());
    let parts = [
        (
            "dimension",
            is.dimension.to_string(),
            wanted.dimension.to_string(),
        ),
        (
            "element",
            is.element.as_str().to_owned(),
            wanted.element.as_str().to_owned(),
        ),
        ("metric", is.metric.to_string(), wanted.metric.to_string()),
        (
            "quantization",
            is.quantization.to_string(),
            wanted.quantization.to_string(),
        ),
        (
            "id_column",
            there.id_name().to_owned(),
            asked.id_name().to_owned(),
        ),
        (
            "id_kind",
            there.id_kind().to_string(),
            asked.id_kind().to_string(),
        ),
        (
            "vector_column",
            there.vector_name().to_owned(),
            asked.vector_name().to_owned(),
        ),
    ];
    let refused = |field: &'static str, is: String, wanted: String| {
        let message =
            format!("the dataset {name:?} is there with {field} {is}, not {wanted}; that cannot be changed");
        Error::new(ErrorCode::DatasetExists, message)
            .field("schema")
            .limit(format_args!("{field} {is}"))
    };
    if let Some((field, is, wanted)) = parts.into_iter().find(|(_, is, wanted)| is != wanted) {
        return Some(refused(field, is, wanted));
    }
    if columns(there) != columns(asked) {
        return Some(refused("columns", columns(there), columns(asked)));
    }
    (there != asked).then(|| {
        let (is, wanted) = (lives(there), lives(asked));
        let message =
            format!("the dataset {name:?} is there with {is}, not {wanted}; alter it to change that");
        Error::new(ErrorCode::DatasetExists, message)
            .field("schema")
            .limit(is)
    })
}

/// When rows go.
fn lives(schema: &Schema) -> String {
    let ttl = schema.ttl().map_or(0, |ttl| ttl.as_millis());
    let column = schema.expires_column().unwrap_or_default();
    format!("ttl_ms {ttl} and expires_column {column:?}")
}

fn columns(schema: &Schema) -> String {
    let fields = schema.arrow().fields().iter().enumerate();
    let columns = fields.map(|(position, field)| {
        let nulls = if field.is_nullable() { "" } else { " not null" };
        let mut told = format!("{} {}{nulls}", field.name(), field.data_type());
        let further = schema.vector_at(position).filter(|_| field.is_nullable());
        if let Some(vector) = further {
            told.push_str(&format!(
                " metric {} quantization {}",
                vector.metric, vector.quantization
            ));
        }
        told
    });
    columns.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow_schema::{DataType, Field};
    use longbow_types::{Metric, Quantization, VectorElement, schema::vector_type};

    use super::*;

    fn schema(dimension: usize, metric: Metric, more: &[&str]) -> Schema {
        let mut columns = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F32, dimension), false),
        ];
        columns.extend(more.iter().map(|name| Field::new(*name, DataType::Utf8, true)));
        Schema::new(columns, "id", metric).unwrap()
    }

    #[test]
    fn the_first_difference_is_named() {
        let there = schema(4, Metric::Cosine, &["a"]);
        assert_eq!(difference("d", &there, &there), None);
        for (asked, field, is) in [
            (schema(8, Metric::Cosine, &["a"]), "dimension", "4"),
            (schema(4, Metric::Dot, &["a"]), "metric", "cosine"),
            (
                there.clone().with_quantization(Quantization::Sq4),
                "quantization",
                "sq8",
            ),
            (
                schema(4, Metric::Cosine, &["a", "b"]),
                "columns",
                "id UInt64 not null",
            ),
        ] {
            let error = difference("d", &there, &asked).unwrap();
            assert_eq!(error.code, ErrorCode::DatasetExists);
            assert_eq!(error.field.as_deref(), Some("schema"), "{error}");
            let limit = format!("{field} {is}");
            assert!(error.limit.as_ref().unwrap().starts_with(&limit), "{error}");
            assert!(error.message.contains(&format!("with {limit}")), "{error}");
            assert!(error.message.contains("cannot be changed"), "{error}");
        }
        let image = Field::new("image", vector_type(VectorElement::F16, 8), true);
        let there_too = there.with_column(image, None).unwrap();
        let asked = there_too
            .clone()
            .with_vector("image", Metric::Dot, Quantization::Sq8);
        let error = difference("d", &there_too, &asked.unwrap()).unwrap();
        assert!(
            error.message.contains("image FixedSizeList") && error.message.contains("metric dot"),
            "{error}"
        );
        let aged = there.clone().with_ttl(Some(Duration::from_secs(60))).unwrap();
        let error = difference("d", &there, &aged).unwrap();
        assert_eq!(error.field.as_deref(), Some("schema"));
        assert!(error.message.contains("not ttl_ms 60000"), "{error}");
        assert!(error.message.contains("alter it"), "{error}");
    }
}
