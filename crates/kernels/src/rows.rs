//! One query against many stored rows: the kernels of index traversal and flat scans.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::{Number, Simd, Split};

/// Rows start at multiples of this many bytes and are padded with zeros to a multiple of it.
pub const ROW_ALIGN: usize = 64;

/// A type that rows are stored in, and the type queries against them have.
pub trait Stored: Number {
    /// Element of a query.
    type Query: Number;
    /// Elements in [`ROW_ALIGN`] bytes.
    const LANE: usize = ROW_ALIGN / size_of::<Self>();
    /// Widens a stored element.
    fn to_query(self) -> Self::Query;
    /// Widens stored elements, into a slice as long.
    fn widen(row: &[Self], out: &mut [Self::Query]);
    /// Takes an element of a caller's query.
    fn query_from_f32(x: f32) -> Self::Query;
    /// Takes an element of a caller's query, rounded to what queries are made of.
    fn query_from_f64(x: f64) -> Self::Query;
    /// Multiplies an element of a query.
    fn scale_query(x: Self::Query, by: f64) -> Self::Query;
    /// Kernels of an instruction set.
    ///
    /// # Safety
    /// The machine must have it ([`Simd::is_supported`]): what [`RowFn`] asks of callers does not include that.
    #[doc(hidden)]
    unsafe fn rows_unchecked(simd: Simd) -> Rows<Self>;
}

/// Compares `query` with each of `rows`, writing one number per row.
///
/// # Safety
/// `query.len()` must be a multiple of [`Stored::LANE`]; each row must point at `query.len()` readable elements,
/// aligned to [`ROW_ALIGN`]; `out` must be as long as `rows`.
pub type RowFn<T> = unsafe fn(query: &[<T as Stored>::Query], rows: &[*const T], out: &mut [f32]);

/// Kernels that compare one query with many rows.
///
/// Rows of complex numbers are rows of their [`reals`](crate::reals): squared distances and cosines are the same, and the
/// inner product is the real part of the Hermitian one.
///
/// # Error
/// Against sums of 64 bits, as long as those stay finite: `(n/4 + 8) · u · Σ|term|` for a sum of `n` terms, where the unit
/// `u` is 2⁻²⁴ for queries of 32 bits and 2⁻⁵³ for those of 64; and what rounding to 32 bits takes away, which is all that
/// does not fit: answers may be infinite, and sums of less than `n` times 2⁻¹⁴⁹ vanish.
pub struct Rows<T: Stored> {
    /// Squared Euclidean distances.
    pub l2: RowFn<T>,
    /// Inner products.
    pub dot: RowFn<T>,
    /// As `l2`, the same to the last bit, one row after the other, while the lines behind are asked for: for rows that follow
    /// each other in memory.
    pub l2_of_run: RowFn<T>,
    /// As `dot`, like `l2_of_run`.
    pub dot_of_run: RowFn<T>,
}

impl<T: Stored> Rows<T> {
    /// `1 - cosine similarity` of a query of length 1 with each row, given the reciprocals of the rows' norms, which whoever
    /// stores rows has once for all queries. A row of no length has 0 for it, and distance 1.
    ///
    /// # Error
    /// That of the inner product times the row's scale, and two roundings to 32 bits.
    ///
    /// # Safety
    /// As [`RowFn`].
    #[inline(always)]
    pub unsafe fn cosine(&self, query: &[T::Query], rows: &[*const T], scales: &[f32], out: &mut [f32]) {
        // SAFETY: passed on to the caller.
        unsafe { (self.dot)(query, rows, out) };
        for (out, scale) in out.iter_mut().zip(scales) {
            *out = 1.0 - *out * scale;
        }
    }
}

impl<T: Stored> Clone for Rows<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Stored> Copy for Rows<T> {}

/// The kernels of the instruction set in use.
pub fn rows<T: Stored>() -> Rows<T> {
    // SAFETY: the instruction set in use is one that the machine has.
    unsafe { T::rows_unchecked(Simd::active()) }
}

