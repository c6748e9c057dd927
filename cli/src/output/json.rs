//! Rows and values as JSON.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use longbow_client::{DatasetInfo, RowId, Schema, Value};
use serde_json::{Value as Json, json};

use crate::column_text;

/// A row id: a number or a string.
pub fn id(id: &RowId) -> Json {
    match id {
        RowId::U64(id) => json!(id),
        RowId::I64(id) => json!(id),
        RowId::Utf8(id) => json!(id),
    }
}

/// A value; bytes become base64, numbers that JSON cannot write become strings.
pub fn value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::I64(value) => json!(value),
        Value::U64(value) => json!(value),
        Value::F64(value) if value.is_finite() => json!(value),
        Value::F64(value) => json!(value.to_string()),
        Value::Utf8(value) => json!(value),
        Value::Binary(value) => json!(STANDARD.encode(value)),
        Value::Utf8List(values) => json!(values),
        Value::List(values) => values.iter().map(self::value).collect(),
        Value::Struct(children) => columns(children),
        Value::Vector(values) => json!(values),
        Value::Vector64(values) => json!(values),
    }
}

/// Columns by name.
pub fn columns(columns: &BTreeMap<String, Value>) -> Json {
    columns
        .iter()
        .map(|(name, entry)| (name.clone(), value(entry)))
        .collect()
}

/// A dataset.
pub fn dataset(info: &DatasetInfo) -> Json {
    json!({
        "name": info.name,
        "dataset_id": info.id.0,
        "schema_version": info.schema_version,
        "partitions": info.partitions,
        "replication_factor": info.replication_factor,
        "rows": info.rows,
        "bytes": info.bytes,
        "schema": schema(&info.schema),
    })
}

/// A schema.
pub fn schema(schema: &Schema) -> Json {
    let columns = schema
        .arrow()
        .fields()
        .iter()
        .enumerate()
        .map(|(position, field)| {
            let mut column = json!({
                "name": field.name(),
                "type": kind(schema, position),
                "nullable": field.is_nullable(),
            });
            if let Some(default) = schema.default_of(position) {
                column["default"] = value(&Value::from(default));
            }
            if let Some(vector) = schema.vector_at(position) {
                column["dimension"] = json!(vector.dimension);
                column["metric"] = json!(vector.metric.as_str());
                column["element"] = json!(vector.element.as_str());
                column["quantization"] = json!(vector.quantization.as_str());
            }
            column
        });
    let ttl = schema
        .ttl()
        .map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    json!({
        "id_column": schema.id_name(),
        "columns": columns.collect::<Vec<_>>(),
        "ttl_ms": ttl,
        "expires_column": schema.expires_column(),
    })
}

/// The type of a column in one word.
pub fn kind(schema: &Schema, position: usize) -> String {
    if let Some(vector) = schema.vector_at(position) {
        return format!("{}[{}]", vector.element.as_str(), vector.dimension);
    }
    column_text::name(schema.arrow().field(position).data_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_client::{DefaultValue, IdKind, Metric, SchemaBuilder, VectorElement};

    #[test]
    fn values_become_json() {
        assert_eq!(value(&Value::from(vec![1_u8, 2])), json!("AQI="));
        assert_eq!(value(&Value::F64(f64::NAN)), json!("NaN"));
        assert_eq!(value(&Value::U64(u64::MAX)), json!(u64::MAX));
        assert_eq!(value(&Value::from(vec!["a"])), json!(["a"]));
        assert_eq!(
            value(&Value::from(vec![Value::Null, Value::I64(2)])),
            json!([null, 2])
        );
        let children = BTreeMap::from([("a".to_owned(), Value::I64(1)), ("b".to_owned(), Value::Null)]);
        assert_eq!(value(&Value::Struct(children)), json!({"a": 1, "b": null}));
        assert_eq!(id(&RowId::I64(-1)), json!(-1));
    }

    #[test]
    fn schemas_become_json() {
        let made = SchemaBuilder::new()
            .id("id", IdKind::U64)
            .vector("v", 3, VectorElement::F16, Metric::L2)
            .utf8_list("tags")
            .timestamp_micros("at")
            .default_value(DefaultValue::Int(-1))
            .build()
            .unwrap();
        let out = schema(&made);
        assert_eq!(out["columns"][1]["metric"], "l2");
        assert_eq!(out["columns"][1]["quantization"], "sq8");
        assert_eq!(out["columns"][2].get("default"), None);
        assert_eq!(out["columns"][3]["default"], -1);
        let kinds: Vec<_> = (0..4).map(|at| kind(&made, at)).collect();
        assert_eq!(kinds, ["uint64", "float16[3]", "list<utf8>", "timestamp_micros"]);
    }
}
