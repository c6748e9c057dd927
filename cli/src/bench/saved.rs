//! An index kept in a file between runs, so that it is built once.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use longbow_client::{Error, ErrorCode};
use longbow_index::{ImageMemory, Params, Quantization, VectorIndex, verify_image};

use super::{dataset::Dataset, measure::element_bytes};

/// Sees to it that a file can be written there, before what goes into it is built.
pub(super) fn prepare(path: &Path) -> Result<(), Error> {
    let tried = || {
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let draft = draft(path);
        File::create(&draft)?;
        fs::remove_file(draft)
    };
    tried().map_err(|error: io::Error| {
        let message = format!("{} cannot be written: {error}", path.display());
        Error::new(ErrorCode::InvalidValue, message).field("--image")
    })
}

/// Writes an index; on the disk when this returns, so that writing it back disturbs no measurement that follows.
pub(super) fn write(index: &VectorIndex, path: &Path) -> Result<()> {
    let draft = draft(path);
    let writing = || format!("writing {}", path.display());
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&draft).with_context(writing)?);
    index.write_image(index.len(), &mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&draft, path).with_context(writing)
}

/// Where the file is until it is whole.
fn draft(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".draft");
    name.into()
}

/// Reads the index of a data set, which must have been made with these parameters. It lies in plain memory, as one that
/// was just built does, not in a mapped file: the two are to be as fast.
pub(super) fn read(
    path: &Path,
    params: &Params,
    quantization: Quantization,
    dataset: &Dataset,
) -> Result<VectorIndex> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let bytes = usize::try_from(file.metadata()?.len())?;
    let mut memory = ImageMemory::zeroed(bytes)?;
    file.read_exact(memory.as_mut()).with_context(reading)?;
    let index = verified(memory).map_err(|error| {
        Error::new(ErrorCode::Corruption, format!("no index can be read: {error:#}"))
            .field(path.display().to_string())
            .limit("a file that `longbow bench ann --image` wrote; without it the index is built anew")
    })?;
    if let Some(why) = difference(&index, params, quantization, dataset)? {
        return Err(Error::new(ErrorCode::InvalidValue, why)
            .field(path.display().to_string())
            .limit("the index of this data set and these options; another is kept in another file")
            .into());
    }
    Ok(index)
}

/// The index of an image all of whose checksums are right.
fn verified(memory: ImageMemory) -> Result<VectorIndex> {
    verify_image(memory.as_ref(), &|| false)?;
    Ok(VectorIndex::from_image(memory)?)
}

/// What an index is that was not built of this data set with these parameters.
fn difference(
    index: &VectorIndex,
    params: &Params,
    quantization: Quantization,
    dataset: &Dataset,
) -> Result<Option<String>> {
    let rows = dataset.rows();
    let (held, linked) = (index.len() as usize, index.linked() as usize);
    let asked = as_kept(params, quantization)?;
    Ok(
        if index.params() != asked.params() || index.quantization() != asked.quantization() {
            Some("the index in it was built with other options".to_owned())
        } else if (held, linked) != (rows, rows) {
            Some(format!(
                "the index in it has {held} rows, {linked} of them linked, and the data set {rows}"
            ))
        } else if !holds(index, dataset) {
            Some("the index in it was built of other vectors".to_owned())
        } else {
            None
        },
    )
}

/// An empty index as it is after it was kept: parameters beyond what an index uses are kept as it uses them.
fn as_kept(params: &Params, quantization: Quantization) -> Result<VectorIndex> {
    let mut image = Vec::new();
    VectorIndex::try_new(*params, quantization)?.write_image(0, &mut image)?;
    let mut memory = ImageMemory::zeroed(image.len())?;
    memory.as_mut().copy_from_slice(&image);
    Ok(VectorIndex::from_image(memory)?)
}

/// Whether each slot has the vector of the row of its number.
fn holds(index: &VectorIndex, dataset: &Dataset) -> bool {
    let (mut wanted, mut held) = (Vec::new(), Vec::new());
    let vectors = dataset.base.chunks_exact(dataset.dimension);
    vectors.zip(0..index.len()).all(|(vector, slot)| {
        wanted.clear();
        held.clear();
        element_bytes(vector, index.params().element, &mut wanted);
        index.vector(slot, &mut held) && held == wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{made, measure::build};
    use longbow_index::{Element, Metric};

    const PARAMS: Params = Params {
        element: Element::F32,
        metric: Metric::Cosine,
        dimension: 4,
        m: 16,
        ef_construction: 200,
        seed: 0,
    };

    fn dataset(rows: usize) -> Dataset {
        made::dataset((0..rows * 4).map(|x| (x as f32).sin()).collect(), 4)
    }

    fn written(params: Params, quantization: Quantization) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.of.ten");
        let index = build(&dataset(10), params, quantization, 1).unwrap().index;
        prepare(&path).unwrap();
        write(&index, &path).unwrap();
        (folder, path)
    }

    fn refused(path: &Path, params: &Params, quantization: Quantization, dataset: &Dataset) -> Error {
        let error = read(path, params, quantization, dataset)
            .err()
            .expect("it was read");
        crate::error::find(&error).cloned().expect("it has no code")
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let (_folder, path) = written(PARAMS, Quantization::None);
        let ten = dataset(10);
        assert_eq!(read(&path, &PARAMS, Quantization::None, &ten).unwrap().len(), 10);
        let other = Params { m: 8, ..PARAMS };
        let mut moved = dataset(10);
        moved.base[39] += 1.0;
        for error in [
            refused(&path, &PARAMS, Quantization::Sq8, &ten),
            refused(&path, &other, Quantization::None, &ten),
            refused(&path, &PARAMS, Quantization::None, &dataset(11)),
            refused(&path, &PARAMS, Quantization::None, &moved),
        ] {
            assert_eq!(error.code, ErrorCode::InvalidValue);
            assert_eq!(error.field.as_deref(), path.to_str());
        }
    }

    #[test]
    fn parameters_beyond_what_an_index_uses_are_those_of_its_file() {
        for ef_construction in [0, 5_000_000_000] {
            let params = Params {
                ef_construction,
                ..PARAMS
            };
            for quantization in [Quantization::None, Quantization::Sq8] {
                let (_folder, path) = written(params, quantization);
                read(&path, &params, quantization, &dataset(10)).unwrap();
            }
        }
    }

    #[test]
    fn damage_anywhere_is_found() {
        let (_folder, path) = written(PARAMS, Quantization::None);
        let good = fs::read(&path).unwrap();
        // One of the vectors, which nothing but their checksum tells from others.
        let vector: Vec<u8> = dataset(10).base[..4]
            .iter()
            .flat_map(|x| x.to_ne_bytes())
            .collect();
        let at = good.windows(16).position(|bytes| bytes == vector).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        for bytes in [&bad[..], &good[..good.len() / 2], b""] {
            fs::write(&path, bytes).unwrap();
            let error = refused(&path, &PARAMS, Quantization::None, &dataset(10));
            assert_eq!(error.code, ErrorCode::Corruption, "{error}");
        }
    }

    #[test]
    fn where_nothing_can_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [folder.path(), &file.join("image")] {
            assert_eq!(prepare(path).unwrap_err().field.as_deref(), Some("--image"));
        }
        let path = folder.path().join("new/folder/image");
        prepare(&path).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }
}
