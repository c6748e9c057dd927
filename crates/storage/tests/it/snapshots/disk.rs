//! A disk in memory that ends after so many steps, loses what was not synced, and lies on demand.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use longbow_index::ImageMemory;
use longbow_storage::snapshot::{Disk, NewFile};

const PIECE_BYTES: usize = 1 << 10;

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Since the last sync of names.
    unsynced_names: Vec<Change>,
    /// Changes until the power goes.
    steps_left: Option<usize>,
    created: Vec<String>,
}

/// A name that went, and one that came with its file.
type Change = (Option<String>, Option<(String, usize)>);

#[derive(Default, Clone)]
struct File {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

impl MemDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// From now on, `steps` changes succeed and no more.
    pub fn cut_after(&self, steps: usize) {
        self.lock().steps_left = Some(steps);
    }

    /// Files created since this was last asked.
    pub fn created(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().created)
    }

    /// The disk as it is found after the power came back: of the changes that were not synced, those for which `coin`
    /// says so are there; of bytes that were not synced, all or none.
    pub fn after_crash(&self, coin: &mut dyn FnMut() -> bool) -> MemDisk {
        let state = self.lock();
        let mut names = state.durable_names.clone();
        for (gone, made) in &state.unsynced_names {
            if coin() {
                gone.as_ref().map(|gone| names.remove(gone));
                names.extend(made.clone());
            }
        }
        let files = state.files.iter().map(|file| {
            let bytes = if coin() { &file.bytes } else { &file.durable };
            File {
                bytes: bytes.clone(),
                durable: bytes.clone(),
            }
        });
        MemDisk(Arc::new(Mutex::new(State {
            files: files.collect(),
            durable_names: names.clone(),
            names,
            ..State::default()
        })))
    }

    pub fn bytes_of(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state.files[state.names[name]].bytes.clone()
    }

    /// Changes a file behind everybody's back.
    pub fn spoil(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let file = state.names[name];
        change(&mut state.files[file].bytes);
    }

    /// Takes a file away behind everybody's back.
    pub fn lose(&self, name: &str) {
        self.lock().names.remove(name);
    }

    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut state = self.lock();
        state.step()?;
        let file = state.files.len();
        state.files.push(File::default());
        state.names.insert(name.to_owned(), file);
        state.unsynced_names.push((None, Some((name.to_owned(), file))));
        state.created.push(name.to_owned());
        let disk = self.clone();
        Ok(Box::new(MemFile { disk, file }))
    }

    fn bytes(&self, name: &str) -> io::Result<u64> {
        let state = self.lock();
        Ok(state.files[state.find(name)?].bytes.len() as u64)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        let state = self.lock();
        Ok(Box::new(Cursor::new(
            state.files[state.find(name)?].bytes.clone(),
        )))
    }

    fn map(&self, name: &str) -> io::Result<ImageMemory> {
        let state = self.lock();
        let bytes = &state.files[state.find(name)?].bytes;
        let mut memory = ImageMemory::zeroed(bytes.len()).map_err(io::Error::other)?;
        memory.as_mut().copy_from_slice(bytes);
        Ok(memory)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        let file = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        let change = (Some(from.to_owned()), Some((to.to_owned(), file)));
        state.unsynced_names.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.find(name)?;
        state.names.remove(name);
        state.unsynced_names.push((Some(name.to_owned()), None));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }
}

struct MemFile {
    disk: MemDisk,
    file: usize,
}

impl Write for MemFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.step()?;
        // Piece by piece, so that the power goes in the middle of a file too.
        let bytes = &bytes[..bytes.len().min(PIECE_BYTES)];
        state.files[self.file].bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for MemFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.step()?;
        let file = &mut state.files[self.file];
        file.durable = file.bytes.clone();
        Ok(())
    }
}
