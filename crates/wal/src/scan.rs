//! Walking the records of one segment.

use crate::{
    DiskFile, Error, Result,
    disk::read_full,
    format::{
        FLUSH_BYTES, FLUSH_MAGIC, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader,
        decode_record_header, is_flush_at, is_sound, segment_name,
    },
};

const WINDOW_BYTES: usize = 256 << 10;

/// A window that slides over a file.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    name: &'a str,
    /// Bytes at and after this offset are not looked at.
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub fn new(file: &'a dyn DiskFile, name: &'a str, end: u64) -> Self {
        Self {
            file,
            name,
            end,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// Some bytes of the file; `None` if it ends before.
    pub fn get(&mut self, offset: u64, len: usize) -> Result<Option<&[u8]>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.end) {
            return Ok(None);
        }
        let inside = offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            self.bytes.resize(len.max(WINDOW_BYTES).min(left), 0);
            self.start = offset;
            let read = read_full(self.file, &mut self.bytes, offset)
                .map_err(|source| Error::io("read", self.name, source))?;
            self.bytes.truncate(read);
            if read < len {
                return Ok(None);
            }
        }
        let at = (offset - self.start) as usize;
        Ok(Some(&self.bytes[at..at + len]))
    }
}

/// A record in its place.
pub(crate) struct Record<'a> {
    pub header: RecordHeader,
    /// Where it starts in the segment.
    pub offset: u64,
    pub payload: &'a [u8],
}

/// Reads the record at `offset`. `None`: no sound record starts there.
pub(crate) fn record_at<'a>(
    window: &'a mut Window<'_>,
    offset: u64,
    salt: u32,
) -> Result<Option<Record<'a>>> {
    let Some(bytes) = window.get(offset, RECORD_HEADER_BYTES)? else {
        return Ok(None);
    };
    let header = bytes.first_chunk().and_then(decode_record_header);
    let Some(header) = header else {
        return Ok(None);
    };
    let record = window.get(offset, RECORD_HEADER_BYTES + header.len)?;
    Ok(record
        .filter(|record| is_sound(record, salt))
        .map(|record| Record {
            header,
            offset,
            payload: &record[RECORD_HEADER_BYTES..],
        }))
}

/// Reads and checks a segment's header.
pub(crate) fn read_header(file: &dyn DiskFile, generation: u64) -> Result<SegmentHeader> {
    let name = segment_name(generation);
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let read = read_full(file, &mut bytes, 0).map_err(|source| Error::io("read", &name, source))?;
    if read < bytes.len() {
        return Err(Error::corruption(&name, 0, "shorter than a segment header"));
    }
    let header = SegmentHeader::decode(&bytes).map_err(|what| Error::corruption(&name, 0, what))?;
    if header.generation != generation {
        let what = format!("the header is that of segment {}", header.generation);
        return Err(Error::corruption(&name, 0, what));
    }
    Ok(header)
}

/// Visits every sound record from the segment's start; returns where they end.
pub(crate) fn walk(
    window: &mut Window<'_>,
    salt: u32,
    mut visit: impl FnMut(Record<'_>) -> Result<()>,
) -> Result<u64> {
    let mut offset = SEGMENT_HEADER_BYTES as u64;
    while let Some(record) = record_at(window, offset, salt)? {
        let next = offset + (RECORD_HEADER_BYTES + record.payload.len()) as u64;
        visit(record)?;
        offset = next;
    }
    Ok(offset)
}

/// Looks for a flush record at or after `offset`: its presence proves that everything before it was durable.
pub(crate) fn find_flush(window: &mut Window<'_>, offset: u64, end: u64, salt: u32) -> Result<Option<u64>> {
    let mut at = offset;
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        let Some(bytes) = window.get(at, len)? else {
            break;
        };
        let mut hits = Vec::new();
        let mut from = 0;
        while let Some(hit) = find(&bytes[from..], &FLUSH_MAGIC) {
            hits.push(at + (from + hit) as u64);
            from += hit + 1;
        }
        for hit in hits {
            let Some(position) = hit.checked_sub(RECORD_HEADER_BYTES as u64) else {
                continue;
            };
            let record = window.get(position, FLUSH_BYTES)?;
            let record = record.and_then(|record| record.first_chunk::<FLUSH_BYTES>());
            if position >= offset && record.is_some_and(|record| is_flush_at(record, position, salt)) {
                return Ok(Some(position));
            }
        }
        if len < FLUSH_MAGIC.len() {
            break;
        }
        // A magic may lie across two windows.
        at += (len - (FLUSH_MAGIC.len() - 1)).max(1) as u64;
        if len < WINDOW_BYTES {
            break;
        }
    }
    Ok(None)
}

/// Finds the pattern, which does not start with a zero. Zeros fill most of what is searched and are skipped in blocks.
fn find(bytes: &[u8], pattern: &[u8; 8]) -> Option<usize> {
    const BLOCK: [u8; 4096] = [0; 4096];
    let mut from = 0;
    while from < bytes.len() {
        let end = (from + BLOCK.len()).min(bytes.len());
        if bytes[from..end] != BLOCK[..end - from] {
            let reach = (end + pattern.len() - 1).min(bytes.len());
            let hit = bytes[from..reach]
                .windows(pattern.len())
                .position(|w| w == pattern);
            if let Some(hit) = hit {
                return Some(from + hit);
            }
        }
        from = end;
    }
    None
}
