//! Are these bytes Arrow IPC, and what batches do they hold?
//!
//! Every length in a message is checked against the bytes that are there before arrow's reader sees it, and only
//! types that some column could take are let through, so that the reader's rarer paths never meet foreign bytes.
//! A fence behind that turns a panic of the reader, should one be left, into a refusal.

mod layout;
mod readable;

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    buffer::Buffer,
    compute::concat_batches,
    datatypes::SchemaRef,
    ipc::{
        self, Message, MessageHeader, MetadataVersion,
        convert::try_fb_to_schema,
        reader::{read_dictionary, read_record_batch},
        root_as_message,
        writer::StreamWriter,
    },
};
use arrow_schema::{ArrowError, DataType};
use bytes::Bytes;
use longbow_types::{
    Error, ErrorCode, Result,
    limits::{COLUMNS_MAX, WRITE_BYTES_MAX},
};

const CONTINUATION: [u8; 4] = [0xff; 4];
/// Deepest nesting of a type let through: a list of dictionary-encoded text.
const TYPE_DEPTH_MAX: usize = 3;

/// Columns of a shard's answer that no dataset has: the distance and the row version.
const ANSWER_COLUMNS: usize = 2;

/// What one message turned out to be.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// The schema, first of all.
    Schema(SchemaRef),
    /// Rows.
    Batch(RecordBatch),
    /// Something that only changes the decoder, such as a dictionary.
    Nothing,
}

/// Decodes the messages of one stream, one after the other.
#[derive(Debug, Default)]
pub struct Decoder {
    schema: Option<SchemaRef>,
    /// Columns let through beyond those that a dataset may have.
    columns_beside: usize,
    dictionaries: HashMap<i64, ArrayRef>,
    /// Bytes of the message that each dictionary came by.
    dictionary_bytes: HashMap<i64, usize>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The schema, once it was read.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Decodes one message: its flatbuffer and its body.
    ///
    /// # Errors
    /// `MALFORMED_ARROW`; `UNSUPPORTED` for compressed bodies and delta dictionaries; `TYPE_MISMATCH` for a type no
    /// column can take; `TOO_LARGE` for dictionaries that are together larger than a write may be.
    pub fn message(&mut self, metadata: &[u8], body: Bytes) -> Result<Decoded> {
        let fenced = catch_unwind(AssertUnwindSafe(|| self.message_unfenced(metadata, body)));
        fenced.unwrap_or_else(|_| Err(malformed("the message cannot be read")))
    }

    fn message_unfenced(&mut self, metadata: &[u8], body: Bytes) -> Result<Decoded> {
        let message = root_as_message(metadata)
            .map_err(|error| malformed(format!("the message header is damaged: {error}")))?;
        if message.version() < MetadataVersion::V4 {
            return Err(malformed("the metadata version is older than V4"));
        }
        match message.header_type() {
            MessageHeader::Schema => self.read_schema(message),
            MessageHeader::DictionaryBatch => self.read_dictionary(message, body),
            MessageHeader::RecordBatch => self.read_batch(message, body),
            MessageHeader::NONE => Ok(Decoded::Nothing),
            other => Err(malformed(format!("a message of kind {other:?}"))),
        }
    }

