//! Checks a filter against a schema and spells it as a canonical node.

use arrow_schema::{DataType, Field};
use longbow_types::limits::{
    FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_PATTERN_BYTES_MAX, FILTER_VALUES_MAX, FILTER_VALUES_TOTAL_MAX,
};
use longbow_types::{Error, ErrorCode, Result, Schema};
use longbow_wire::v1;

use super::{
    constant::Constant,
    key::{Key, Set, greatest},
    node::{Node, Property},
    pattern::Shape,
};

/// What takes the meaning from a sign of a pattern, unless something else is asked for.
const ESCAPE: char = '\\';

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

impl Compiler<'_> {
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
            None => Err(missing(
                "filter",
                "a filter node is empty, or is not known to this version",
            )),
            Some(N::And(list)) => self.parts(list, depth).map(Node::and),
            Some(N::Or(list)) => self.parts(list, depth).map(Node::or),
            Some(N::Not(part)) => self.node(part, depth + 1).map(Node::not),
            Some(N::IsNull(column)) => self.nullable(column).map(|field| is_null(&field)),
            Some(N::Compare(comparison)) => self.compare(comparison),
            Some(N::In(membership)) => self.membership(membership),
            Some(N::NotIn(membership)) => {
                let inside = self.membership(membership)?;
                let null = is_null(&self.column(&membership.column)?);
                Ok(Node::and(vec![inside.not(), null.not()]))
            }
            Some(N::Between(between)) => self.between(between),
            Some(N::Like(like)) => self.like(like),
            Some(N::Prefix(prefix)) => self.prefix(prefix),
            Some(N::ContainsAny(items)) => self.contains(items, false),
            Some(N::ContainsAll(items)) => self.contains(items, true),
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
                Some(v1::value::Kind::List(list)) => list.values.len().max(1),
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

    /// The column of a name, or child of a column, that may be filtered on.
    fn column(&self, name: &str) -> Result<Field> {
        let (position, field) = self.schema.at_path(name)?;
        if self.schema.vector_at(position).is_some() {
            let message = format!("the vector column {name:?} cannot be filtered on");
            return Err(Error::new(ErrorCode::TypeMismatch, message).field(name.to_owned()));
        }
        Ok(field)
    }

    /// The same, or a vector column that rows need not have a value in: whether they have is all that may be asked of it.
    fn nullable(&self, name: &str) -> Result<Field> {
        let (position, field) = self.schema.at_path(name)?;
        let further = self.schema.further_vectors();
        if further.iter().any(|vector| vector.position == position) {
            return Ok(field);
        }
        self.column(name)
    }

    /// A value compared with a column.
    fn constant(&mut self, value: Option<&v1::Value>, field: &Field) -> Result<Constant> {
        self.count(value)?;
        let value = value.ok_or_else(|| missing(field.name(), "the comparison has no value"))?;
        Constant::new(value, field)
    }

    fn compare(&mut self, comparison: &v1::Comparison) -> Result<Node> {
        use v1::CompareOp as Op;
        let field = &self.column(&comparison.column)?;
        let op = comparison.op();
        if op == Op::Unspecified {
            let message = "the comparison's operator is not set, or is not known to this version";
            return Err(missing("op", message));
        }
        let data_type = field.data_type();
        let key = match self.constant(comparison.value.as_ref(), field)? {
            Constant::Null => return Ok(Node::Constant(false)),
            Constant::Nan if op == Op::Ne => return Ok(is_null(field).not()),
            Constant::Nan => return Ok(Node::Constant(false)),
            Constant::List(items) => {
                let equal = Node::test(field.name(), Property::List(vec![items]));
                return match op {
                    Op::Eq => Ok(equal),
                    Op::Ne => Ok(Node::and(vec![equal.not(), is_null(field).not()])),
                    _ => Err(no_order(field, "= or <>")),
                };
            }
            Constant::Key(key) => key,
        };
        let up_to = |key: Key| Set::between(None, Some(key), data_type);
        let from = |key: Key| Set::between(Some(key), greatest(data_type), data_type);
        let set = match op {
            Op::Eq => Set::of(vec![key], data_type),
            Op::Ne => Set::of(vec![key], data_type).complement(),
            Op::Le => up_to(key),
            Op::Ge => from(key),
            Op::Lt => Set::intersection_of(vec![
                Set::of(vec![key.clone()], data_type).complement(),
                up_to(key),
            ]),
            _ => Set::intersection_of(vec![
                Set::of(vec![key.clone()], data_type).complement(),
                from(key),
            ]),
        };
        Ok(Node::values(field.name(), set, false))
    }

    /// The constants of a list of values, without those that equal nothing.
    fn members(&mut self, values: &[v1::Value], field: &Field) -> Result<Members> {
        if values.len() > FILTER_VALUES_MAX {
            let message = format!("a membership of {} values", values.len());
            return Err(Error::new(ErrorCode::TooLarge, message)
                .field(field.name().clone())
                .limit(FILTER_VALUES_MAX));
        }
        self.count(values)?;
        let mut members = Members::default();
        for value in values {
            match Constant::new(value, field)? {
                Constant::Key(key) => members.keys.push(key),
                Constant::List(items) => members.lists.push(items),
                Constant::Null | Constant::Nan => members.equal_nothing = true,
            }
        }
        Ok(members)
    }

    fn membership(&mut self, membership: &v1::Membership) -> Result<Node> {
        let field = &self.column(&membership.column)?;
        let mut members = self.members(&membership.values, field)?;
        if is_list(field.data_type()) {
            members.lists.sort_unstable();
            members.lists.dedup();
            return Ok(match members.lists.is_empty() {
                true => Node::Constant(false),
                false => Node::test(field.name(), Property::List(members.lists)),
            });
        }
        let set = Set::of(members.keys, field.data_type());
        Ok(Node::values(field.name(), set, false))
    }

    fn between(&mut self, between: &v1::Between) -> Result<Node> {
        let field = &self.column(&between.column)?;
        if is_list(field.data_type()) {
            return Err(no_order(field, "=, <>, in, not in or contains"));
        }
        let low = self.constant(between.low.as_ref(), field)?;
        let high = self.constant(between.high.as_ref(), field)?;
        let (Constant::Key(low), Constant::Key(high)) = (low, high) else {
            return Ok(Node::Constant(false));
        };
        let set = Set::between(Some(low), Some(high), field.data_type());
        Ok(Node::values(field.name(), set, false))
    }

    fn like(&mut self, like: &v1::Pattern) -> Result<Node> {
        let field = &self.column(&like.column)?;
        if *field.data_type() != DataType::Utf8 {
            return Err(not_for(field, "patterns are for text", "a utf8 column"));
        }
        if like.pattern.len() > FILTER_PATTERN_BYTES_MAX {
            let message = format!("a pattern of {} bytes", like.pattern.len());
            return Err(too_large(message, FILTER_PATTERN_BYTES_MAX));
        }
        let mut escape = like.escape.chars();
        let escape = match (escape.next(), escape.next()) {
            (None, _) => ESCAPE,
            (Some(escape), None) => escape,
            _ => {
                let message = format!("{:?} cannot escape the signs of a pattern", like.escape);
                return Err(Error::new(ErrorCode::InvalidValue, message)
                    .field("escape")
                    .limit("one character"));
            }
        };
        Ok(match Shape::parse(&like.pattern, escape) {
            None => {
                let message = format!("the pattern {:?} ends with its escape", like.pattern);
                return Err(Error::new(ErrorCode::InvalidValue, message)
                    .field(field.name().clone())
                    .limit(format_args!("write {escape}{escape} for {escape}")));
            }
            Some(Shape::Exact(text)) => {
                let set = Set::of(vec![Key::Bytes(text.into_bytes())], field.data_type());
                Node::values(field.name(), set, false)
            }
            Some(Shape::Prefix(text)) => Node::values(field.name(), Set::prefix(text.into_bytes()), false),
            Some(Shape::Pattern(pattern)) => Node::test(field.name(), Property::Like(pattern)),
        })
    }

    fn prefix(&mut self, prefix: &v1::Prefix) -> Result<Node> {
        let field = &self.column(&prefix.column)?;
        if !matches!(field.data_type(), DataType::Utf8 | DataType::Binary) {
            return Err(not_for(
                field,
                "prefixes are for text and bytes",
                "a utf8 or binary column",
            ));
        }
        Ok(match self.constant(prefix.value.as_ref(), field)? {
            Constant::Key(Key::Bytes(bytes)) => Node::values(field.name(), Set::prefix(bytes), false),
            _ => Node::Constant(false),
        })
    }

    fn contains(&mut self, membership: &v1::Membership, all: bool) -> Result<Node> {
        let field = &self.column(&membership.column)?;
        let DataType::List(item) = field.data_type() else {
            return Err(not_for(field, "only lists contain items", "a list column"));
        };
        let item = item.as_ref().clone().with_name(field.name());
        let members = self.members(&membership.values, &item)?;
        if all && members.equal_nothing {
            return Ok(Node::Constant(false));
        }
        Ok(match (members.keys.is_empty(), all) {
            (true, true) => is_null(field).not(),
            (true, false) => Node::Constant(false),
            (false, all) => Node::test(field.name(), Property::with_items(members.keys, all)),
        })
    }
}

/// Constants of a list of values.
#[derive(Default)]
struct Members {
    keys: Vec<Key>,
    lists: Vec<Vec<Key>>,
    /// A null or NaN was among them.
    equal_nothing: bool,
}

fn is_null(field: &Field) -> Node {
    Node::values(field.name(), Set::none(field.data_type()), true)
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_))
}

fn missing(field: &str, message: &'static str) -> Error {
    Error::new(ErrorCode::MissingField, message).field(field.to_owned())
}

fn no_order(field: &Field, limit: &'static str) -> Error {
    let message = format!("{:?} holds lists, which have no order", field.name());
    Error::new(ErrorCode::TypeMismatch, message)
        .field(field.name().clone())
        .limit(limit)
}

fn not_for(field: &Field, why: &str, limit: &'static str) -> Error {
    let message = format!("{:?} holds {}: {why}", field.name(), field.data_type());
    Error::new(ErrorCode::TypeMismatch, message)
        .field(field.name().clone())
        .limit(limit)
}

fn too_large(message: String, limit: usize) -> Error {
    Error::new(ErrorCode::TooLarge, message)
        .field("filter")
        .limit(limit)
}
