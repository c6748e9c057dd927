//! Which chunks are to be merged next? Chunks as numbers in, a range of neighbours out.
//!
//! Wished for, and tested below:
//! - *space*: when nothing is left to do, less than a fourth of the rows of any chunk are dead;
//! - *reads*: then the chunks are few: neighbours do not fit into one, but for a tail of chunks that shrink geometrically;
//! - *write amplification*: over any history, a row is moved about as often as it takes to grow fourfold from the size
//!   of its batch to that of a full chunk, and each dead row has at most three live ones moved for it;
//! - *no starvation*: chunks are looked at in turn from where the last plan ended, so that whatever is to be done
//!   anywhere is done within one round, however fast rows arrive at the end.

use std::ops::Range;

/// One of so many rows dead: a chunk is written again.
const DEAD_SHARE: u64 = 4;
/// The chunks of the tail are merged when the first of them grows by so much.
const GROWTH: u64 = 4;

/// What is to be known of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Rows in it.
    pub(crate) rows: u64,
    /// Those that are dead.
    pub(crate) dead: u64,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
}

/// Sizes of a full chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows_max: u64,
    pub(crate) bytes_max: u64,
}

impl Piece {
    fn live(&self) -> u64 {
        self.rows - self.dead
    }

    /// Bytes of the live rows, if all are alike.
    fn live_bytes(&self) -> u64 {
        self.bytes - self.bytes / self.rows.max(1) * self.dead
    }

    fn is_due(&self) -> bool {
        self.dead * DEAD_SHARE >= self.rows.max(1)
    }
}

/// The chunks to be merged into one, looked for from number `from` on, round once; `None`: there is nothing to do.
///
/// The live rows of a range fit into one chunk, or it is a single chunk.
pub(crate) fn plan(pieces: &[Piece], limits: &Limits, from: usize) -> Option<Range<usize>> {
    let count = pieces.len();
    let mut turns = (0..count).map(|turn| (from + turn) % count);
    turns.find_map(|at| {
        dead(pieces, limits, at)
            .or_else(|| closed(pieces, limits, at))
            .or_else(|| tail(pieces, limits, at))
    })
}

/// Chunks that have too many dead rows, from `at` on, as many as fit.
fn dead(pieces: &[Piece], limits: &Limits, at: usize) -> Option<Range<usize>> {
    let end = fitting(pieces, limits, at).end;
    let due = pieces[at..end].iter().take_while(|piece| piece.is_due()).count();
    (due > 0).then_some(at..at + due)
}

/// Neighbours that fit into one chunk, behind which another does not: nothing will be added to them.
fn closed(pieces: &[Piece], limits: &Limits, at: usize) -> Option<Range<usize>> {
    let range = fitting(pieces, limits, at);
    (range.len() > 1 && range.end < pieces.len()).then_some(range)
}

/// If `at` is the last: as many of the last chunks as fit, of which the first grows enough.
fn tail(pieces: &[Piece], limits: &Limits, at: usize) -> Option<Range<usize>> {
    if at + 1 < pieces.len() {
        return None;
    }
    let (mut rows, mut bytes, mut first) = (0, 0, None);
    for (start, piece) in pieces.iter().enumerate().rev() {
        rows += piece.live();
        bytes += piece.live_bytes();
        if rows > limits.rows_max || bytes > limits.bytes_max {
            break;
        }
        if start < at && rows >= piece.live() * GROWTH {
            first = Some(start);
        }
    }
    first.map(|first| first..at + 1)
}

/// The longest range from `at` on whose live rows fit into one chunk; one chunk at least.
fn fitting(pieces: &[Piece], limits: &Limits, at: usize) -> Range<usize> {
    let (mut rows, mut bytes) = (0, 0);
    let fits = pieces[at..].iter().take_while(|piece| {
        rows += piece.live();
        bytes += piece.live_bytes();
        rows <= limits.rows_max && bytes <= limits.bytes_max
    });
    at..at + fits.count().max(1)
}

#[cfg(test)]
mod tests;
