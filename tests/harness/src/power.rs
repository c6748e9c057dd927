//! What a power cut leaves of a keeper's files.
//!
//! The library of [`faults`](crate::faults) notes what each write replaces, and what each sync covers. From that a killed
//! keeper's files are made what they would be had the power gone: of what was written and not covered by a sync, each
//! sector is there or is what it was. Names of files, and the few that are written beside and renamed, stay as they are.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result, bail};
use rand::{Rng, rngs::StdRng};

const SECTOR_BYTES: u64 = 512;
const NOTE_BYTES: usize = 48;
const WRITE: u64 = 1;
const SYNC: u64 = 2;

/// One life of one file: a number may be given to another file later.
type FileId = (u64, u64);

/// A write that no sync covers, and what it replaced; zeros follow.
struct Unsynced {
    file: FileId,
    offset: u64,
    len: u64,
    replaced: Vec<u8>,
}

/// What was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Writes that no sync covered.
    pub writes: u64,
    /// Sectors of them that are gone.
    pub sectors: u64,
}

/// Takes away from a killed keeper's folder what it had not synced, or some of it, and forgets the notes.
pub fn cut(folder: &Path, notes: &Path, random: &mut StdRng) -> Result<Lost> {
    let unsynced = match File::open(notes) {
        Ok(file) => unsynced(io::BufReader::new(file)).context("reading what a keeper noted")?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let mut files = HashMap::new();
    find_files(folder, &mut files)?;
    let mut lost = take_all_back(&files, &unsynced, &mut || random.random_bool(0.6))?;
    if lost.sectors == 0 {
        // All of it was there, by chance: then none is.
        lost = take_all_back(&files, &unsynced, &mut || true)?;
    }
    for path in files.values() {
        File::open(path)?.sync_all()?;
    }
    match fs::remove_file(notes) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(lost),
    }
}

fn take_all_back(
    files: &HashMap<FileId, PathBuf>,
    unsynced: &[Unsynced],
    is_gone: &mut dyn FnMut() -> bool,
) -> Result<Lost> {
    let mut lost = Lost::default();
    // The last first: what an earlier one replaced is older.
    for write in unsynced.iter().rev() {
        let Some(path) = files.get(&write.file) else {
            continue; // the file is gone
        };
        lost.writes += 1;
        lost.sectors += take_back(path, write, is_gone)?;
    }
    Ok(lost)
}

fn take_back(path: &Path, write: &Unsynced, is_gone: &mut dyn FnMut() -> bool) -> Result<u64> {
    let file = OpenOptions::new().write(true).open(path)?;
    let (mut gone, mut at) = (0, write.offset);
    let end = write.offset + write.len;
    while at < end {
        // Sectors of the file, not of the write.
        let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
        if is_gone() {
            let mut sector = vec![0; (next - at) as usize];
            let from = (at - write.offset) as usize;
            let old = write.replaced.get(from..).unwrap_or_default();
            let len = old.len().min(sector.len());
            sector[..len].copy_from_slice(&old[..len]);
            file.write_all_at(&sector, at)?;
            gone += 1;
        }
        at = next;
    }
    Ok(gone)
}

/// Writes that no later sync of their file covers, in order.
fn unsynced(mut notes: impl Read) -> Result<Vec<Unsynced>> {
    let mut writes: Vec<(u64, Unsynced)> = Vec::new();
    let mut covered: BTreeMap<FileId, u64> = BTreeMap::new();
    let mut position = 0;
    let mut note = [0; NOTE_BYTES];
    while fill(&mut notes, &mut note)? {
        let field = |at: usize| {
            let bytes = note[at * 8..].first_chunk().copied();
            u64::from_ne_bytes(bytes.expect("a note has six numbers"))
        };
        let (kind, file) = (field(0), (field(1), field(2)));
        let (offset, len, stored) = (field(3), field(4), field(5));
        let began = position;
        position += NOTE_BYTES as u64 + stored;
        match kind {
            WRITE => {
                let mut replaced = vec![0; usize::try_from(stored)?];
                if !fill(&mut notes, &mut replaced)? {
                    break; // killed while it noted: it had not written yet
                }
                let write = Unsynced {
                    file,
                    offset,
                    len,
                    replaced,
                };
                writes.push((began, write));
            }
            SYNC => {
                let reach = covered.entry(file).or_default();
                *reach = offset.max(*reach);
            }
            _ => bail!("a note of kind {kind} at {began}"),
        }
    }
    writes.retain(|(at, write)| covered.get(&write.file).is_none_or(|reach| at >= reach));
    Ok(writes.into_iter().map(|(_, write)| write).collect())
}

