//! An index kept in a file between runs, so that it is built once.

use std::{
    fs::{self, File},
    io::{BufWriter, Read, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use longbow_index::{ImageMemory, Params, Quantization, VectorIndex};

/// Writes an index; on the disk when this returns, so that writing it back disturbs no measurement that follows.
pub(super) fn write(index: &VectorIndex, path: &Path) -> Result<()> {
    let draft = path.with_extension("draft");
    let mut file = BufWriter::with_capacity(1 << 20, create(&draft)?);
    index.write_image(index.len(), &mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&draft, path).with_context(|| format!("writing {}", path.display()))
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("creating {}", path.display()))
}

/// Reads an index of so many linked rows, which must have been made with these parameters. It lies in plain memory, as
/// one that was just built does, not in a mapped file: the two are to be as fast.
pub(super) fn read(
    path: &Path,
    params: &Params,
    quantization: Quantization,
    rows: usize,
) -> Result<VectorIndex> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let bytes = usize::try_from(file.metadata()?.len())?;
    let mut memory = ImageMemory::zeroed(bytes)?;
    file.read_exact(memory.as_mut()).with_context(reading)?;
    let index = VectorIndex::from_image(memory).with_context(reading)?;
    ensure!(
        index.params() == params && index.quantization() == quantization,
        "{} holds an index of another kind",
        path.display()
    );
    ensure!(
        index.len() as usize == rows && index.linked() as usize == rows,
        "{} holds {} rows, {} of them linked, and the data set has {rows}",
        path.display(),
        index.len(),
        index.linked()
    );
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_index::{Element, Metric};

    fn index(params: Params) -> VectorIndex {
        let index = VectorIndex::with_quantization(params, Quantization::None);
        let rows: Vec<u8> = (0..40).flat_map(|x| (x as f32).sin().to_ne_bytes()).collect();
        index.append(&rows).unwrap();
        while index.link(64) > 0 {}
        index
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let params = Params::new(Element::F32, Metric::Cosine, 4);
        write(&index(params), &path).unwrap();
        assert_eq!(read(&path, &params, Quantization::None, 10).unwrap().len(), 10);
        assert!(read(&path, &params, Quantization::Sq8, 10).is_err());
        assert!(read(&path, &params, Quantization::None, 11).is_err());
        let other = Params { m: 8, ..params };
        assert!(read(&path, &other, Quantization::None, 10).is_err());
    }
}
