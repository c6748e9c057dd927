//! The index as its users see it, whatever it walks on.

use std::{
    io::{self, Write},
    marker::PhantomData,
    ops::Range,
};

use longbow_kernels::Bitset;

use crate::{
    clock::Clock,
    code::Levels,
    coded::Coded,
    error::{Cancelled, Error, SearchError},
    extremes,
    hnsw::Hnsw,
    image::{HOLE, Header, Image, ImageError, ImageMemory, ImageSummary},
    memory::Memory,
    params::{
        Answer, Neighbor, Params, Quantization, REALS_MAX, RangeParams, RecallTarget, SearchParams, Stats,
    },
    query::{Asked, Queries, QueryVector},
    signs::Signs,
    space::Points,
    store::Store,
};

/// A point in the sequence of rows that an index was given; see [`VectorIndex::mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Slots below were appended before.
    appended: u32,
    /// So many rows were inserted into slots that were used before.
    queued: u64,
}

/// An index over the vectors of one dataset partition; see the [crate docs](crate).
pub struct VectorIndex {
    params: Params,
    quantization: Quantization,
    inner: Box<dyn Erased>,
}

impl VectorIndex {
    /// An empty index that traverses the vectors themselves.
    ///
    /// # Panics
    /// As [`VectorIndex::with_quantization`].
    pub fn new(params: Params) -> Self {
        Self::with_quantization(params, Quantization::None)
    }

    /// An empty index.
    ///
    /// # Panics
    /// If the parameters are not ones that [`VectorIndex::try_new`] takes.
    pub fn with_quantization(params: Params, quantization: Quantization) -> Self {
        Self::try_new(params, quantization).unwrap_or_else(|error| panic!("{error}"))
    }

    /// An empty index.
    ///
    /// # Errors
    /// [`Error::TooLong`] if vectors have more than [`REALS_MAX`] real numbers; nothing was allocated.
    pub fn try_new(params: Params, quantization: Quantization) -> Result<Self, Error> {
        let dimension = params.dimension;
        match dimension.checked_mul(params.element.reals()) {
            Some(reals) if reals <= REALS_MAX => {
                Ok(Self::make(params, quantization, None).expect("only an image can be wrong"))
            }
            _ => Err(Error::TooLong {
                dimension,
                limit: REALS_MAX,
            }),
        }
    }

    /// The index that [`VectorIndex::write_image`] wrote, as it was then. The memory becomes the index: nothing is built,
    /// and nothing big is copied.
    ///
    /// Links, and all that the graph is followed by, are read and checked; vectors and codes are not even read: see
    /// [`verify_image`](crate::verify_image).
    pub fn from_image(memory: impl Into<ImageMemory>) -> Result<Self, ImageError> {
        let image = Image::open(memory.into())?;
        let header = image.header();
        Self::make(header.params, header.quantization, Some(&image))
    }

    fn make(params: Params, quantization: Quantization, image: Option<&Image>) -> Result<Self, ImageError> {
        let params = params.used();
        // Complex vectors are their parts: distances and the real part of the Hermitian product are those of the reals.
        let reals = Params {
            dimension: params.dimension * params.element.reals(),
            ..params
        };
        let inner = match quantization.fitting(params.element, reals.dimension) {
            Quantization::None => made::<Store>(reals, image),
            Quantization::Sq8 => made::<Coded<Levels<8>>>(reals, image),
            Quantization::Sq4 => made::<Coded<Levels<4>>>(reals, image),
            Quantization::Bit1 => made::<Coded<Signs>>(reals, image),
        }?;
        Ok(Self {
            params,
            quantization,
            inner,
        })
    }