/// Reads all of a buffer; false at the end, also where it comes too early.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn find_files(folder: &Path, found: &mut HashMap<FileId, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let about = fs::symlink_metadata(&path)?;
        if about.is_dir() {
            find_files(&path, found)?;
        } else if about.is_file() {
            let born = about.created().ok();
            let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
            let born = born.map_or(0, |born| born.as_nanos() as u64);
            found.insert((about.ino(), born), path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn note(kind: u64, file: FileId, offset: u64, len: u64, replaced: &[u8]) -> Vec<u8> {
        let numbers = [kind, file.0, file.1, offset, len, replaced.len() as u64];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        bytes.extend(replaced);
        bytes
    }

    #[test]
    fn what_a_sync_covers_stays() {
        let (one, other) = ((1, 5), (2, 5));
        let first = note(WRITE, one, 0, 3, b"old");
        let after_first = first.len() as u64;
        let mut notes = first;
        notes.extend(note(WRITE, other, 7, 3, b"old"));
        // A write that came while the sync was under way.
        notes.extend(note(WRITE, one, 9, 2, b""));
        notes.extend(note(SYNC, one, after_first, 0, b""));
        let found = unsynced(&notes[..]).unwrap();
        let found: Vec<_> = found.iter().map(|write| (write.file, write.offset)).collect();
        assert_eq!(found, [(other, 7), (one, 9)]);
        // A note that was cut short counts for nothing.
        notes.extend(note(WRITE, one, 20, 9, b"something"));
        notes.pop();
        assert_eq!(unsynced(&notes[..]).unwrap().len(), 2);
        unsynced(&note(3, one, 0, 0, b"")[..]).err().unwrap();
    }

    #[test]
    fn sectors_are_there_or_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, notes) = (dir.path().join("keeper"), dir.path().join("notes"));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("file");
        let new = vec![b'n'; 20 * SECTOR_BYTES as usize];
        fs::write(&path, &new).unwrap();
        let mut files = HashMap::new();
        find_files(&folder, &mut files).unwrap();
        let id = *files.keys().next().unwrap();
        // All but the first hundred bytes were written and not synced; behind the old end there were none.
        let old = vec![b'o'; 10 * SECTOR_BYTES as usize];
        let noted = note(WRITE, id, 100, new.len() as u64 - 100, &old[100..]);
        fs::write(&notes, &noted).unwrap();
        let lost = cut(&folder, &notes, &mut StdRng::seed_from_u64(1)).unwrap();
        assert_eq!(lost.writes, 1);
        assert!((4..20).contains(&lost.sectors), "{lost:?}");
        let left = fs::read(&path).unwrap();
        assert_eq!(left[..100], new[..100]);
        let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        let sectors: Vec<u8> = left[SECTOR_BYTES as usize..]
            .chunks(SECTOR_BYTES as usize)
            .map(|sector| if whole(sector) { sector[0] } else { b'?' })
            .collect();
        assert!(
            sectors[..9].iter().all(|byte| b"on".contains(byte)),
            "{sectors:?}"
        );
        assert!(
            sectors[9..].iter().all(|byte| b"n\0".contains(byte)),
            "{sectors:?}"
        );
        assert!(!notes.exists());
        assert_eq!(
            cut(&folder, &notes, &mut StdRng::seed_from_u64(1)).unwrap(),
            Lost::default()
        );
    }
}
