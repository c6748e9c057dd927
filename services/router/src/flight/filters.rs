//! Filters as existing clients write them, as filters of the core.
//!
//! A list is ANDed. A filter with parts joins them, and its own condition if it has one, by its `logic`. Values may be
//! text where the column holds numbers, instants or booleans.

use arrow_schema::DataType;
use longbow_types::{Error, ErrorCode, Result, Schema, limits::FILTER_DEPTH_MAX};
use longbow_wire::v1::{self, CompareOp, filter::Node, value::Kind};
use serde_json::Value;

use super::ticket::Filter;

/// Operators that the contract has.
const OPERATORS: &str = "=, !=, >, <, >=, <=, in, not in, between, like, contains, is_null, is_not_null";

/// One filter for a list of them; none for an empty list.
///
/// # Errors
/// `UNKNOWN_COLUMN`, `TYPE_MISMATCH`, `INVALID_VALUE` or `UNSUPPORTED`, naming the column or the operator.
pub fn all_of(filters: &[Filter], schema: &Schema) -> Result<Option<v1::Filter>> {
    match filters {
        [] => Ok(None),
        [one] => translate(one, schema, 1).map(Some),
        several => Ok(Some(and(several
            .iter()
            .map(|part| translate(part, schema, 2))
            .collect::<Result<_>>()?))),
    }
}

fn translate(filter: &Filter, schema: &Schema, depth: usize) -> Result<v1::Filter> {
    if depth > FILTER_DEPTH_MAX {
        return Err(Error::new(ErrorCode::TooLarge, "the filter is nested too deep")
            .field("filters")
            .limit(FILTER_DEPTH_MAX));
    }
    let mut parts = Vec::with_capacity(filter.filters.len() + 1);
    if !filter.field.is_empty() || filter.filters.is_empty() {
        parts.push(condition(filter, schema)?);
    }
    for part in &filter.filters {
        parts.push(translate(part, schema, depth + 1)?);
    }
    let logic = filter.logic.as_deref().unwrap_or("AND");
    match logic.to_ascii_uppercase().as_str() {
        "AND" | "" => Ok(one_or(parts, and)),
        "OR" if filter.filters.is_empty() => {
            let message = "OR joins the parts of a filter: put them into its `filters`";
            Err(Error::new(ErrorCode::InvalidValue, message).field("logic"))
        }
        "OR" => Ok(one_or(parts, or)),
        "NOT" => Ok(not(one_or(parts, and))),
        _ => Err(Error::new(
            ErrorCode::InvalidValue,
            format!("the logic {logic:?} is not known"),
        )
        .field("logic")
        .limit("AND, OR or NOT")),
    }
}

fn condition(filter: &Filter, schema: &Schema) -> Result<v1::Filter> {
    let (_, field) = schema.at_path(&filter.field)?;
    let column = Column {
        name: &filter.field,
        data_type: field.data_type(),
    };
    let operator = filter.operator.trim().to_ascii_lowercase();
    let compare = |op: CompareOp| column.compare(op, &filter.value);
    match operator.as_str() {
        "=" | "eq" | "==" => compare(CompareOp::Eq),
        "!=" | "<>" | "ne" | "neq" => compare(CompareOp::Ne),
        ">" | "gt" => compare(CompareOp::Gt),
        "<" | "lt" => compare(CompareOp::Lt),
        ">=" | "ge" | "gte" => compare(CompareOp::Ge),
        "<=" | "le" | "lte" => compare(CompareOp::Le),
        "in" => column.membership(&filter.value).map(Node::In).map(leaf),
        "not in" | "not_in" => column.membership(&filter.value).map(Node::NotIn).map(leaf),
        "between" => {
            let Value::Array(bounds) = &filter.value else {
                return Err(column.wrong(&filter.value, "a list of two values"));
            };
            let [low, high] = bounds.as_slice() else {
                return Err(column.wrong(&filter.value, "a list of two values"));
            };
            Ok(leaf(Node::Between(v1::Between {
                column: column.name.to_owned(),
                low: Some(column.value(low)?),
                high: Some(column.value(high)?),
            })))
        }
        "is_null" => Ok(is_null(column.name)),
        "is_not_null" => Ok(not(is_null(column.name))),
        "like" => column.like(&filter.value),
        "contains" => column.contains(&filter.value),
        _ => {
            let message = format!("the operator {:?} is not known", filter.operator);
            Err(Error::new(ErrorCode::InvalidValue, message)
                .field("operator")
                .limit(OPERATORS))
        }
    }
}