    /// What the index was made with, as it uses them.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What the graph is traversed on.
    pub fn quantization(&self) -> Quantization {
        self.quantization
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

    /// Rows in slots below [`VectorIndex::linked`] that are not linked yet: those written by [`VectorIndex::insert`] to slots
    /// that were used before, and those that had not been linked when the image that the index is of was written.
    pub fn waiting(&self) -> usize {
        self.inner.waiting()
    }

    /// A mark behind every row appended or inserted so far.
    pub fn mark(&self) -> Mark {
        // In this order, as rows are counted: a row that this finds was written before.
        Mark {
            queued: self.inner.queued(),
            appended: self.inner.len(),
        }
    }

    /// Whether every row before a mark is linked, or was removed before its turn came.
    pub fn passed(&self, mark: Mark) -> bool {
        self.inner.linked() >= mark.appended && self.inner.unqueued() >= mark.queued
    }

    /// Says that no search will find this slot any more, nor anybody get its vector, until
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

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> Memory {
        self.inner.memory()
    }

    /// Whether a slot was appended and not removed.
    pub fn holds(&self, slot: u32) -> bool {
        self.inner.holds(slot)
    }

    /// Appends to `out` the bytes a slot was appended with. False, and nothing is appended, if the slot was removed.
    ///
    /// # Panics
    /// If the slot was never appended.
    pub fn vector(&self, slot: u32, out: &mut Vec<u8>) -> bool {
        self.inner.vector(slot, out)
    }

    /// Writes the slots below `upto` as they are, so that [`VectorIndex::from_image`] makes an index of the bytes.
    ///
    /// Runs beside everything else, which goes on; only what is removed is not freed meanwhile. The image has every row
    /// that is neither free when this begins nor removed before it ends. Rows linked while it is written may be in the
    /// image as rows that are still to be linked. Needs a few bits per slot and a MiB of memory.
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::Unsupported`] on a big-endian machine.
    pub fn write_image(&self, upto: u32, out: &mut dyn Write) -> io::Result<ImageSummary> {
        self.inner.save(&mut self.header(), upto, None, out)
    }

    /// The slots in an order in which neighbours lie near each other, without those that are free. For
    /// [`VectorIndex::write_image_in_order`]. Helps little, and only where rows came in no order of their own.
    pub fn locality_order(&self) -> Vec<u32> {
        self.inner.locality_order()
    }

    /// As [`VectorIndex::write_image`], with slot `order[new]` of this index as slot `new` of the image, and without
    /// those that are not in `order`. Links to these are left out too: take them out by [`VectorIndex::vacuum`] first,
    /// or leave them in and removed. Where `order` has a [`HOLE`] the image has a free slot.
    ///
    /// # Errors
    /// As [`VectorIndex::write_image`], and [`io::ErrorKind::InvalidInput`] if `order` names a slot twice or one that was
    /// never appended.
    pub fn write_image_in_order(&self, order: &[u32], out: &mut dyn Write) -> io::Result<ImageSummary> {
        let mut seen = Bitset::new(self.len() as usize);
        for &slot in order.iter().filter(|&&slot| slot != HOLE) {
            if slot as usize >= seen.len() || seen.get(slot as usize) {
                let reason = format!("the order has slot {slot} twice, or it was never appended");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            seen.set(slot as usize);
        }
        self.inner.save(&mut self.header(), u32::MAX, Some(order), out)
    }

    fn header(&self) -> Header {
        Header {
            params: self.params,
            quantization: self.quantization,
            slots: 0,
        }
    }

    /// The allowed slots nearest to `query`, sorted by distance, then slot. A complex query is given as real and
    /// imaginary parts in turn.
    ///
    /// `allow` holds the slots that may be returned: visible, live and matching; slots at or beyond its length are
    /// not allowed. `cancel` is asked every few hops. Never fewer than `k` neighbours while `k` slots are allowed.
    pub fn search<'q>(
        &self,
        query: impl Into<QueryVector<'q>>,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(Vec<Neighbor>, Stats), SearchError> {
        let mut out = Vec::with_capacity(params.k.min(self.len() as usize));
        let stats = self.search_into(query, params, allow, cancel, &mut out)?;
        Ok((out, stats))
    }

    /// As [`VectorIndex::search`], into a vector of the caller's, which is empty after an error: allocates nothing once
    /// everything has grown.
    pub fn search_into<'q>(
        &self,
        query: impl Into<QueryVector<'q>>,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, SearchError> {
        self.search_timed(query, params, allow, cancel, None, out)
    }

    /// As [`VectorIndex::search_into`]; by a clock, if there is one, it is told how long the parts of the search took.
    pub fn search_timed<'q>(
        &self,
        query: impl Into<QueryVector<'q>>,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        clock: Option<Clock<'_>>,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, SearchError> {
        out.clear();
        let query = self.checked(query.into())?;
        let stats = self.inner.search(query, params, allow, cancel, clock, out)?;
        self.tell(out);
        Ok(stats)
    }

    /// Answers many queries, each as [`VectorIndex::search`] would. Scans read a row once for many queries. `out` gets
    /// an answer per query, in order; allocates nothing once everything has grown and if as many queries are asked as last time.
    pub fn search_batch<'q, Q: Copy + Into<QueryVector<'q>>>(
        &self,
        queries: &[Q],
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Answer>,
    ) -> Result<(), SearchError> {
        out.iter_mut().for_each(Answer::clear);
        for &query in queries {
            self.checked(query.into())?;
        }
        out.resize_with(queries.len(), Answer::default);
        let of = PhantomData;
        self.inner
            .search_batch(&Asked { queries, of }, params, allow, cancel, out)?;
        out.iter_mut().for_each(|answer| self.tell(&mut answer.neighbors));
        Ok(())
    }

    /// The allowed slots at most `params.radius` away from `query`, sorted as by [`VectorIndex::search`], into `out`:
    /// the nearest `params.limit` of them. Says whether there are more.
    ///
    /// A traversal may miss some, as any search may; [`Mode::Exact`](crate::Mode::Exact) misses none.
    pub fn search_range<'q>(
        &self,
        query: impl Into<QueryVector<'q>>,
        params: &RangeParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<(Stats, bool), SearchError> {
        out.clear();
        let query = self.checked(query.into())?;
        let mut params = *params;
        if self.is_wide() {
            params.radius = extremes::radius(params.radius);
        }
        let answer = self.inner.search_range(query, &params, allow, cancel, out)?;
        self.tell(out);
        Ok(answer)
    }

    /// The `k` nearest of the allowed slots in `range`, exactly, into `out`: a share of an exact search for one of
    /// several threads. The nearest of all shares' answers are the nearest of all.
    pub fn scan<'q>(
        &self,
        query: impl Into<QueryVector<'q>>,
        k: usize,
        range: Range<u32>,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, SearchError> {
        out.clear();
        let query = self.checked(query.into())?;
        let stats = self.inner.scan(query, k, range, allow, cancel, out)?;
        self.tell(out);
        Ok(stats)
    }

    /// A query that is as long as a row.
    fn checked<'q>(&self, query: QueryVector<'q>) -> Result<QueryVector<'q>, SearchError> {
        let reals = self.params.element.reals();
        let (expected, size) = (self.params.dimension * reals, self.params.element.bytes() / reals);
        query.checked(expected, size)
    }

    /// Whether distances are kept as `extremes` says.
    fn is_wide(&self) -> bool {
        self.params.element.is_wide()
    }

    /// Makes distances what a caller is told.
    fn tell(&self, found: &mut [Neighbor]) {
        if self.is_wide() {
            found
                .iter_mut()
                .for_each(|neighbor| neighbor.distance = extremes::told(neighbor.distance));
        }
    }

    /// How to search for `k` of the allowed slots so that on average `target` of them are found: from what
    /// [`VectorIndex::calibrate`] measured, or carefully guessed before. The answer says in
    /// [`Stats::recall`](crate::Stats::recall) what may be expected.
    pub fn aim(&self, k: usize, target: RecallTarget, allow: &Bitset) -> SearchParams {
        self.inner.aim(k, target, allow)
    }

    /// Measures which beam gives which recall, with up to `max` queries; returns how many it tried. 0 means that
    /// there is nothing to do now: the index is small, being built, or has changed little since it was measured. A
    /// query takes an exact scan for each of a few filters, and some hundred searches; `cancel` is asked every few hops,
    /// and ends the query in progress, which then counts as not tried.
    ///
    /// May run beside everything else; of several callers one works.
    pub fn calibrate(&self, max: usize, cancel: &dyn Fn() -> bool) -> usize {
        self.inner.calibrate(max, cancel)
    }
}

fn made<S: Points + 'static>(params: Params, image: Option<&Image>) -> Result<Box<dyn Erased>, ImageError> {
    let mut hnsw = Hnsw::<S>::new(params);
    if let Some(image) = image {
        hnsw.load(image)?;
    }
    Ok(Box::new(hnsw))
}

/// Declares what an index does whatever it walks on, and that [`Hnsw`] does it by its method of the same name.
macro_rules! erased {
    ($(fn $name:ident(&self $(, $argument:ident: $type:ty)* $(,)?) $(-> $answer:ty)?;)*) => {
        /// An index with what it walks on hidden.
        trait Erased: Send + Sync {
            $(fn $name(&self, $($argument: $type),*) $(-> $answer)?;)*
        }

        impl<S: Points> Erased for Hnsw<S> {
            $(fn $name(&self, $($argument: $type),*) $(-> $answer)? {
                Hnsw::$name(self, $($argument),*)
            })*
        }
    };
}

erased! {
    fn append(&self, vectors: &[u8]) -> Result<Range<u32>, Error>;
    fn insert(&self, vectors: &[u8], slots: &mut Vec<u32>) -> Result<(), Error>;
    fn vacuum(&self, max: usize) -> usize;
    fn retrain(&self, max: usize) -> usize;
    fn free(&self) -> usize;
    fn len(&self) -> u32;
    fn memory(&self) -> Memory;
    fn link(&self, max: usize) -> usize;
    fn linked(&self) -> u32;
    fn waiting(&self) -> usize;
    fn queued(&self) -> u64;
    fn unqueued(&self) -> u64;
    fn remove(&self, slot: u32);
    fn holds(&self, slot: u32) -> bool;
    fn vector(&self, slot: u32, out: &mut Vec<u8>) -> bool;
    fn save(
        &self,
        header: &mut Header,
        upto: u32,
        order: Option<&[u32]>,
        out: &mut dyn Write,
    ) -> io::Result<ImageSummary>;
    fn locality_order(&self) -> Vec<u32>;
    fn search(
        &self,
        query: QueryVector<'_>,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        clock: Option<Clock<'_>>,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled>;
    fn search_batch(
        &self,
        queries: &dyn Queries,
        params: &SearchParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut [Answer],
    ) -> Result<(), Cancelled>;
    fn search_range(
        &self,
        query: QueryVector<'_>,
        params: &RangeParams,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<(Stats, bool), Cancelled>;
    fn scan(
        &self,
        query: QueryVector<'_>,
        k: usize,
        range: Range<u32>,
        allow: &Bitset,
        cancel: &dyn Fn() -> bool,
        out: &mut Vec<Neighbor>,
    ) -> Result<Stats, Cancelled>;
    fn aim(&self, k: usize, target: RecallTarget, allow: &Bitset) -> SearchParams;
    fn calibrate(&self, max: usize, cancel: &dyn Fn() -> bool) -> usize;
}
