//! Element types behind one interface, so that everything above is compiled once and not once for each of them.
//!
//! A call takes as many rows as there are to compare: what it costs to find out the type is not seen.

use std::slice;

use longbow_kernels::{Element, Metric, Number, Stored, bf16, f16, prefetch_lines, rows};

use crate::{
    extremes::{self, Unit},
    query::QueryVector,
};

/// Rows whose kernels run together.
pub(crate) const GROUP_ROWS: usize = 4;

/// A query made ready for distances: widened, padded, and of unit length for the cosine metric.
///
/// Its elements are all f32, all f64 or all pairs of f64, as the rows' type wants them.
#[derive(Default)]
pub(crate) struct Query {
    words: Vec<u64>,
}

impl Query {
    fn elements<N: Number>(&self) -> &[N] {
        let len = self.words.len() * size_of::<u64>() / size_of::<N>();
        // SAFETY: `N` is a float or a pair of them (`Stored::Query`); any bits are one, and words are aligned for it.
        unsafe { slice::from_raw_parts(self.words.as_ptr().cast(), len) }
    }

    /// As many elements as asked for, an even number, whatever they are.
    fn resized<N: Number>(&mut self, len: usize) -> &mut [N] {
        debug_assert!(len.is_multiple_of(2));
        self.words.resize(len * size_of::<N>() / size_of::<u64>(), 0);
        // SAFETY: as `elements`; nobody else has them.
        unsafe { slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), len) }
    }
}

/// What is to be done with rows of one element type. Rows are given as their bytes.
pub(crate) trait Kind: Send + Sync {
    /// Bytes of an element.
    fn size(&self) -> usize;

    /// Appends a row's elements, wherever its bytes stand.
    fn values(&self, row: &[u8], out: &mut Vec<f64>);

    /// Whether elements have more than 32 bits of precision or range, and queries too.
    fn is_wide(&self) -> bool;

    /// Makes a caller's query ready, of unit length if it is to be: `padded` elements, those that are missing zero.
    fn prepare(&self, query: QueryVector<'_>, unit: bool, padded: usize, out: &mut Query);

    /// Makes a row ready as a query, multiplied by `scale`.
    fn prepare_row(&self, row: &[u8], scale: Option<f64>, padded: usize, out: &mut Query);

    /// One distance in the metric, whatever the size of the numbers: see [`extremes`].
    fn distance(&self, metric: Metric, query: &Query, row: &[u8]) -> f32;

    /// Squared Euclidean distances for L2, inner products otherwise. Meanwhile asks for `lines` cache lines of each row
    /// of `next`, little by little.
    ///
    /// # Safety
    /// The query was made ready here; each row points at as many readable elements as that has, and starts on a cache
    /// line.
    unsafe fn compare(
        &self,
        metric: Metric,
        query: &Query,
        rows: &[*const u8],
        next: &[*const u8],
        lines: usize,
        out: &mut [f32],
    );

    /// As [`Kind::compare`], of rows that follow each other in memory, or nearly so.
    ///
    /// # Safety
    /// As [`Kind::compare`].
    unsafe fn compare_run(&self, metric: Metric, query: &Query, rows: &[*const u8], out: &mut [f32]);
}

/// The type of the parts of complex numbers, of the elements otherwise.
pub(crate) fn kind_of(element: Element) -> Box<dyn Kind> {
    match element {
        Element::F16 => Of::<f16>::boxed(),
        Element::BF16 => Of::<bf16>::boxed(),
        Element::F32 | Element::Complex64 => Of::<f32>::boxed(),
        Element::I8 => Of::<i8>::boxed(),
        Element::I16 => Of::<i16>::boxed(),
        Element::I32 => Of::<i32>::boxed(),
        Element::I64 => Of::<i64>::boxed(),
        Element::U8 => Of::<u8>::boxed(),
        Element::U16 => Of::<u16>::boxed(),
        Element::U32 => Of::<u32>::boxed(),
        Element::U64 => Of::<u64>::boxed(),
        // F64 and Complex128; there are no others.
        _ => Of::<f64>::boxed(),
    }
}

/// Elements widened together, which of f16 is several times as fast as one after the other.
const WIDENED: usize = 64;

/// The kind of a type.
struct Of<T: Stored> {
    kernels: longbow_kernels::Rows<T>,
}

impl<T: Stored> Of<T> {
    fn boxed() -> Box<dyn Kind> {
        Box::new(Self { kernels: rows::<T>() })
    }

    /// An element wherever it stands.
    fn read(bytes: &[u8]) -> T {
        assert_eq!(bytes.len(), size_of::<T>());
        // SAFETY: as many bytes, and any bits are an element.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    }

    fn addresses(rows: &[*const u8]) -> &[*const T] {
        // SAFETY: pointers are alike, whatever they point at.
        unsafe { slice::from_raw_parts(rows.as_ptr().cast(), rows.len()) }
    }

    fn elements(row: &[u8]) -> &[T] {
        assert!(row.as_ptr().cast::<T>().is_aligned());
        // SAFETY: any bits are an element, and they are aligned.
        unsafe { slice::from_raw_parts(row.as_ptr().cast(), row.len() / size_of::<T>()) }
    }
}

/// Makes the numbers of a query ready.
fn fill<T: Stored>(query: impl Iterator<Item = f64> + Clone, unit: bool, padded: usize, out: &mut Query) {
    let elements = out.resized::<T::Query>(padded);
    elements.fill(T::Query::default());
    let unit = unit.then(|| Unit::of(query.clone()));
    for (element, x) in elements.iter_mut().zip(query) {
        *element = T::query_from_f64(unit.as_ref().map_or(x, |unit| unit.times(x)));
    }
}

impl<T: Stored> Kind for Of<T> {
    fn size(&self) -> usize {
        size_of::<T>()
    }

