//! Whole files, in and out, with their lengths and sums.

use std::io::{self, BufWriter, Read, Write};

use arrow::buffer::{Buffer, MutableBuffer};

use super::error::{Error, Result};
use super::names::Name;
use super::{Disk, NewFile};

/// Bytes taken at once: a caller who gives up waits for no more.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes after which they are made durable, so that no sync takes long: neither who gives up waits for it, nor others
/// who write to the disk.
const SYNC_BYTES: u64 = 32 << 20;

/// What a manifest knows of the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    /// CRC-32C of all of them.
    pub(super) crc: u32,
}

/// Writes a file: `fill` under a temporary name, which it loses when its bytes are durable. The new name is durable
/// after [`Disk::sync_names`].
pub(super) fn write(
    disk: &dyn Disk,
    name: Name,
    cancel: &dyn Fn() -> bool,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Sum> {
    let temporary = name.temporary();
    let failed = |operation| move |source| Error::io(operation, &name.to_string(), source);
    let mut sink = Sink {
        file: BufWriter::new(disk.create(&temporary).map_err(failed("create"))?),
        sum: Sum { bytes: 0, crc: 0 },
        asked_at: 0,
        synced_at: 0,
        cancel,
        is_cancelled: false,
    };
    let filled = fill(&mut sink).and_then(|()| sink.file.flush());
    if sink.is_cancelled {
        return Err(Error::Cancelled);
    }
    filled.map_err(failed("write"))?;
    sink.file.get_mut().sync().map_err(failed("sync"))?;
    disk.rename(&temporary, &name.to_string())
        .map_err(failed("rename"))?;
    Ok(sink.sum)
}

struct Sink<'a> {
    file: BufWriter<Box<dyn NewFile>>,
    sum: Sum,
    /// Bytes written when the caller was last asked.
    asked_at: u64,
    /// Bytes written when they were last made durable.
    synced_at: u64,
    cancel: &'a dyn Fn() -> bool,
    is_cancelled: bool,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.sum.bytes == 0 || self.sum.bytes - self.asked_at >= PIECE_BYTES as u64 {
            self.asked_at = self.sum.bytes;
            self.is_cancelled |= (self.cancel)();
        }
        if self.is_cancelled {
            return Err(io::Error::other("given up"));
        }
        let bytes = &bytes[..bytes.len().min(PIECE_BYTES)];
        self.file.write_all(bytes)?;
        self.sum.crc = crc32c::crc32c_append(self.sum.crc, bytes);
        self.sum.bytes += bytes.len() as u64;
        if self.sum.bytes - self.synced_at >= SYNC_BYTES {
            self.synced_at = self.sum.bytes;
            self.file.flush()?;
            self.file.get_mut().sync()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The bytes of a file whose length is not known; none above `bytes_max` are asked memory for.
pub(super) fn read(disk: &dyn Disk, name: Name, bytes_max: u64) -> Result<Buffer> {
    let file = name.to_string();
    let bytes = disk
        .bytes(&file)
        .map_err(|source| Error::io("look at", &file, source))?;
    if bytes > bytes_max {
        return Err(Error::damaged(
            &file,
            format!("{bytes} bytes, more than any such file has"),
        ));
    }
    // Aligned as columns want it, so that they are used where they lie.
    let mut buffer = MutableBuffer::from_len_zeroed(bytes as usize);
    let mut reader = disk
        .open(&file)
        .map_err(|source| Error::io("open", &file, source))?;
    reader
        .read_exact(buffer.as_slice_mut())
        .map_err(|source| ended(&file, source))?;
    Ok(buffer.into())
}

/// The bytes of a file that a manifest lists, after their sum was compared.
pub(super) fn read_summed(disk: &dyn Disk, name: Name, sum: Sum, bytes_max: u64) -> Result<Buffer> {
    check_length(disk, name, sum)?;
    let buffer = read(disk, name, bytes_max)?;
    let found = Sum {
        bytes: buffer.len() as u64,
        crc: crc32c::crc32c(&buffer),
    };
    compare(name, sum, found).map(|()| buffer)
}

/// Compares the sum of a file that a manifest lists, without keeping its bytes.
pub(super) fn check_sum(disk: &dyn Disk, name: Name, sum: Sum, cancel: &dyn Fn() -> bool) -> Result<()> {
    check_length(disk, name, sum)?;
    let file = name.to_string();
    let mut reader = disk
        .open(&file)
        .map_err(|source| Error::io("open", &file, source))?;
    let mut piece = vec![0; PIECE_BYTES.min(sum.bytes as usize)];
    let mut found = Sum { bytes: 0, crc: 0 };
    while found.bytes < sum.bytes {
        if cancel() {
            return Err(Error::Cancelled);
        }
        let left = usize::try_from(sum.bytes - found.bytes).unwrap_or(usize::MAX);
        let piece = &mut piece[..left.min(PIECE_BYTES)];
        reader.read_exact(piece).map_err(|source| ended(&file, source))?;
        found.crc = crc32c::crc32c_append(found.crc, piece);
        found.bytes += piece.len() as u64;
    }
    compare(name, sum, found)
}

/// Compares the length of a file that a manifest lists.
pub(super) fn check_length(disk: &dyn Disk, name: Name, sum: Sum) -> Result<()> {
    let file = name.to_string();
    let bytes = disk
        .bytes(&file)
        .map_err(|source| Error::io("look at", &file, source))?;
    if bytes != sum.bytes {
        let reason = format!("{bytes} bytes where {} were written", sum.bytes);
        return Err(Error::damaged(&file, reason));
    }
    Ok(())
}

fn compare(name: Name, listed: Sum, found: Sum) -> Result<()> {
    if listed != found {
        return Err(Error::damaged(
            &name.to_string(),
            "its sum is not that in the manifest",
        ));
    }
    Ok(())
}

/// A file that ends early was cut after its length was looked at.
fn ended(file: &str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::damaged(file, "it ends early"),
        _ => Error::io("read", file, source),
    }
}
