//! NumPy matrices: format versions 1 to 3, little-endian f2, f4 and f8 in C order.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use arrow::{
    array::{ArrayData, ArrayRef, FixedSizeListArray, UInt64Array, make_array},
    buffer::Buffer,
    record_batch::RecordBatch,
};
use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use longbow_client::{Error, ErrorCode, VectorElement};
use longbow_types::{limits::DIMENSION_MAX, schema::vector_type};

use super::{
    ImportArgs,
    source::{Source, file},
};

/// Longest header accepted; real ones have about a hundred bytes.
const HEADER_BYTES_MAX: usize = 64 << 10;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    element: VectorElement,
    rows: u64,
    dimension: usize,
}

/// Opens a file.
pub fn open(path: &Path, args: &ImportArgs) -> anyhow::Result<Source> {
    let file = file(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (shape, header_bytes) = header(&mut reader)?;
    let row_bytes = (shape.dimension * shape.element.bytes()) as u64;
    let want = shape
        .rows
        .checked_mul(row_bytes)
        .and_then(|data| data.checked_add(header_bytes));
    ensure!(
        want == Some(bytes),
        "the header promises {} rows of {row_bytes} bytes, which the file's {bytes} bytes are not",
        shape.rows
    );
    if shape.rows.checked_add(args.first_id).is_none() {
        let message = format!(
            "--first-id {} leaves no ids for {} rows",
            args.first_id, shape.rows
        );
        return Err(Error::new(ErrorCode::InvalidValue, message)
            .field("first-id")
            .limit(format_args!("0 to {}", u64::MAX - shape.rows))
            .into());
    }
    let schema: SchemaRef = Arc::new(ArrowSchema::new(vec![
        Field::new(&args.id_column, DataType::UInt64, false),
        Field::new(
            &args.vector_column,
            vector_type(shape.element, shape.dimension),
            false,
        ),
    ]));
    let batches = Rows {
        reader,
        shape,
        schema: Arc::clone(&schema),
        next_id: args.first_id,
        left: shape.rows,
        batch_rows: u64::from(args.batch_rows),
    };
    Ok(Source {
        schema,
        list_length: Some(shape.dimension),
        rows: shape.rows,
        batches: Box::new(batches),
    })
}

struct Rows {
    reader: BufReader<File>,
    shape: Shape,
    schema: SchemaRef,
    next_id: u64,
    left: u64,
    batch_rows: u64,
}

impl Iterator for Rows {
    type Item = anyhow::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.left.min(self.batch_rows);
        if rows == 0 {
            return None;
        }
        self.left -= rows;
        Some(self.batch(rows))
    }
}

