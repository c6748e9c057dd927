//! Checks a filter against a schema and binds its constants to their columns' types.

use arrow_schema::{DataType, Field};
use longbow_types::limits::{FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_VALUES_MAX, FILTER_VALUES_TOTAL_MAX};
use longbow_types::{Error, ErrorCode, Result, Schema};
use longbow_wire::v1;

use super::{Against, Members, Node, Op, constant::Constant};

/// Checks a filter against a schema.
pub(super) fn compile(filter: &v1::Filter, schema: &Schema) -> Result<Node> {
    let mut compiler = Compiler {
        schema,
        nodes: 0,
        values: 0,
    };
    compiler.node(filter, 1)
}

struct Compiler<'a> {
    schema: &'a Schema,
    nodes: usize,
    /// Values of all nodes so far, those of lists counted one by one.
    values: usize,
}

impl<'a> Compiler<'a> {
    fn node(&mut self, filter: &v1::Filter, depth: usize) -> Result<Node> {
        use v1::filter::Node as N;
        self.nodes += 1;
        if depth > FILTER_DEPTH_MAX {
            return Err(too_large(
                format!("a filter nested {depth} deep"),
                FILTER_DEPTH_MAX,
            ));
        }
        if self.nodes > FILTER_NODES_MAX {
            return Err(too_large(
                format!("a filter of more than {FILTER_NODES_MAX} nodes"),
                FILTER_NODES_MAX,
            ));
        }
        match filter.node.as_ref() {
            None => Err(missing("filter", "a filter node is empty")),
            Some(N::And(list)) => self.parts(list, depth).map(Node::And),
            Some(N::Or(list)) => self.parts(list, depth).map(Node::Or),
            Some(N::Not(part)) => Ok(Node::Not(Box::new(self.node(part, depth + 1)?))),
            Some(N::IsNull(column)) => {
                self.column(column)?;
                Ok(Node::IsNull(column.clone()))
            }
            Some(N::Compare(comparison)) => self.compare(comparison),
            Some(N::In(membership)) => self.membership(membership),
        }
    }

    fn parts(&mut self, list: &v1::FilterList, depth: usize) -> Result<Vec<Node>> {
        if list.filters.is_empty() {
            return Err(missing("filter", "`and` and `or` need at least one part"));
        }
        list.filters
            .iter()
            .map(|part| self.node(part, depth + 1))
            .collect()
    }

    /// Counts values before they are gone through.
    fn count<'v>(&mut self, values: impl IntoIterator<Item = &'v v1::Value>) -> Result<()> {
        for value in values {
            self.values += match &value.kind {
                Some(v1::value::Kind::Utf8List(list)) => list.values.len().max(1),
                _ => 1,
            };
        }
        if self.values > FILTER_VALUES_TOTAL_MAX {
            return Err(too_large(
                format!("a filter of more than {FILTER_VALUES_TOTAL_MAX} values"),
                FILTER_VALUES_TOTAL_MAX,
            ));
        }
        Ok(())
    }

    /// The column of a name that may be filtered on.
    fn column(&self, name: &str) -> Result<&'a Field> {
        let (position, field) = self.schema.column(name)?;
        if position == self.schema.vector().position {
            let message = format!("the vector column {name:?} cannot be filtered on");
            return Err(Error::new(ErrorCode::TypeMismatch, message).field(name.to_owned()));
        }
        Ok(field)
    }

    fn compare(&mut self, comparison: &v1::Comparison) -> Result<Node> {
        self.count(&comparison.value)?;
        let field = self.column(&comparison.column)?;
        let op = match comparison.op() {
            v1::CompareOp::Eq => Op::Eq,
            v1::CompareOp::Ne => Op::Ne,
            v1::CompareOp::Lt => Op::Lt,
            v1::CompareOp::Le => Op::Le,
            v1::CompareOp::Gt => Op::Gt,
            v1::CompareOp::Ge => Op::Ge,
            v1::CompareOp::Unspecified => {
                let message = "the comparison's operator is not set, or is not known to this version";
                return Err(missing("op", message));
            }
        };
        let value = comparison.value.as_ref();
        let value = value.ok_or_else(|| missing(field.name(), "the comparison has no value"))?;
        let against = match Constant::new(value, field)? {
            Constant::Null => return Ok(Node::Never),
            Constant::List(_) if !matches!(op, Op::Eq | Op::Ne) => {
                let message = format!("{:?} holds lists, which have no order", field.name());
                return Err(Error::new(ErrorCode::TypeMismatch, message)
                    .field(field.name().clone())
                    .limit("= or <>"));
            }
            Constant::List(values) => Against::List(values),
            Constant::Float(value) => Against::Float(value),
            constant => Against::Scalar(constant.into_scalar(field.data_type())?),
        };
        Ok(Node::Compare {
            column: field.name().clone(),
            op,
            against,
        })
    }

    fn membership(&mut self, membership: &v1::Membership) -> Result<Node> {
        let field = self.column(&membership.column)?;
        let values = &membership.values;
        if values.len() > FILTER_VALUES_MAX {
            let message = format!("a membership of {} values", values.len());
            return Err(Error::new(ErrorCode::TooLarge, message)
                .field(field.name().clone())
                .limit(FILTER_VALUES_MAX));
        }
        self.count(values)?;
        let constants = values.iter().map(|value| Constant::new(value, field));
        let members = Members::new(constants.collect::<Result<Vec<_>>>()?, is_list(field.data_type()));
        Ok(Node::In {
            column: field.name().clone(),
            members,
        })
    }
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_))
}

fn missing(field: &str, message: &'static str) -> Error {
    Error::new(ErrorCode::MissingField, message).field(field.to_owned())
}

fn too_large(message: String, limit: usize) -> Error {
    Error::new(ErrorCode::TooLarge, message)
        .field("filter")
        .limit(limit)
}