struct Column<'a> {
    name: &'a str,
    data_type: &'a DataType,
}

impl Column<'_> {
    fn compare(&self, op: CompareOp, value: &Value) -> Result<v1::Filter> {
        let comparison = v1::Comparison {
            column: self.name.to_owned(),
            op: op as i32,
            value: Some(self.value(value)?),
        };
        Ok(leaf(Node::Compare(comparison)))
    }

    fn membership(&self, value: &Value) -> Result<v1::Membership> {
        let Value::Array(values) = value else {
            return Err(self.wrong(value, "a list of values"));
        };
        let values = values
            .iter()
            .map(|value| self.value(value))
            .collect::<Result<_>>()?;
        Ok(v1::Membership {
            column: self.name.to_owned(),
            values,
        })
    }

    fn like(&self, value: &Value) -> Result<v1::Filter> {
        let pattern = value.as_str().ok_or_else(|| self.wrong(value, "a pattern"))?;
        Ok(self.pattern(pattern.to_owned()))
    }

    /// A list with an item, or with any of several; a text with a text somewhere in it.
    fn contains(&self, value: &Value) -> Result<v1::Filter> {
        if let DataType::List(item) = self.data_type {
            let item = Column {
                name: self.name,
                data_type: item.data_type(),
            };
            let items = match value {
                Value::Array(_) => item.membership(value)?,
                one => item.membership(&Value::Array(vec![one.clone()]))?,
            };
            return Ok(leaf(Node::ContainsAny(items)));
        }
        let text = value.as_str().ok_or_else(|| self.wrong(value, "text"))?;
        let mut pattern = String::from("%");
        for c in text.chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('%');
        Ok(self.pattern(pattern))
    }

    fn pattern(&self, pattern: String) -> v1::Filter {
        leaf(Node::Like(v1::Pattern {
            column: self.name.to_owned(),
            pattern,
            escape: String::new(),
        }))
    }

    /// A JSON value as one of the column's type, as far as JSON tells them apart.
    fn value(&self, value: &Value) -> Result<v1::Value> {
        use DataType as T;
        let kind = match (self.data_type, value) {
            (_, Value::Null) => Some(Kind::Null(v1::NullValue::Unspecified as i32)),
            (T::Boolean, Value::Bool(value)) => Some(Kind::Bool(*value)),
            (T::Boolean, Value::String(text)) => text.to_ascii_lowercase().parse().ok().map(Kind::Bool),
            (T::Utf8, Value::String(text)) => Some(Kind::Utf8(text.clone())),
            (T::List(item), Value::Array(items)) if *item.data_type() == T::Utf8 => texts(items),
            (T::List(item), Value::Array(items)) => {
                let item = Column {
                    name: self.name,
                    data_type: item.data_type(),
                };
                let values = items.iter().map(|value| item.value(value));
                Some(Kind::List(v1::ValueList {
                    values: values.collect::<Result<_>>()?,
                }))
            }
            (T::Decimal128(..) | T::Decimal256(..), Value::String(text)) => {
                Some(Kind::Utf8(text.trim().to_owned()))
            }
            (T::Decimal128(..) | T::Decimal256(..), Value::Number(number)) => {
                Some(Kind::Utf8(number.to_string()))
            }
            // What the text says depends on the column's unit, and is read with the filter.
            (times, Value::String(text)) if times.is_temporal() => {
                integer(text).or_else(|| Some(Kind::Utf8(text.clone())))
            }
            (T::Float16 | T::Float32 | T::Float64, Value::Number(number)) => number.as_f64().map(Kind::F64),
            (T::Float16 | T::Float32 | T::Float64, Value::String(text)) => {
                text.trim().parse().ok().map(Kind::F64)
            }
            (data_type, Value::Number(number)) if is_whole(data_type) => integer(&number.to_string()),
            (data_type, Value::String(text)) if is_whole(data_type) => integer(text),
            _ => None,
        };
        kind.map(|kind| v1::Value { kind: Some(kind) })
            .ok_or_else(|| self.wrong(value, &self.data_type.to_string()))
    }

    fn wrong(&self, value: &Value, wanted: &str) -> Error {
        let message = format!("{value} cannot be compared with the column {:?}", self.name);
        Error::new(ErrorCode::TypeMismatch, message)
            .field(self.name.to_owned())
            .limit(wanted)
    }
}