    fn read_schema(&mut self, message: Message<'_>) -> Result<Decoded> {
        if self.schema.is_some() {
            return Err(malformed("a second schema"));
        }
        let header = message
            .header_as_schema()
            .ok_or_else(|| malformed("the schema is missing"))?;
        let schema = Arc::new(try_fb_to_schema(header).map_err(arrow)?);
        let columns_max = COLUMNS_MAX + self.columns_beside;
        let children = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Struct(children) => children.len(),
            _ => 0,
        });
        let columns = schema.fields().len().saturating_add(children.sum());
        if columns > columns_max {
            return Err(malformed(format!("{columns} columns")).limit(columns_max));
        }
        for field in schema.fields() {
            if !readable::is_readable(field.data_type(), 0) {
                let message = format!("columns of type {} are not supported", field.data_type());
                return Err(Error::new(ErrorCode::TypeMismatch, message).field(field.name().clone()));
            }
        }
        self.schema = Some(schema.clone());
        Ok(Decoded::Schema(schema))
    }

    fn read_dictionary(&mut self, message: Message<'_>, body: Bytes) -> Result<Decoded> {
        let schema = self
            .schema
            .as_deref()
            .ok_or_else(|| malformed("a dictionary before the schema"))?;
        let header = message
            .header_as_dictionary_batch()
            .ok_or_else(|| malformed("the dictionary is missing"))?;
        let data = header
            .data()
            .ok_or_else(|| malformed("the dictionary has no data"))?;
        check_lengths(data, body.len(), &layout::of_dictionary(schema.fields()))?;
        if header.isDelta() {
            // Each would be copied together with all before it, and the whole grow for as long as the stream lasts.
            let message = "dictionaries that add to others (deltas) are not supported: send them whole";
            return Err(Error::new(ErrorCode::Unsupported, message).field("arrow_ipc"));
        }
        // A dictionary replaces the one of its number, so what is held is what the newest ones hold.
        let others = self.dictionary_bytes.iter().filter(|(id, _)| **id != header.id());
        let held = others
            .map(|(_, bytes)| bytes)
            .sum::<usize>()
            .saturating_add(body.len());
        if held > WRITE_BYTES_MAX {
            let message = format!("dictionaries of {held} bytes");
            return Err(Error::new(ErrorCode::TooLarge, message)
                .field("arrow_ipc")
                .limit(format_args!("{WRITE_BYTES_MAX} bytes")));
        }
        let (id, bytes) = (header.id(), body.len());
        let body = aligned(body);
        read_dictionary(&body, header, schema, &mut self.dictionaries, &message.version()).map_err(arrow)?;
        self.dictionary_bytes.insert(id, bytes);
        Ok(Decoded::Nothing)
    }

    fn read_batch(&mut self, message: Message<'_>, body: Bytes) -> Result<Decoded> {
        let schema = self
            .schema
            .clone()
            .ok_or_else(|| malformed("rows before the schema"))?;
        let header = message
            .header_as_record_batch()
            .ok_or_else(|| malformed("the rows are missing"))?;
        let mut variadic = header.variadicBufferCounts().into_iter().flatten();
        check_lengths(
            header,
            body.len(),
            &layout::of_rows(schema.fields(), &mut variadic),
        )?;
        let body = aligned(body);
        let batch = read_record_batch(
            &body,
            header,
            schema,
            &self.dictionaries,
            None,
            &message.version(),
        );
        batch.map(Decoded::Batch).map_err(arrow)
    }
}

/// Decodes a whole stream held in memory. Nothing of it is trusted; `rows_max` bounds what it may hold.
///
/// # Errors
/// As [`Decoder::message`]; `MALFORMED_ARROW` if the stream is cut short or lacks its end marker; `TOO_LARGE` beyond `rows_max`.
pub fn read_stream(bytes: Bytes, rows_max: usize) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    read_all(Decoder::new(), bytes, rows_max)
}

fn read_all(
    mut decoder: Decoder,
    mut bytes: Bytes,
    rows_max: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let (mut batches, mut rows) = (Vec::new(), 0usize);
    while let Some((metadata, body)) = next_message(&mut bytes)? {
        if let Decoded::Batch(batch) = decoder.message(&metadata, body)? {
            rows = rows.saturating_add(batch.num_rows());
            if rows > rows_max {
                return Err(Error::new(ErrorCode::TooLarge, "too many rows in one call")
                    .field("arrow_ipc")
                    .limit(rows_max));
            }
            batches.push(batch);
        }
    }
    let schema = decoder.schema.ok_or_else(|| malformed("there is no schema"))?;
    Ok((schema, batches))
}

/// Decodes a shard's answer into one batch; `None` if it holds no rows. Shards are ours, their bytes still checked.
///
/// # Errors
/// `MALFORMED_ARROW`.
pub fn read_answer(bytes: Bytes) -> Result<Option<RecordBatch>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let decoder = Decoder {
        columns_beside: ANSWER_COLUMNS,
        ..Decoder::default()
    };
    let (schema, batches) = read_all(decoder, bytes, usize::MAX)?;
    match batches.len() {
        0 => Ok(None),
        1 => Ok(batches.into_iter().next()),
        _ => concat_batches(&schema, &batches).map(Some).map_err(arrow),
    }
}