/// The kernels of a given instruction set, where this machine has it.
pub fn rows_at<T: Stored>(simd: Simd) -> Option<Rows<T>> {
    // SAFETY: only where the machine has it.
    simd.is_supported().then(|| unsafe { T::rows_unchecked(simd) })
}

/// # Safety
/// As [`RowFn`].
unsafe fn scalar_l2<T: Stored>(query: &[T::Query], rows: &[*const T], out: &mut [f32]) {
    for (&row, out) in rows.iter().zip(out) {
        // SAFETY: the caller guarantees `query.len()` readable elements at each row.
        let row = unsafe { std::slice::from_raw_parts(row, query.len()) };
        let sum: f64 = query
            .iter()
            .zip(row)
            .map(|(q, x)| q.minus(x.to_query()).powi(2))
            .sum();
        *out = sum as f32;
    }
}

/// # Safety
/// As [`RowFn`].
unsafe fn scalar_dot<T: Stored>(query: &[T::Query], rows: &[*const T], out: &mut [f32]) {
    for (&row, out) in rows.iter().zip(out) {
        // SAFETY: the caller guarantees `query.len()` readable elements at each row.
        let row = unsafe { std::slice::from_raw_parts(row, query.len()) };
        let sum: f64 = query.iter().zip(row).map(|(q, x)| q.wide() * x.wide()).sum();
        *out = sum as f32;
    }
}

/// A 64-bit float as an element of a query.
macro_rules! narrowed {
    ($x:expr => Split) => {
        Split::from($x)
    };
    ($x:expr => $query:ident) => {
        $x as $query
    };
}

macro_rules! stored {
    ($($t:ident, $query:ident, |$x:ident| $widen:expr, |$row:ident, $out:ident| $slice:expr;)*) => {
        $(impl Stored for $t {
            type Query = $query;
            #[inline(always)]
            fn to_query(self) -> $query { let $x = self; $widen }
            fn widen($row: &[Self], $out: &mut [$query]) { $slice }
            #[inline(always)]
            fn query_from_f32(x: f32) -> $query { <$t>::query_from_f64(x.into()) }
            #[inline(always)]
            fn query_from_f64(x: f64) -> $query { narrowed!(x => $query) }
            #[inline(always)]
            fn scale_query(x: $query, by: f64) -> $query { narrowed!(x.wide() * by => $query) }
            unsafe fn rows_unchecked(simd: Simd) -> Rows<Self> {
                match simd {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: the caller knows that the machine has the instruction set.
                    Simd::Avx512 => unsafe { crate::avx512::rows::$t() },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Simd::Avx2 => unsafe { crate::avx2::rows::$t() },
                    #[cfg(target_arch = "aarch64")]
                    // SAFETY: as above.
                    Simd::Neon => unsafe { crate::neon::rows::$t() },
                    _ => Rows {
                        l2: scalar_l2::<$t>,
                        dot: scalar_dot::<$t>,
                        l2_of_run: scalar_l2::<$t>,
                        dot_of_run: scalar_dot::<$t>,
                    },
                }
            }
        })*
    };
}

macro_rules! stored_integers {
    ($($t:ident, $query:ident;)*) => {
        stored! { $($t, $query, |x| $query::from(x), |row, out| {
            for (out, &x) in out.iter_mut().zip(row) {
                *out = $query::from(x);
            }
        };)* }
    };
}

// Up to 16 bits fit a 32-bit float, up to 32 bits one of 64.
stored_integers! {
    i8, f32;
    i16, f32;
    u8, f32;
    u16, f32;
    i32, f64;
    u32, f64;
    i64, Split;
    u64, Split;
}

stored! {
    // One look at the processor for all elements, where `to_f32` takes one for each.
    f16, f32, |x| x.to_f32(), |row, out| row.convert_to_f32_slice(out);
    bf16, f32, |x| x.to_f32(), |row, out| row.convert_to_f32_slice(out);
    f32, f32, |x| x, |row, out| out.copy_from_slice(row);
    f64, f64, |x| x, |row, out| out.copy_from_slice(row);
}
