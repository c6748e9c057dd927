//! A file that is only made when something is written to it.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
};

/// Leaves what an earlier run wrote alone until there is something to take its place.
pub struct LazyFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl LazyFile {
    /// Nothing is opened yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }
}

impl Write for LazyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(&self.path)?)),
        };
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_until_something_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples");
        std::fs::write(&path, "earlier").unwrap();
        let mut file = LazyFile::new(path.clone());
        file.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "earlier");
        writeln!(file, "a").unwrap();
        writeln!(file, "b").unwrap();
        file.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
    }
}
