//! The index as its users see it, whatever the element type.

use std::ops::Range;

use longbow_kernels::{Bitset, Element, Stored, bf16, f16};

use crate::{
    code::Levels,
    coded::Coded,
    error::{Cancelled, Error},
    hnsw::Hnsw,
    params::{Neighbor, Params, Quantization, SearchParams, Stats},
    signs::Signs,
    space::Points,
    store::Store,
};

/// An index over the vectors of one dataset partition; see the [crate docs](crate).
pub struct VectorIndex {
    params: Params,
    inner: Box<dyn Erased>,
}

impl VectorIndex {
    /// An empty index that traverses the vectors themselves.
    pub fn new(params: Params) -> Self {
        Self::with_quantization(params, Quantization::None)
    }

    /// An empty index.
    pub fn with_quantization(params: Params, quantization: Quantization) -> Self {
        // Complex vectors are their parts: distances and the real part of the Hermitian product are those of the reals.
        let reals = Params {
            dimension: params.dimension * params.element.reals(),
            ..params
        };
        let make = match params.element {
            Element::F16 => erased::<f16>,
            Element::BF16 => erased::<bf16>,
            Element::F32 | Element::Complex64 => erased::<f32>,
            Element::I8 => erased::<i8>,
            Element::I16 => erased::<i16>,
            Element::I32 => erased::<i32>,
            Element::I64 => erased::<i64>,
            Element::U8 => erased::<u8>,
            Element::U16 => erased::<u16>,
            Element::U32 => erased::<u32>,
            Element::U64 => erased::<u64>,
            _ => erased::<f64>,
        };
        Self {
            params,
            inner: make(reals, quantization.fitting(params.element, reals.dimension)),
        }
    }

    /// What the index was made with.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Appends rows given as native-endian bytes of the element type and returns their slots.
    ///
    /// Cheap: nothing is linked; searches cover the new slots at once by scanning them. One writer at a time (a
    /// second one waits).
    pub fn append(&self, vectors: &[u8]) -> Result<Range<u32>, Error> {
        self.inner.append(vectors)
    }

    /// As [`VectorIndex::append`], into slots that were removed and freed as long as there are some; `slots` gets the
    /// rows' slots, in order. The new slots are searched at once too. On an error nothing was written.
    pub fn insert(&self, vectors: &[u8], slots: &mut Vec<u32>) -> Result<(), Error> {
        self.inner.insert(vectors, slots)
    }

    /// Slots appended.
    pub fn len(&self) -> u32 {
        self.inner.len()
    }

    /// Whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes up to `max` unlinked slots and links them into the graph; 0 means that nothing is left to take.
    ///
    /// May run on many threads at once, beside appends and searches.
    pub fn link(&self, max: usize) -> usize {
        self.inner.link(max)
    }

    /// Every slot below is linked (or was removed before its turn came).
    pub fn linked(&self) -> u32 {
        self.inner.linked()
    }

    /// Says that no search will allow this slot any more, nor anybody ask for its vector, until
    /// [`VectorIndex::insert`] hands it out again.
    pub fn remove(&self, slot: u32) {
        self.inner.remove(slot);
    }

    /// Takes removed slots out of the graph, looking at up to `max` nodes, and frees them for
    /// [`VectorIndex::insert`]. Returns how many were looked at; 0 means that there is nothing to do now, because few
    /// slots were removed or searches that began before still run.
    ///
    /// May run beside everything else; of several callers one works.
    pub fn vacuum(&self, max: usize) -> usize {
        self.inner.vacuum(max)
    }

    /// Codes up to `max` slots anew if the data has drifted from what its codes were made for. Returns how many; 0 means
    /// that there is nothing to do now.
    ///
    /// May run beside everything else; meanwhile there are codes of both kinds in memory.
    pub fn retrain(&self, max: usize) -> usize {
        self.inner.retrain(max)
    }

    /// Slots that [`VectorIndex::insert`] will use before it appends.
    pub fn free(&self) -> usize {
        self.inner.free()
    }

    /// Appends to `out` the bytes a slot was appended with.
    ///
    /// # Panics
    /// If the slot was never appended.
    pub fn vector(&self, slot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.inner.bytes(slot));
    }

    /// The allowed slots nearest to `query`, sorted by distance, then slot. A complex query is given as real and
    /// imaginary parts in turn.
    ///
    /// `allow` holds the slots that may be returned: visible, live and matching; slots at or beyond its length are
    /// not allowed. `cancel` is asked every few hops. Never fewer than `k` neighbours while `k` slots are allowed.
    pub fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(Vec<Neighbor>, Stats), Cancelled> {
        let mut out = Vec::with_capacity(params.k.min(self.len() as usize));
        let stats = self.search_into(query, params, allow, cancel, &mut out)?;
        Ok((out, stats))
    }

    /// As [`VectorIndex::search`], into a vector of the caller's: allocates nothing once everything has grown.
    pub fn search_into(
        &self,
        query: &[f32],
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled> {
        self.inner.search(query, params, allow, cancel, out)
    }
}

fn erased<T: Stored>(params: Params, quantization: Quantization) -> Box<dyn Erased> {
    match quantization {
        Quantization::None => Box::new(Hnsw::<Store<T>>::new(params)),
        Quantization::Sq8 => Box::new(Hnsw::<Coded<T, Levels<8>>>::new(params)),
        Quantization::Bit1 => Box::new(Hnsw::<Coded<T, Signs>>::new(params)),
        Quantization::Sq4 => Box::new(Hnsw::<Coded<T, Levels<4>>>::new(params)),
    }
}

/// An index with its element type hidden.
trait Erased: Send + Sync {
    fn append(&self, vectors: &[u8]) -> Result<Range<u32>, Error>;
    fn insert(&self, vectors: &[u8], slots: &mut Vec<u32>) -> Result<(), Error>;
    fn vacuum(&self, max: usize) -> usize;
    fn retrain(&self, max: usize) -> usize;
    fn free(&self) -> usize;
    fn len(&self) -> u32;
    fn link(&self, max: usize) -> usize;
    fn linked(&self) -> u32;
    fn remove(&self, slot: u32);
    fn bytes(&self, slot: u32) -> &[u8];
    fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled>;
}

impl<S: Points> Erased for Hnsw<S> {
    fn append(&self, vectors: &[u8]) -> Result<Range<u32>, Error> {
        self.append(vectors)
    }

    fn insert(&self, vectors: &[u8], slots: &mut Vec<u32>) -> Result<(), Error> {
        self.insert(vectors, slots)
    }

    fn vacuum(&self, max: usize) -> usize {
        self.vacuum(max)
    }

    fn retrain(&self, max: usize) -> usize {
        self.points.retrain(max)
    }

    fn free(&self) -> usize {
        self.vacuum.free()
    }

    fn len(&self) -> u32 {
        self.len()
    }

    fn link(&self, max: usize) -> usize {
        self.link(max)
    }

    fn linked(&self) -> u32 {
        self.linked()
    }

    fn remove(&self, slot: u32) {
        self.remove(slot);
    }

    fn bytes(&self, slot: u32) -> &[u8] {
        self.bytes(slot)
    }

    fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled> {
        self.search(query, params, allow, cancel, out)
    }
}