fn is_whole(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_temporal()
}

/// A whole number, also as `3.0`.
fn integer(text: &str) -> Option<Kind> {
    let text = text.trim();
    let signed = || text.parse().ok().map(Kind::I64);
    let unsigned = || text.parse().ok().map(Kind::U64);
    let whole = || {
        let number: f64 = text.parse().ok()?;
        (number.fract() == 0.0 && number.abs() < 9e15).then_some(Kind::I64(number as i64))
    };
    signed().or_else(unsigned).or_else(whole)
}

fn texts(items: &[Value]) -> Option<Kind> {
    let values: Option<Vec<String>> = items
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect();
    Some(Kind::Utf8List(v1::Utf8List { values: values? }))
}

fn leaf(node: Node) -> v1::Filter {
    v1::Filter { node: Some(node) }
}

fn and(filters: Vec<v1::Filter>) -> v1::Filter {
    leaf(Node::And(v1::FilterList { filters }))
}

fn or(filters: Vec<v1::Filter>) -> v1::Filter {
    leaf(Node::Or(v1::FilterList { filters }))
}

fn not(filter: v1::Filter) -> v1::Filter {
    leaf(Node::Not(Box::new(filter)))
}

fn is_null(column: &str) -> v1::Filter {
    leaf(Node::IsNull(column.to_owned()))
}

