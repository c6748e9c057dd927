//! Which schema may follow another, so that every row written under the old one is a row under the new one without
//! being written again?
//!
//! Columns keep their names, places, nulls and defaults; new ones come at the end and are nullable or have a default.
//! An integer may become a wider one that holds all its values, and a float a wider float; of the children of a struct the
//! same is true as of columns, but that new ones are nullable. A vector column may be added as any other, and stays what it
//! is. When rows go by themselves may be told anew at any time. Nothing else changes.

use std::time::Duration;

use arrow_schema::{DataType, Field, Fields};

use crate::{Error, ErrorCode, Schema, VectorColumn, schema::path};

/// One difference between a schema and the one that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A column was added. Rows from before hold its default, or a null.
    Added {
        /// Its name.
        column: String,
    },
    /// A column became wider. Its values stay what they are.
    Widened {
        /// Its name.
        column: String,
        /// The type that it had.
        from: DataType,
        /// The type that it has.
        to: DataType,
    },
    /// Rows live longer or less long; `None`: for ever.
    Ttl {
        /// How long they lived.
        from: Option<Duration>,
        /// How long they live.
        to: Option<Duration>,
    },
    /// Another column tells when each row goes, or none.
    ExpiresColumn {
        /// The one that did.
        from: Option<String>,
        /// The one that does.
        to: Option<String>,
    },
}

/// Whether every value of one type is a value of another, so that a column of the first may become one of the second.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match from {
        T::Int8 => matches!(to, T::Int16 | T::Int32 | T::Int64),
        T::Int16 => matches!(to, T::Int32 | T::Int64),
        T::Int32 => matches!(to, T::Int64),
        T::UInt8 => matches!(
            to,
            T::UInt16 | T::UInt32 | T::UInt64 | T::Int16 | T::Int32 | T::Int64
        ),
        T::UInt16 => matches!(to, T::UInt32 | T::UInt64 | T::Int32 | T::Int64),
        T::UInt32 => matches!(to, T::UInt64 | T::Int64),
        T::Float16 => matches!(to, T::Float32 | T::Float64),
        T::Float32 => matches!(to, T::Float64),
        T::Struct(old) => matches!(to, T::Struct(new) if children_widen(old, new).is_ok()),
        _ => false,
    }
}

/// Whether the children of a struct may become others: each stays where it is, with its nulls, and is of its type or a
/// wider one; new ones come after them and are nullable. If not, the child at fault, from what, to what and why.
fn children_widen(old: &Fields, new: &Fields) -> Result<(), Fault> {
    for (position, old) in old.iter().enumerate() {
        let fault = |from: String, to: String, why| {
            let child = old.name().clone();
            Err(Fault { child, from, to, why })
        };
        let Some(new) = new.get(position) else {
            let why = "children are not dropped, rows hold values there";
            return fault(old.data_type().to_string(), "nothing".to_owned(), why);
        };
        if old.name() != new.name() {
            let why = "children keep their names and places, and new ones come after them";
            return fault(old.name().clone(), new.name().clone(), why);
        }
        if old.is_nullable() != new.is_nullable() {
            let why = "whether a child has nulls is fixed when it is added";
            return fault(nulls(old).to_owned(), nulls(new).to_owned(), why);
        }
        if old.data_type() != new.data_type() && !widens(old.data_type(), new.data_type()) {
            let why = "only an integer becomes a wider integer, and a float a wider float, of which each value stays what it is";
            return fault(old.data_type().to_string(), new.data_type().to_string(), why);
        }
    }
    match new.iter().skip(old.len()).find(|child| !child.is_nullable()) {
        Some(child) => Err(Fault {
            child: child.name().clone(),
            from: "nothing".to_owned(),
            to: format!("{} that is never null", child.data_type()),
            why: "rows from before have no value there: a new child is nullable",
        }),
        None => Ok(()),
    }
}

/// Why the children of a struct may not become others.
struct Fault {
    child: String,
    from: String,
    to: String,
    why: &'static str,
}

fn nulls(field: &Field) -> &'static str {
    if field.is_nullable() {
        "nullable"
    } else {
        "not null"
    }
}

/// What changes from one schema to the next; nothing, if they are equal.
///
/// # Errors
/// `SCHEMA_INCOMPATIBLE` naming the first column that may not change so, from what, to what and why.
pub fn changes(from: &Schema, to: &Schema) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    if from.id_name() != to.id_name() {
        let why = "the id column stays what it is, rows are found by it";
        return Err(refusal(from.id_name(), "the id", to.id_name(), why));
    }
    for (position, old) in from.arrow().fields().iter().enumerate() {
        let new = find(from, to, position, old)?;
        if let Some(vector) = from.vector_at(position) {
            check_vector(from, to, vector, new)?;
        }
        if old.data_type() != new.data_type() {
            check_type(from, position, old, new)?;
            changes.push(Change::Widened {
                column: old.name().clone(),
                from: old.data_type().clone(),
                to: new.data_type().clone(),
            });
        }
        check_rules(from, to, position, old, new)?;
    }
    let old_len = from.arrow().fields().len();
    for (position, new) in to.arrow().fields().iter().enumerate().skip(old_len) {
        if !new.is_nullable() && to.default_of(position).is_none() {
            let why = "rows from before have no value there: a new column is nullable or has a default";
            let what = format!("{} that is never null", new.data_type());
            return Err(refusal(new.name(), "nothing", &what, why));
        }
        changes.push(Change::Added {
            column: new.name().clone(),
        });
    }
    if from.ttl() != to.ttl() {
        changes.push(Change::Ttl {
            from: from.ttl(),
            to: to.ttl(),
        });
    }
    if from.expires_column() != to.expires_column() {
        changes.push(Change::ExpiresColumn {
            from: from.expires_column().map(str::to_owned),
            to: to.expires_column().map(str::to_owned),
        });
    }
    Ok(changes)
}