    fn values(&self, row: &[u8], out: &mut Vec<f64>) {
        let mut elements = [T::default(); WIDENED];
        let mut widened = [T::Query::default(); WIDENED];
        for bytes in row.chunks(WIDENED * size_of::<T>()) {
            let count = bytes.len() / size_of::<T>();
            for (element, bytes) in elements.iter_mut().zip(bytes.chunks_exact(size_of::<T>())) {
                *element = Self::read(bytes);
            }
            T::widen(&elements[..count], &mut widened[..count]);
            out.extend(widened[..count].iter().map(|x| x.wide()));
        }
    }

    fn is_wide(&self) -> bool {
        size_of::<T::Query>() > size_of::<f32>()
    }

    fn prepare(&self, query: QueryVector<'_>, unit: bool, padded: usize, out: &mut Query) {
        match query {
            QueryVector::F32(query) => fill::<T>(query.iter().map(|&x| x.into()), unit, padded, out),
            QueryVector::F64(query) => fill::<T>(query.iter().copied(), unit, padded, out),
            QueryVector::Row(row) if unit => {
                let row = row.chunks_exact(size_of::<T>()).map(Self::read);
                fill::<T>(row.map(|x| x.to_query().wide()), unit, padded, out);
            }
            QueryVector::Row(row) => {
                let elements = out.resized::<T::Query>(padded);
                elements.fill(T::Query::default());
                for (element, x) in elements.iter_mut().zip(row.chunks_exact(size_of::<T>())) {
                    *element = Self::read(x).to_query();
                }
            }
        }
    }

    fn prepare_row(&self, row: &[u8], scale: Option<f64>, padded: usize, out: &mut Query) {
        let row = Self::elements(row);
        let (elements, rest) = out.resized::<T::Query>(padded).split_at_mut(row.len());
        T::widen(row, elements);
        rest.fill(T::Query::default());
        if let Some(scale) = scale {
            elements.iter_mut().for_each(|x| *x = T::scale_query(*x, scale));
        }
    }

    fn distance(&self, metric: Metric, query: &Query, row: &[u8]) -> f32 {
        let row = Self::elements(row).iter().map(|x| x.to_query());
        let pairs = query.elements::<T::Query>().iter().copied().zip(row);
        match metric {
            Metric::L2 => extremes::l2(pairs),
            Metric::Dot => -extremes::dot(pairs),
            Metric::Cosine => extremes::cosine(pairs),
        }
    }

    unsafe fn compare(
        &self,
        metric: Metric,
        query: &Query,
        rows: &[*const u8],
        next: &[*const u8],
        lines: usize,
        out: &mut [f32],
    ) {
        let kernel = if metric == Metric::L2 {
            self.kernels.l2
        } else {
            self.kernels.dot
        };
        let (query, rows) = (query.elements::<T::Query>(), Self::addresses(rows));
        let mut next = next.chunks(GROUP_ROWS);
        for (group, out) in rows.chunks(GROUP_ROWS).zip(out.chunks_mut(GROUP_ROWS)) {
            let next = next.next().into_iter().flatten();
            next.for_each(|&row| prefetch_lines(row, lines));
            // SAFETY: passed on to the caller; the padding is to a multiple of the lane.
            unsafe { kernel(query, group, out) };
        }
    }

    unsafe fn compare_run(&self, metric: Metric, query: &Query, rows: &[*const u8], out: &mut [f32]) {
        let kernel = if metric == Metric::L2 {
            self.kernels.l2_of_run
        } else {
            self.kernels.dot_of_run
        };
        // SAFETY: passed on to the caller; the padding is to a multiple of the lane.
        unsafe { kernel(query.elements::<T::Query>(), Self::addresses(rows), out) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_rows_become_the_same_elements() {
        for element in Element::ALL {
            let kind = kind_of(element);
            // 1, 2, 3 as little-endian integers, or as whatever floats have these bits.
            let size = kind.size();
            let mut words = [0u64; 3];
            // SAFETY: as many bytes, initialised.
            let bytes: &mut [u8] = unsafe { slice::from_raw_parts_mut(words.as_mut_ptr().cast(), 3 * size) };
            for (at, element) in bytes.chunks_exact_mut(size).enumerate() {
                element[0] = at as u8 + 1;
            }
            let mut values = Vec::new();
            kind.values(bytes, &mut values);
            assert_eq!(values.len(), 3);
            let (mut of_row, mut of_query) = (Query::default(), Query::default());
            kind.prepare_row(bytes, None, 64, &mut of_row);
            let query: Vec<f32> = values.iter().map(|&x| x as f32).collect();
            kind.prepare(QueryVector::F32(&query), false, 64, &mut of_query);
            if values.iter().zip(&query).all(|(&x, &y)| x == f64::from(y)) {
                // Pairs of floats may hold the same number in two ways.
                let pairs = matches!(element, Element::I64 | Element::U64);
                assert!(pairs || of_row.words == of_query.words, "{element:?}");
            }
            kind.prepare(QueryVector::Row(bytes), false, 64, &mut of_query);
            assert_eq!(of_row.words, of_query.words, "{element:?}");
        }
    }
}