/// A batch as an Arrow IPC stream.
///
/// # Errors
/// `INTERNAL` if arrow cannot write it.
pub fn write_stream(batch: &RecordBatch) -> Result<Bytes> {
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
        writer.write(batch)?;
        writer.into_inner()
    };
    write()
        .map(Bytes::from)
        .map_err(|error: ArrowError| Error::new(ErrorCode::Internal, error.to_string()))
}

/// Cuts the next message off a stream: its flatbuffer and its body. `None` at the end of the stream.
fn next_message(bytes: &mut Bytes) -> Result<Option<(Bytes, Bytes)>> {
    if bytes.is_empty() {
        // Arrow lets a stream end without its marker; then nobody could tell a stream that was cut between two batches.
        return Err(malformed(
            "the stream has no end marker: it is cut short, or its writer was not finished",
        ));
    }
    let mut word = take(bytes, 4)?;
    if *word == CONTINUATION {
        word = take(bytes, 4)?;
    }
    let length = u32::from_le_bytes(word[..].try_into().expect("four bytes were taken"));
    if length == 0 {
        return if bytes.is_empty() {
            Ok(None)
        } else {
            Err(malformed("there are bytes behind the end of the stream"))
        };
    }
    let metadata = take(bytes, length as usize)?;
    let body_length = root_as_message(&metadata)
        .map_err(|error| malformed(format!("the message header is damaged: {error}")))?
        .bodyLength();
    let body = usize::try_from(body_length).map_err(|_| malformed("a body of negative length"))?;
    let body = take(bytes, body)?;
    Ok(Some((metadata, body)))
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes> {
    if length > bytes.len() {
        return Err(malformed(format!(
            "the stream ends {} bytes too early",
            length - bytes.len()
        )));
    }
    Ok(bytes.split_to(length))
}

/// Checks every length that a batch names against its body, and those of offsets against their width.
fn check_lengths(batch: ipc::RecordBatch<'_>, body: usize, widths: &[usize]) -> Result<()> {
    if batch.compression().is_some() {
        let message = "compressed Arrow IPC bodies are not supported: send them uncompressed";
        return Err(Error::new(ErrorCode::Unsupported, message).field("arrow_ipc"));
    }
    // Every row of ours has an id of a byte or more, and every dictionary entry at least one bit of body.
    let rows = usize::try_from(batch.length()).map_err(|_| malformed("a negative number of rows"))?;
    let values_max = body.saturating_mul(8);
    if rows > values_max {
        return Err(malformed(format!("{rows} rows in a body of {body} bytes")));
    }
    for node in batch.nodes().into_iter().flatten() {
        let length = usize::try_from(node.length()).map_err(|_| malformed("a column of negative length"))?;
        let nulls = usize::try_from(node.null_count()).map_err(|_| malformed("a negative null count"))?;
        if length > values_max || nulls > length {
            return Err(malformed(format!(
                "a column of {length} values in a body of {body} bytes"
            )));
        }
    }
    for (at, buffer) in batch.buffers().into_iter().flatten().enumerate() {
        let width = widths.get(at).copied().unwrap_or(1);
        if buffer.length() % width as i64 != 0 {
            return Err(malformed(
                "a buffer of offsets with a part of an offset at its end",
            ));
        }
        let end = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok())
            .and_then(|(offset, length)| offset.checked_add(length));
        if end.is_none_or(|end| end > body) {
            return Err(malformed("a buffer that reaches beyond its body"));
        }
    }
    Ok(())
}

/// The body as an arrow buffer, aligned so that arrays can be read in place.
fn aligned(body: Bytes) -> Buffer {
    if (body.as_ptr() as usize).is_multiple_of(64) {
        Buffer::from(body)
    } else {
        Buffer::from(&body[..])
    }
}

fn malformed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorCode::MalformedArrow, message).field("arrow_ipc")
}

