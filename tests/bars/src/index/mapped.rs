//! A mapped index: which of its pages are in memory once it has answered, and which of them hold vectors.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use longbow_index::{Bitset, Element, Mode, SearchParams, VectorIndex};
use longbow_kernels::f16;
use serde_json::{Value, json};

use crate::run::run;

/// One row in so many is asked for: enough that every page of codes is met.
const ASKED: usize = 10;
/// The section that holds the vectors, which need not stay in memory.
const VECTORS: [u8; 4] = *b"VECS";

/// Bytes in memory because of a mapped index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resident {
    /// Whole pages of vectors.
    vectors: u64,
    /// All other pages of the image: codes, links.
    others: u64,
    /// What the process needs besides the image.
    beside: u64,
}

impl Resident {
    /// Of the index in an image, in a process of its own.
    pub(super) fn of(image: &Path) -> Result<Self> {
        let this = std::env::current_exe()?.display().to_string();
        let cost = run(&this, &["resident", &image.display().to_string()])?;
        let line: Value = serde_json::from_str(&cost.stdout)?;
        let number = |key: &str| line[key].as_u64().with_context(|| format!("no {key}"));
        Ok(Self {
            vectors: number("vectors")?,
            others: number("others")?,
            beside: number("beside")?,
        })
    }

    /// What has to be in memory for searches that read vectors from the disk.
    pub(super) fn without_vectors(self) -> u64 {
        self.others + self.beside
    }
}

/// Maps an image, asks for some of its rows, and prints what of it is in memory.
pub fn print_resident(image: &Path) -> Result<()> {
    let before = anonymous_bytes()?;
    let file = File::open(image)?;
    // SAFETY: the file was written under another name and renamed; nobody changes it any more.
    let map = unsafe { memmap2::MmapOptions::new().map_copy(&file)? };
    let mapped = map.as_ptr() as u64..map.as_ptr() as u64 + map.len() as u64;
    let vectors = section(&map, VECTORS).context("the image has no vectors")?;
    let index = VectorIndex::from_image(map)?;
    ask(&index)?;
    let page = rustix::param::page_size() as u64;
    let pages = present(mapped, page)?;
    let whole = vectors.start.div_ceil(page) as usize..(vectors.end / page) as usize;
    let count = |pages: &[bool]| pages.iter().filter(|&&is| is).count() as u64 * page;
    let of_vectors = count(&pages[whole]);
    let line = json!({"vectors": of_vectors, "others": count(&pages) - of_vectors,
        "beside": anonymous_bytes()?.saturating_sub(before)});
    println!("{line}");
    Ok(())
}

fn ask(index: &VectorIndex) -> Result<()> {
    ensure!(
        index.params().element == Element::F16,
        "only vectors in 16 bits are asked for"
    );
    let everything = Bitset::full(index.len() as usize);
    let params = SearchParams {
        k: 10,
        ef: 0,
        mode: Mode::Auto,
    };
    let (mut bytes, mut found) = (Vec::new(), Vec::new());
    for slot in (0..index.len()).step_by(ASKED) {
        bytes.clear();
        index.vector(slot, &mut bytes);
        let (numbers, _) = bytes.as_chunks::<2>();
        let query: Vec<f32> = numbers
            .iter()
            .map(|&bytes| f16::from_ne_bytes(bytes).to_f32())
            .collect();
        index.search_into(&query, &params, &everything, &|| false, &mut found)?;
    }
    Ok(())
}

/// Where a section of an image lies: the table is in the trailer, which the footer (32 bytes) leads to.
fn section(image: &[u8], tag: [u8; 4]) -> Option<Range<u64>> {
    let number = |at: usize| Some(u64::from_le_bytes(*image.get(at..)?.first_chunk()?));
    let trailer = number(image.len().checked_sub(32)?)? as usize;
    let sections = u32::from_le_bytes(*image.get(trailer + 20..)?.first_chunk()?) as usize;
    let mut entries = (0..sections).map(|entry| trailer + 24 + 24 * entry);
    let entry = entries.find(|&at| image.get(at..at + 4) == Some(&tag[..]))?;
    let (offset, bytes) = (number(entry + 8)?, number(entry + 16)?);
    Some(offset..offset + bytes)
}

/// Which pages of a range this process has in memory.
fn present(range: Range<u64>, page: u64) -> Result<Vec<bool>> {
    let mut map = File::open("/proc/self/pagemap")?;
    map.seek(SeekFrom::Start(range.start / page * 8))?;
    let pages = (range.end - range.start).div_ceil(page);
    let mut entries = vec![0; pages as usize * 8];
    map.read_exact(&mut entries)?;
    let (entries, _) = entries.as_chunks::<8>();
    // The highest bit says that the page is there.
    let entries = entries.iter().map(|&entry| u64::from_ne_bytes(entry) >> 63 == 1);
    Ok(entries.collect())
}

/// Memory of this process that is no file's.
fn anonymous_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kibibytes.context("no RssAnon")?.parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longbow_index::{Metric, Params, Quantization};

    #[test]
    fn sections_are_found_where_they_were_written() {
        let params = Params::new(Element::F16, Metric::Cosine, 64);
        let index = VectorIndex::with_quantization(params, Quantization::None);
        let bytes: Vec<u8> = (0..300 * 64)
            .flat_map(|x| f16::from_f32((x as f32).sin()).to_ne_bytes())
            .collect();
        index.append(&bytes).unwrap();
        let mut image = Vec::new();
        index.write_image(300, &mut image).unwrap();
        let vectors = section(&image, VECTORS).unwrap();
        assert_eq!(&image[vectors.start as usize..vectors.end as usize], bytes);
        assert_eq!(section(&image, *b"NONE"), None);
        assert_eq!(section(&image[..100], VECTORS), None);
    }

    #[test]
    fn pages_are_present_once_they_were_touched() {
        let page = rustix::param::page_size();
        let mut map = memmap2::MmapMut::map_anon(8 * page).unwrap();
        let start = map.as_ptr() as u64;
        map[3 * page] = 1;
        let pages = present(start..start + map.len() as u64, page as u64).unwrap();
        assert_eq!(pages.len(), 8);
        assert!(pages[3] && !pages[7]);
    }
}
