//! What snapshots ask of a disk, so that a test can hand in one that fails.

use std::io::{self, Read, Write};

use longbow_index::ImageMemory;

/// One flat directory of files, of one owner.
pub trait Disk: Send + Sync {
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Creates or empties a file.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;
    /// Length of a file.
    fn bytes(&self, name: &str) -> io::Result<u64>;
    /// Opens a file to read it from its beginning.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read>>;
    /// A file as memory that may be written to without changing the file; read as it is used.
    fn map(&self, name: &str) -> io::Result<ImageMemory>;
    /// Renames a file, replacing what had the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Who has it open or mapped keeps it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable: creations, renames and removals.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that is being written.
pub trait NewFile: Write {
    /// Makes its bytes durable. After an error, what is durable is unknown, and trying again proves nothing.
    fn sync(&mut self) -> io::Result<()>;
}