fn one_or(mut parts: Vec<v1::Filter>, join: fn(Vec<v1::Filter>) -> v1::Filter) -> v1::Filter {
    match (parts.len(), parts.pop()) {
        (1, Some(part)) => part,
        (_, last) => join(parts.into_iter().chain(last).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch_of_all_kinds, schema_of_all_kinds};
    use longbow_query::filter::Predicate;
    use serde_json::json;

    /// Rows of ten for which the filters are true.
    fn rows(filters: Value) -> Result<Vec<usize>> {
        let filters: Vec<Filter> = serde_json::from_value(filters).unwrap();
        let schema = schema_of_all_kinds();
        let filter = all_of(&filters, &schema)?.unwrap();
        let bits = Predicate::compile(&filter, &schema)?.evaluate(&batch_of_all_kinds(10))?;
        Ok((0..10).filter(|&row| bits.value(row)).collect())
    }

    #[test]
    fn operators_mean_what_they_say() {
        let one = |operator: &str, value: Value| {
            rows(json!([{"field": "u8", "operator": operator, "value": value}])).unwrap()
        };
        // Rows 1, 4 and 7 are null.
        assert_eq!(one("=", json!(5)), [5]);
        assert_eq!(one("EQ", json!("5")), [5]);
        assert_eq!(one("==", json!(5.0)), [5]);
        assert_eq!(one("!=", json!(5)), [0, 2, 3, 6, 8, 9]);
        assert_eq!(one("gte", json!(8)), [8, 9]);
        assert_eq!(one("<", json!("3")), [0, 2]);
        assert_eq!(one("in", json!([2, "9", 77])), [2, 9]);
        assert_eq!(one("Not In", json!([2, 9])), [0, 3, 5, 6, 8]);
        assert_eq!(one("between", json!([3, 6])), [3, 5, 6]);
        assert_eq!(one("is_null", Value::Null), [1, 4, 7]);
        assert_eq!(one("is_not_null", Value::Null), [0, 2, 3, 5, 6, 8, 9]);
        assert_eq!(
            rows(json!([{"field": "id", "op": "=", "value": "row-3"}])).unwrap(),
            [3]
        );
        assert_eq!(
            rows(json!([{"field": "bool", "op": "=", "value": "TRUE"}])).unwrap(),
            [0, 2, 6, 8]
        );
        assert_eq!(
            rows(json!([{"field": "f32", "op": ">", "value": "2.5"}])).unwrap(),
            [8, 9]
        );
        let of = |field: &str, operator: &str, value: Value| {
            rows(json!([{"field": field, "operator": operator, "value": value}])).unwrap()
        };
        assert_eq!(of("utf8", "like", json!("%t _")), [0, 2, 3, 5, 6, 8, 9]);
        assert_eq!(of("utf8", "contains", json!("t 5")), [5]);
        assert_eq!(of("utf8", "contains", json!("_")), [0; 0]);
        assert_eq!(of("list", "contains", json!("a3")), [3]);
        assert_eq!(of("list", "contains", json!(["a3", "a4", "a5"])), [3, 5]);
        assert_eq!(of("date32", "=", json!("1970-01-01")), [3]);
        assert_eq!(of("seconds", "<=", json!("1970-01-01T00:00:02Z")), [0, 2]);
        assert_eq!(of("duration", "in", json!([-3, "-5"])), [3, 5]);
        let instant = json!([{"field": "time", "op": "<=", "value": "1970-01-01T00:00:00.000003Z"}]);
        assert_eq!(rows(instant).unwrap(), [0, 2, 3]);
    }

    #[test]
    fn logic_joins_parts() {
        let f = |field: &str, value: Value| json!({"field": field, "op": "=", "value": value});
        assert_eq!(
            rows(json!([f("u8", json!(2)), f("u16", json!(3))])).unwrap(),
            [0usize; 0]
        );
        assert_eq!(
            rows(json!([{"logic": "or", "filters": [f("u8", json!(2)), f("u16", json!(3))]}])).unwrap(),
            [2, 3]
        );
        let own =
            json!([{"field": "u8", "op": "=", "value": 5, "logic": "OR", "filters": [f("u8", json!(6))]}]);
        assert_eq!(rows(own).unwrap(), [5, 6]);
        let not = json!([{"logic": "NOT", "filters": [{"field": "u8", "op": ">", "value": 2}]}]);
        assert_eq!(rows(not).unwrap(), [0, 1, 2, 4, 7]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |filters: Value| rows(filters).unwrap_err();
        let of = |field: &str, op: &str, value: Value| json!([{"field": field, "op": op, "value": value}]);
        let cases = [
            (of("colour", "=", json!(1)), ErrorCode::UnknownColumn, "colour"),
            (of("u8", "~", json!(1)), ErrorCode::InvalidValue, "operator"),
            (of("u8", "like", json!("a%")), ErrorCode::TypeMismatch, "u8"),
            (of("utf8", "like", json!(5)), ErrorCode::TypeMismatch, "utf8"),
            (of("u8", "contains", json!("5")), ErrorCode::TypeMismatch, "u8"),
            (of("list", "contains", json!(5)), ErrorCode::TypeMismatch, "list"),
            (of("u8", "=", json!("abc")), ErrorCode::TypeMismatch, "u8"),
            (of("u8", "=", json!(256)), ErrorCode::TypeMismatch, "u8"),
            (of("u8", "=", json!(1.5)), ErrorCode::TypeMismatch, "u8"),
            (of("utf8", "=", json!(5)), ErrorCode::TypeMismatch, "utf8"),
            (of("u8", "in", json!(5)), ErrorCode::TypeMismatch, "u8"),
            (of("u8", "between", json!([1])), ErrorCode::TypeMismatch, "u8"),
            (
                json!([{"field": "u8", "op": "=", "value": 1, "logic": "XOR"}]),
                ErrorCode::InvalidValue,
                "logic",
            ),
            (
                json!([{"field": "u8", "op": "=", "value": 1, "logic": "OR"}]),
                ErrorCode::InvalidValue,
                "logic",
            ),
        ];
        for (filters, code, field) in cases {
            let error = error(filters.clone());
            assert_eq!(
                (error.code, error.field.as_deref()),
                (code, Some(field)),
                "{filters}"
            );
        }
    }
}
