//! Structs: columns with children, which have none themselves. A path `parent.child` names a child.

use arrow_schema::{DataType, Field, Fields};

use super::{Schema, check_column_name, is_childless};
use crate::{Error, ErrorCode, limits::COLUMNS_MAX};

/// Whether these may be the children of a struct, their names aside.
pub(super) fn is_struct(children: &Fields) -> bool {
    !children.is_empty() && children.iter().all(|child| is_childless(child.data_type()))
}

/// Checks the children of a column.
pub(super) fn check(parent: &str, children: &Fields) -> Result<(), Error> {
    let wrong = |at: String, message: String| Error::new(ErrorCode::InvalidSchema, message).field(at);
    if children.is_empty() {
        let message = "a struct has at least one child".to_owned();
        return Err(wrong(parent.to_owned(), message));
    }
    for (position, child) in children.iter().enumerate() {
        let path = path(parent, child.name());
        check_column_name(child.name()).map_err(|error| error.field(path.clone()))?;
        if children[..position]
            .iter()
            .any(|other| other.name() == child.name())
        {
            return Err(wrong(path.clone(), format!("the child {path:?} is there twice")));
        }
        if child.data_type().is_nested() && !is_childless(child.data_type()) {
            let message = format!("a child of type {}", child.data_type());
            return Err(wrong(path, message).limit("one level: children are neither structs nor vectors"));
        }
        if !is_childless(child.data_type()) {
            let message = format!("children of type {} are not supported", child.data_type());
            return Err(wrong(path, message));
        }
    }
    Ok(())
}

/// Refuses a column that is named as the child of another is, and more of both than there may be.
pub(super) fn check_paths(columns: &[Field]) -> Result<(), Error> {
    let paths = || columns.iter().flat_map(paths_of);
    let count = columns.len() + paths().count();
    if count > COLUMNS_MAX {
        let message = format!("{count} columns and children");
        return Err(Error::new(ErrorCode::InvalidSchema, message)
            .field("columns")
            .limit(COLUMNS_MAX));
    }
    let all = || columns.iter().map(|column| column.name().clone()).chain(paths());
    let mut sorted: Vec<String> = all().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let message = format!("{:?} names two: a column, and the child of another", pair[0]);
            Err(Error::new(ErrorCode::InvalidSchema, message).field(pair[0].clone()))
        }
        None => Ok(()),
    }
}

fn paths_of(column: &Field) -> Vec<String> {
    match column.data_type() {
        DataType::Struct(children) => {
            let names = children.iter().map(|child| child.name());
            names.map(|child| path(column.name(), child)).collect()
        }
        _ => Vec::new(),
    }
}

/// How a child is named.
pub fn path(parent: &str, child: &str) -> String {
    format!("{parent}.{child}")
}

/// The ways to read a name as that of a child: parent and child. Either may have a dot itself.
pub fn splits(name: &str) -> impl Iterator<Item = (&str, &str)> {
    name.match_indices('.')
        .map(|(dot, _)| (&name[..dot], &name[dot + 1..]))
}

impl Schema {
    /// The column of a name, or the child of a path, under that name and nullable where its column is.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN` naming it.
    pub fn at_path(&self, name: &str) -> Result<(usize, Field), Error> {
        let error = match self.column(name) {
            Ok((position, field)) => return Ok((position, field.clone())),
            Err(error) => error,
        };
        let child = splits(name).find_map(|(parent, child)| {
            let (position, column) = self.arrow().column_with_name(parent)?;
            let DataType::Struct(children) = column.data_type() else {
                return None;
            };
            let (_, child) = children.find(child)?;
            let nullable = child.is_nullable() || column.is_nullable();
            Some((position, Field::new(name, child.data_type().clone(), nullable)))
        });
        child.ok_or(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{list_item, utf8_item, vector_type};
    use crate::{Metric, VectorElement};

    fn schema(columns: Vec<Field>) -> Result<Schema, Error> {
        let mut fields = vec![
            Field::new("id", DataType::UInt64, false),
            Field::new("vector", vector_type(VectorElement::F32, 2), false),
        ];
        fields.extend(columns);
        Schema::new(fields, "id", Metric::L2)
    }

    fn of(name: &str, children: Vec<Field>, nullable: bool) -> Field {
        Field::new(name, DataType::Struct(children.into()), nullable)
    }

    #[test]
    fn children_are_found_by_their_paths() {
        let children = vec![
            Field::new("a", DataType::Int32, false),
            Field::new("b.c", DataType::List(list_item(DataType::Int8)), true),
        ];
        let made = schema(vec![
            of("s", children.clone(), true),
            of("s.t", children, false),
            Field::new("x.y", DataType::Utf8, true),
        ]);
        let made = made.unwrap();
        for (path, position, nullable) in [
            ("s", 2, true),
            ("s.a", 2, true),
            ("s.b.c", 2, true),
            ("s.t.a", 3, false),
            ("s.t.b.c", 3, true),
            ("x.y", 4, true),
        ] {
            let (at, field) = made.at_path(path).unwrap();
            assert_eq!((at, field.is_nullable()), (position, nullable), "{path}");
            assert_eq!(field.name(), path);
        }
        for unknown in ["s.", ".a", "s.b", "x", "x.y.z", "t.a", ""] {
            let error = made.at_path(unknown).unwrap_err();
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::UnknownColumn, Some(unknown))
            );
        }
    }

    #[test]
    fn what_cannot_be_a_struct_is_named() {
        let one = || vec![Field::new("a", DataType::Int32, true)];
        let deeper = DataType::Struct(one().into());
        let cases = [
            (vec![of("s", Vec::new(), true)], "s"),
            (
                vec![of("s", vec![Field::new("t", deeper.clone(), true)], true)],
                "s.t",
            ),
            (
                vec![of(
                    "s",
                    vec![Field::new("t", DataType::List(list_item(deeper)), true)],
                    true,
                )],
                "s.t",
            ),
            (
                vec![of(
                    "s",
                    vec![Field::new("v", vector_type(VectorElement::F32, 2), true)],
                    true,
                )],
                "s.v",
            ),
            (
                vec![of("s", vec![Field::new("n", DataType::Null, true)], true)],
                "s.n",
            ),
            (
                vec![of("s", vec![Field::new("_n", DataType::Utf8, true)], true)],
                "s._n",
            ),
            (vec![of("s", [one(), one()].concat(), true)], "s.a"),
            (
                vec![of("s", one(), true), Field::new("s.a", DataType::Utf8, true)],
                "s.a",
            ),
            (
                vec![
                    Field::new("l", DataType::List(utf8_item()), true),
                    of("l", one(), true),
                ],
                "l",
            ),
        ];
        for (columns, field) in cases {
            let error = schema(columns).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{error}");
            assert!(
                matches!(error.code, ErrorCode::InvalidSchema | ErrorCode::InvalidName),
                "{error}"
            );
        }
        let many = (0..COLUMNS_MAX).map(|at| Field::new(format!("c{at}"), DataType::Int8, true));
        let error = schema(vec![of("s", many.collect(), true)]).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("columns"));
    }
}