fn arrow(error: ArrowError) -> Error {
    malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch_of_all_kinds, encode};
    use proptest::prelude::*;

    fn unfenced(mut bytes: Bytes) -> Result<Vec<RecordBatch>> {
        let mut decoder = Decoder::new();
        let mut batches = Vec::new();
        while let Some((metadata, body)) = next_message(&mut bytes)? {
            if let Decoded::Batch(batch) = decoder.message_unfenced(&metadata, body)? {
                batches.push(batch);
            }
        }
        Ok(batches)
    }

    #[test]
    fn what_was_written_is_read() {
        let batch = batch_of_all_kinds(5);
        let (schema, batches) = read_stream(encode(&batch), 5).unwrap();
        assert_eq!(&schema, batch.schema_ref());
        assert_eq!(batches, std::slice::from_ref(&batch));
        let error = read_stream(encode(&batch), 4).unwrap_err();
        assert_eq!(
            (error.code, error.limit.as_deref()),
            (ErrorCode::TooLarge, Some("4"))
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = encode(&batch_of_all_kinds(3));
        for length in 0..whole.len() {
            let error = read_stream(whole.slice(..length), 3).unwrap_err();
            assert_eq!(error.code, ErrorCode::MalformedArrow, "{length}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

        /// The unfenced reader is what is tested: the fence must have nothing to do.
        #[test]
        fn flipped_bits_never_panic(flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6)) {
            let mut bytes = encode(&batch_of_all_kinds(3)).to_vec();
            for (at, bit) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            if let Ok(batches) = unfenced(bytes.into()) {
                for batch in batches {
                    for column in batch.columns() {
                        prop_assert!(column.to_data().validate_full().is_ok());
                    }
                }
            }
        }

        #[test]
        fn overwritten_words_never_panic(at in any::<prop::sample::Index>(), word in any::<u32>()) {
            let mut bytes = encode(&batch_of_all_kinds(3)).to_vec();
            let at = at.index(bytes.len() - 4);
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            let _ = unfenced(bytes.into());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read_stream(bytes.into(), 10).is_err());
        }
    }

    #[test]
    fn the_widest_dataset_has_room_for_what_answers_add() {
        use arrow::array::Int8Array;
        let of = |columns: usize| {
            let column = Arc::new(Int8Array::from(vec![1])) as ArrayRef;
            let named = (0..columns).map(|at| (format!("c{at}"), column.clone()));
            encode(&RecordBatch::try_from_iter(named).unwrap())
        };
        read_stream(of(COLUMNS_MAX), 1).unwrap();
        let wide = of(COLUMNS_MAX + ANSWER_COLUMNS);
        assert_eq!(
            read_stream(wide.clone(), 1).unwrap_err().code,
            ErrorCode::MalformedArrow
        );
        read_answer(wide).unwrap();
        read_answer(of(COLUMNS_MAX + ANSWER_COLUMNS + 1)).unwrap_err();
    }

    #[test]
    fn dictionaries_are_sent_whole_and_replace_one_another() {
        use arrow::array::{DictionaryArray, Int8Array, StringArray};
        use arrow::ipc::writer::{DictionaryHandling, IpcWriteOptions};
        let of = |texts: &[&str]| {
            let keys = Int8Array::from_iter_values(0..texts.len() as i8);
            let values = Arc::new(StringArray::from(texts.to_vec()));
            let column = Arc::new(DictionaryArray::new(keys, values)) as ArrayRef;
            RecordBatch::try_from_iter([("c", column)]).unwrap()
        };
        let write = |handling| {
            let options = IpcWriteOptions::default().with_dictionary_handling(handling);
            let first = of(&["a", "b"]);
            let mut writer =
                StreamWriter::try_new_with_options(Vec::new(), first.schema_ref(), options).unwrap();
            writer.write(&first).unwrap();
            writer.write(&of(&["a", "b", "c"])).unwrap();
            Bytes::from(writer.into_inner().unwrap())
        };
        let (_, batches) = read_stream(write(DictionaryHandling::Resend), 5).unwrap();
        assert_eq!(batches[1], of(&["a", "b", "c"]));
        let error = read_stream(write(DictionaryHandling::Delta), 5).unwrap_err();
        assert_eq!(error.code, ErrorCode::Unsupported, "{error}");
    }

    #[test]
    fn lengths_are_not_trusted() {
        let huge = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3]);
        assert_eq!(read_stream(huge, 1).unwrap_err().code, ErrorCode::MalformedArrow);
    }
}