impl Rows {
    fn batch(&mut self, rows: u64) -> anyhow::Result<RecordBatch> {
        let count = usize::try_from(rows)? * self.shape.dimension;
        let mut bytes = vec![0; count * self.shape.element.bytes()];
        self.reader
            .read_exact(&mut bytes)
            .context("the file ends early")?;
        let values = ArrayData::builder(self.shape.element.arrow())
            .len(count)
            .add_buffer(Buffer::from_vec(bytes))
            .align_buffers(true)
            .build()?;
        let DataType::FixedSizeList(item, size) = vector_type(self.shape.element, self.shape.dimension)
        else {
            bail!("vectors are fixed-size lists");
        };
        let vectors = FixedSizeListArray::try_new(item, size, make_array(values), None)?;
        let ids = UInt64Array::from_iter_values(self.next_id..self.next_id + rows);
        self.next_id += rows;
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(vectors)];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Reads the header; also gives its length in bytes.
fn header(reader: &mut impl Read) -> anyhow::Result<(Shape, u64)> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).context("the file is too short")?;
    ensure!(start[..6] == *b"\x93NUMPY", "this is not a NumPy file");
    let (length, prefix) = match start[6] {
        1 => {
            let mut bytes = [0; 2];
            reader.read_exact(&mut bytes)?;
            (usize::from(u16::from_le_bytes(bytes)), 10)
        }
        2 | 3 => {
            let mut bytes = [0; 4];
            reader.read_exact(&mut bytes)?;
            (u32::from_le_bytes(bytes) as usize, 12)
        }
        other => bail!("NumPy format version {other} is not known"),
    };
    ensure!(
        length <= HEADER_BYTES_MAX,
        "a header of {length} bytes is no real one"
    );
    let mut text = vec![0; length];
    reader.read_exact(&mut text).context("the header ends early")?;
    let text = String::from_utf8(text).context("the header is not text")?;
    Ok((shape(&text)?, (prefix + length) as u64))
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (10, 3), }`.
fn shape(text: &str) -> anyhow::Result<Shape> {
    let after = |key: &str| {
        let found = text.split_once(&format!("'{key}':"));
        found
            .map(|(_, rest)| rest.trim_start())
            .with_context(|| format!("the header has no {key}"))
    };
    let descr = after("descr")?;
    let element = ["<f2", "<f4", "<f8"]
        .iter()
        .position(|kind| descr.starts_with(&format!("'{kind}'")))
        .map(|at| [VectorElement::F16, VectorElement::F32, VectorElement::F64][at]);
    let Some(element) = element else {
        let kind = descr.split(',').next().unwrap_or_default();
        bail!("elements are {kind}; '<f2', '<f4' and '<f8' can be read");
    };
    ensure!(
        after("fortran_order")?.starts_with("False"),
        "the matrix is in Fortran order; save it with numpy.ascontiguousarray"
    );
    let inner = after("shape")?
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .map(|(inner, _)| inner)
        .context("the shape is not a tuple")?;
    let sizes: Vec<u64> = inner
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().with_context(|| format!("{part:?} is no size")))
        .collect::<anyhow::Result<_>>()?;
    let [rows, dimension] = sizes[..] else {
        bail!("the array has {} dimensions; a matrix has 2", sizes.len());
    };
    let dimension = usize::try_from(dimension)?;
    ensure!(
        (1..=DIMENSION_MAX).contains(&dimension),
        "vectors of {dimension} elements; 1 to {DIMENSION_MAX} are possible"
    );
    Ok(Shape {
        element,
        rows,
        dimension,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Float32Type, UInt64Type};
    use proptest::prelude::*;

    fn file_of(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    fn args(path: &Path, line: &[&str]) -> ImportArgs {
        use clap::Parser;
        let path = path.display().to_string();
        let whole = [&["longbow", "import", &path, "--dataset", "d"], line].concat();
        let crate::args::Command::Import(args) = crate::args::Cli::try_parse_from(whole).unwrap().command
        else {
            panic!("not an import");
        };
        args
    }

    #[test]
    fn rows_come_out_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.npy");
        let data: Vec<u8> = (0..10).flat_map(|x| (x as f32).to_le_bytes()).collect();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2), }\n";
        std::fs::write(&path, file_of(header, &data)).unwrap();
        let source = open(&path, &args(&path, &["--batch-rows=2", "--first-id=100"])).unwrap();
        assert_eq!((source.rows, source.list_length), (5, Some(2)));
        let batches: Vec<_> = source.batches.map(Result::unwrap).collect();
        assert_eq!(
            batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(),
            [2, 2, 1]
        );
        assert_eq!(
            batches[2].column(0).as_primitive::<UInt64Type>().values()[..],
            [104]
        );
        let last = batches[2].column(1).as_fixed_size_list().value(0);
        assert_eq!(last.as_primitive::<Float32Type>().values()[..], [8.0, 9.0]);

        std::fs::write(&path, file_of(header, &data[1..])).unwrap();
        let short = open(&path, &args(&path, &[])).err().unwrap().to_string();
        assert!(short.contains("5 rows of 8 bytes"), "{short}");
    }

    #[test]
    fn headers_are_judged() {
        let good = "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }";
        let want = Shape {
            element: VectorElement::F16,
            rows: 3,
            dimension: 4,
        };
        assert_eq!(shape(good).unwrap(), want);
        for (from, to, say) in [
            ("<f2", ">f4", "can be read"),
            ("False", "True", "Fortran"),
            ("(3, 4)", "(3,)", "dimensions"),
            ("(3, 4)", "(3, 4, 5)", "dimensions"),
            ("(3, 4)", "(3, 0)", "possible"),
            ("(3, 4)", "(3, x)", "no size"),
            ("shape", "form", "no shape"),
        ] {
            let error = shape(&good.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains(say), "{error}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = b"\x93NUMPY".to_vec();
            file.extend_from_slice(&bytes);
            let _ = header(&mut &file[..]);
        }
    }
}
