//! What graph construction and traversal need to know about vectors: distances from a prepared query to slots.

use std::{io, ops::Range};

use crate::{
    error::Error,
    image::{Image, ImageError, Saver},
    params::Params,
    query::QueryVector,
    store::Store,
};

/// Most slots of one [`Space::distances`] call.
pub(crate) const GROUP: usize = 128;

/// A set of stored points with distances to them.
///
/// An epoch (crossbeam) is pinned from before a query is made ready to its last use: what it is compared with may be
/// replaced meanwhile.
pub(crate) trait Space: Send + Sync {
    /// A query made ready for distances.
    type Query: Default + Send;
    /// Of the nearest by estimated distance, how many for each one wanted are looked at again on the vectors, at most.
    const CANDIDATES: usize = 2;
    /// One in so many rows of a scan is a candidate in addition, because estimates that are this coarse mix up what lies
    /// far from the query; 0: none.
    const MIXED_SHARE: usize = 0;

    /// Where distances rise by less than so much with their estimates, by 1 where these are right, and rows beyond those
    /// looked at may be nearer, vectors are compared instead.
    const TELLING: f64 = 0.8;

    /// Makes a caller's query ready, which has as many elements as a row.
    fn prepare(&self, query: QueryVector<'_>, out: &mut Self::Query);

    /// Makes a stored point ready as a query.
    fn prepare_slot(&self, slot: u32, out: &mut Self::Query);

    /// Distances from the query to at most [`GROUP`] published slots, asking for memory ahead of use.
    fn distances(&self, query: &Self::Query, slots: &[u32], out: &mut [f32]);

    /// Asks for the beginning of a slot's data.
    fn prefetch(&self, slot: u32);

    /// Bytes that a distance reads, about: what scans and traversals cost depends on it.
    fn bytes(&self) -> usize {
        256
    }

    /// Slots that many queries are compared with before the next ones; at most [`GROUP`].
    fn tile(&self) -> usize {
        GROUP
    }

    /// Slots that a scan takes together; at most [`GROUP`].
    fn stretch(&self) -> usize {
        self.tile()
    }

    /// As [`Space::distances`] where the slots of `ahead` are next; may ask for their memory meanwhile, and count on
    /// having been told of `slots` before.
    #[inline(always)]
    fn stream(&self, query: &Self::Query, slots: &[u32], ahead: &[u32], out: &mut [f32]) {
        let _ = ahead;
        self.distances(query, slots, out);
    }

    /// Standard deviation of a distance from what it is between the vectors; 0 where distances are exact.
    fn deviation(&self, _query: &Self::Query, _slot: u32) -> f32 {
        0.0
    }

    /// As [`Space::deviation`], of the distance between two slots.
    fn deviation_between(&self, _one: u32, _other: u32) -> f32 {
        0.0
    }
}

/// A space that takes new points and keeps the vectors they came from.
pub(crate) trait Points: Space + Sized {
    /// Whether distances are only estimates of those between vectors.
    const QUANTIZED: bool;
    /// Whether those between slots are estimates too.
    const LINKED_BY_ESTIMATE: bool = Self::QUANTIZED;

    /// None yet; complex numbers are given as twice as many dimensions.
    fn new(params: &Params) -> Self;

    /// Appends rows of native-endian bytes. `prepare` runs with the new length before anything is written,
    /// `written` with each new slot before any of them is published.
    fn append(
        &self,
        bytes: &[u8],
        prepare: impl FnOnce(usize) -> Result<(), Error>,
        written: impl FnMut(u32),
    ) -> Result<Range<u32>, Error>;

    /// Writes a row of native-endian bytes to a slot that was appended before.
    ///
    /// # Safety
    /// Nobody reads or writes the slot meanwhile.
    unsafe fn overwrite(&self, slot: u32, bytes: &[u8]);

    /// Writes a section for every array with a row per slot; [`Points::load`] finds them by their tags.
    fn save(&self, to: &mut Saver<'_>) -> io::Result<()>;

    /// Takes over the rows of an image; `self` is new.
    fn load(&mut self, image: &Image) -> Result<(), ImageError>;

    /// So many rows were removed.
    fn removed(&self, _rows: usize) {}

    /// Makes estimates fit the rows that are held again, looking at up to `max` slots. Returns how many; 0: nothing to do
    /// now.
    fn retrain(&self, _max: usize, _is_held: &dyn Fn(u32) -> bool) -> usize {
        0
    }

    /// Bytes of memory that codes take beside the vectors, and that those of one more row take.
    fn code_memory(&self) -> (usize, usize) {
        (0, 0)
    }

    /// The vectors.
    fn rows(&self) -> &Store;
}
