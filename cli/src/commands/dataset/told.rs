//! Datasets as people read them.

use longbow_client::{DatasetInfo, Quantization};

use super::life::span;
use crate::output::{
    json::kind,
    table::{bytes, table, thousands, with_head},
};

pub(super) fn list(all: &[DatasetInfo], counts: bool) -> String {
    if all.is_empty() {
        return "no datasets; `longbow import FILE --dataset NAME --create` makes one".to_owned();
    }
    let mut head = vec!["dataset", "vectors", "metric", "codes", "partitions", "copies"];
    if counts {
        head.extend(["rows", "size"]);
    }
    let mut out = with_head(&head, &["partitions", "copies", "rows", "size"]);
    // Counts that were asked for are missing where a partition had nobody to count it.
    let unknown = || "unknown".to_owned();
    for info in all {
        let vector = info.schema.vector();
        let mut cells = vec![
            info.name.clone(),
            format!("{}[{}]", vector.element.as_str(), vector.dimension),
            vector.metric.to_string(),
            vector.quantization.to_string(),
            info.partitions.to_string(),
            info.replication_factor.to_string(),
        ];
        if counts {
            cells.extend([
                info.rows.map_or_else(unknown, thousands),
                info.bytes.map_or_else(unknown, bytes),
            ]);
        }
        out.add_row(cells);
    }
    out.to_string()
}

pub(super) fn describe(info: &DatasetInfo) -> String {
    let mut columns = table(["column", "type", "nulls", "default", "use"], &[]);
    for (position, field) in info.schema.arrow().fields().iter().enumerate() {
        let role = if position == info.schema.id_position() {
            "id".to_owned()
        } else if let Some(vector) = info.schema.vector_at(position) {
            let codes = match vector.quantization {
                Quantization::None => "no",
                some => some.as_str(),
            };
            let which = if field.is_nullable() {
                "further vector"
            } else {
                "vector"
            };
            format!("{which}, {} distance, {codes} codes", vector.metric)
        } else if Some(position) == info.schema.expires_position() {
            "when the row goes".to_owned()
        } else {
            String::new()
        };
        let nulls = if field.is_nullable() { "yes" } else { "no" };
        let default = info.schema.default_of(position).map(ToString::to_string);
        columns.add_row([
            field.name(),
            &kind(&info.schema, position),
            nulls,
            default.as_deref().unwrap_or_default(),
            &role,
        ]);
    }
    let life = match info.schema.ttl() {
        Some(ttl) => format!(", each for {} after it was last written", span(ttl)),
        None => String::new(),
    };
    format!(
        "{}: dataset {}, schema version {}, {} partitions, {} copies of each, {} rows{life}, {}\n{columns}",
        info.name,
        info.id,
        info.schema_version,
        info.partitions,
        info.replication_factor,
        info.rows.map_or_else(|| "unknown".to_owned(), thousands),
        info.bytes.map(bytes).unwrap_or_default(),
    )
}