/// The column of the new schema that stands where one of the old stood, and is the same.
fn find<'a>(from: &Schema, to: &'a Schema, position: usize, old: &Field) -> Result<&'a Field, Error> {
    let fields = to.arrow().fields();
    let there = fields.get(position);
    if let Some(same) = there.filter(|new| new.name() == old.name()) {
        return Ok(same);
    }
    let place = |position: usize| format!("column {}", position + 1);
    if let Some(moved) = fields.iter().position(|new| new.name() == old.name()) {
        let why = "columns keep their places, and new ones come after them";
        return Err(refusal(old.name(), &place(position), &place(moved), why));
    }
    match there {
        // What stands there is in neither place of the old schema: the same column, perhaps, under another name.
        Some(new) if from.column(new.name()).is_err() => {
            let why = "columns are not renamed, rows and filters name them";
            Err(refusal(old.name(), old.name(), new.name(), why))
        }
        _ => {
            let why = "columns are not dropped, rows hold values there";
            Err(refusal(old.name(), &old.data_type().to_string(), "nothing", why))
        }
    }
}

fn check_vector(from: &Schema, to: &Schema, old: VectorColumn, wanted: &Field) -> Result<(), Error> {
    let why = "a vector column stays what it is, the graph is built on it";
    let name = from.name_at(old.position);
    let Some(new) = to.vector_at(old.position) else {
        let wanted = wanted.data_type().to_string();
        return Err(refusal(name, "a vector", &wanted, why));
    };
    let parts = [
        ("dimension", old.dimension.to_string(), new.dimension.to_string()),
        (
            "element",
            old.element.as_str().to_owned(),
            new.element.as_str().to_owned(),
        ),
        ("metric", old.metric.to_string(), new.metric.to_string()),
        (
            "quantization",
            old.quantization.to_string(),
            new.quantization.to_string(),
        ),
    ];
    for (part, is, wanted) in parts {
        if is != wanted {
            let (is, wanted) = (format!("{part} {is}"), format!("{part} {wanted}"));
            return Err(refusal(name, &is, &wanted, why));
        }
    }
    Ok(())
}

fn check_type(from: &Schema, position: usize, old: &Field, new: &Field) -> Result<(), Error> {
    if let (DataType::Struct(had), DataType::Struct(has)) = (old.data_type(), new.data_type()) {
        return children_widen(had, has)
            .map_err(|fault| refusal(&path(old.name(), &fault.child), &fault.from, &fault.to, fault.why));
    }
    let why = if position == from.id_position() {
        "the type of the ids is fixed, rows are placed by it"
    } else if widens(old.data_type(), new.data_type()) {
        return Ok(());
    } else if widens(new.data_type(), old.data_type()) {
        "columns are not narrowed, rows may hold what would not fit"
    } else {
        "only an integer becomes a wider integer, and a float a wider float, of which each value stays what it is"
    };
    let (is, wanted) = (old.data_type().to_string(), new.data_type().to_string());
    Err(refusal(old.name(), &is, &wanted, why))
}

/// What else of a column stays as it is.
fn check_rules(from: &Schema, to: &Schema, position: usize, old: &Field, new: &Field) -> Result<(), Error> {
    if old.is_nullable() != new.is_nullable() {
        let why = "whether a column has nulls is fixed when it is added";
        return Err(refusal(old.name(), nulls(old), nulls(new), why));
    }
    let (is, wanted) = (from.default_of(position), to.default_of(position));
    if is != wanted {
        let text = |default: Option<&crate::DefaultValue>| {
            default.map_or_else(
                || "no default".to_owned(),
                |default| format!("the default {default}"),
            )
        };
        let why = "a default is fixed when its column is added, rows from before hold it";
        return Err(refusal(old.name(), &text(is), &text(wanted), why));
    }
    Ok(())
}

fn refusal(column: &str, from: &str, to: &str, why: &str) -> Error {
    let message = format!("the column {column:?} cannot go from {from} to {to}: {why}");
    Error::new(ErrorCode::SchemaIncompatible, message)
        .field(column.to_owned())
        .limit("new columns at the end, nullable or with a default; wider integers and floats")
}

#[cfg(test)]
mod tests;
