//! Which of a batch's buffers hold offsets?
//!
//! arrow's reader takes the length of an offset buffer for a multiple of an offset's width and panics if it is not;
//! here it is checked first. Other buffers are only ever read as far as a column's length says.

use arrow_schema::{DataType, Fields};

/// Buffers of one batch in the order of the format, each with the width its length must be a multiple of.
pub(super) struct Layout<'a> {
    widths: Vec<usize>,
    /// Numbers of data buffers of the view columns, in order.
    variadic: &'a mut dyn Iterator<Item = i64>,
}

/// The widths of the buffers of rows with these fields. Stops at the first column that makes no sense.
pub(super) fn of_rows(fields: &Fields, variadic: &mut dyn Iterator<Item = i64>) -> Vec<usize> {
    let mut layout = Layout {
        widths: Vec::new(),
        variadic,
    };
    for field in fields {
        if layout.column(field.data_type()).is_none() {
            break;
        }
    }
    layout.widths
}

/// The widths of the buffers of a dictionary's values, as far as all dictionaries of these fields agree.
pub(super) fn of_dictionary(fields: &Fields) -> Vec<usize> {
    let mut kinds = Vec::new();
    for field in fields {
        dictionary_values(field.data_type(), &mut kinds);
    }
    let offsets = kinds.iter().map(|kind| offset_width(kind)).min().unwrap_or(1);
    vec![1, offsets]
}

fn dictionary_values<'a>(data_type: &'a DataType, kinds: &mut Vec<&'a DataType>) {
    match data_type {
        DataType::Dictionary(_, values) => kinds.push(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            dictionary_values(item.data_type(), kinds);
        }
        DataType::Struct(children) => {
            let types = children.iter().map(|child| child.data_type());
            types.for_each(|child| dictionary_values(child, kinds));
        }
        _ => {}
    }
}

/// Bytes of one offset of a column; 1 for a column without offsets.
fn offset_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Utf8 | DataType::Binary | DataType::List(_) => 4,
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => 8,
        _ => 1,
    }
}

impl Layout<'_> {
    fn column(&mut self, data_type: &DataType) -> Option<()> {
        use DataType as T;
        match data_type {
            T::Null => {}
            T::Utf8 | T::Binary | T::LargeUtf8 | T::LargeBinary => {
                self.widths.extend([1, offset_width(data_type), 1]);
            }
            T::Utf8View | T::BinaryView => {
                let buffers = usize::try_from(self.variadic.next()?).ok()?;
                // Whoever names more buffers than there are is refused by the reader.
                self.widths
                    .extend(std::iter::repeat_n(1, 2 + buffers.min(1 << 16)));
            }
            T::List(item) | T::LargeList(item) => {
                self.widths.extend([1, offset_width(data_type)]);
                self.column(item.data_type())?;
            }
            T::FixedSizeList(item, _) => {
                self.widths.push(1);
                self.column(item.data_type())?;
            }
            T::Struct(children) => {
                self.widths.push(1);
                children
                    .iter()
                    .try_for_each(|child| self.column(child.data_type()))?;
            }
            _ => self.widths.extend([1, 1]),
        }
        Some(())
    }
}
