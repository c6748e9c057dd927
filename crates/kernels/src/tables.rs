//! Macros that fill the dispatch tables of one instruction set with functions that carry its target features.
//!
//! Functions that hand out a table are unsafe: what is in it may be called without asking for the features.

/// Makes functions that fill the tables of one-to-many kernels.
macro_rules! rows_of {
    ($features:literal; |$query:ident, $rows:ident, $out:ident| $($t:ident: $($metric:ident => $kernel:expr),*;)*) => {
        $(/// # Safety
        /// The machine must have the instruction set.
        pub(crate) unsafe fn $t() -> Rows<$t> {
            $(/// # Safety
            /// As [`crate::RowFn`].
            #[target_feature(enable = $features)]
            unsafe fn $metric($query: &[<$t as Stored>::Query], $rows: &[*const $t], $out: &mut [f32]) {
                // SAFETY: passed on to the caller; this function has the features.
                unsafe { $kernel }
            })*
            Rows { $($metric),* }
        })*
    };
}

/// Makes a function `$name` that fills a table of one-to-one kernels of `$t`.
macro_rules! pair_of {
    ($features:literal; $name:ident, $t:ty; |$a:ident, $b:ident| $l2:expr, $dot:expr, $cosine:expr) => {
        /// # Safety
        /// The machine must have the instruction set.
        // Named as the type is.
        #[allow(non_snake_case)]
        pub(crate) unsafe fn $name() -> crate::Pair<$t> {
            #[target_feature(enable = $features)]
            #[allow(unused_unsafe)]
            fn l2($a: &[$t], $b: &[$t]) -> f64 {
                // SAFETY: this function has the features.
                unsafe { $l2 }
            }
            #[target_feature(enable = $features)]
            #[allow(unused_unsafe)]
            fn dot($a: &[$t], $b: &[$t]) -> f64 {
                // SAFETY: as above.
                unsafe { $dot }
            }
            #[target_feature(enable = $features)]
            #[allow(unused_unsafe)]
            fn cosine($a: &[$t], $b: &[$t]) -> f64 {
                // SAFETY: as above.
                unsafe { $cosine }
            }
            // A closure around each would be one more jump, which shows in vectors of a few registers.
            // SAFETY: the caller knows that the machine has the features, and functions of slices are called alike whatever
            // those are.
            let table = |kernel| unsafe {
                std::mem::transmute::<unsafe fn(&[$t], &[$t]) -> f64, fn(&[$t], &[$t]) -> f64>(kernel)
            };
            crate::Pair {
                l2: table(l2),
                dot: table(dot),
                cosine: table(cosine),
            }
        }
    };
}

/// Makes a function `$name` that gives the Hermitian product of `$t`.
macro_rules! hermitian_of {
    ($features:literal; $name:ident, $t:ty => $lanes:ty) => {
        /// # Safety
        /// The machine must have the instruction set.
        // Named as the type is.
        #[allow(non_snake_case)]
        pub(crate) unsafe fn $name() -> crate::HermitianFn<$t> {
            #[target_feature(enable = $features)]
            fn product(a: &[$t], b: &[$t]) -> crate::Complex128 {
                // SAFETY: this function has the features.
                unsafe {
                    crate::lane_pairs::hermitian::<$lanes>(crate::complex::reals(a), crate::complex::reals(b))
                }
            }
            // SAFETY: the caller knows that the machine has the features.
            |a, b| unsafe { product(a, b) }
        }
    };
}

/// Makes the modules `pair` and `rows` that fill the dispatch tables of one instruction set.
macro_rules! kernels {
    ($features:literal; floats: $($t:ident => $lanes:ty),*; complex: $($c:ident => $reals:ty),*;
     $(bytes: $($b:ident => ($bytes:ty, $byte_lanes:ty)),*;)? small: $($s:ident),*; plain: $($p:ident),*) => {
        pub(crate) mod pair {
            use half::{bf16, f16};
            use crate::{Complex64, Complex128, Pair, complex::reals, integer, lane_pairs, scalar};
            use super::*;

            $(crate::tables::pair_of! { $features; $t, $t; |a, b|
                lane_pairs::l2::<$lanes>(a, b),
                lane_pairs::dot::<$lanes>(a, b),
                lane_pairs::cosine::<$lanes>(a, b)
            })*
            $(crate::tables::pair_of! { $features; $c, $c; |a, b|
                lane_pairs::l2::<$reals>(reals(a), reals(b)),
                lane_pairs::dot::<$reals>(reals(a), reals(b)),
                lane_pairs::cosine::<$reals>(reals(a), reals(b))
            })*
            $($(crate::tables::pair_of! { $features; $b, $b; |a, b|
                <$bytes as crate::bytes::Products>::l2(a, b),
                <$bytes as crate::bytes::Products>::dot(a, b),
                <$bytes as crate::bytes::Products>::cosine(a, b)
            })*)?
            $(crate::tables::pair_of! { $features; $s, $s; |a, b|
                integer::l2(a, b), integer::dot(a, b), integer::cosine(a, b)
            })*
            $(/// # Safety
            /// Nothing is needed here; unsafe as other tables are.
            pub(crate) unsafe fn $p() -> Pair<$p> {
                Pair { l2: scalar::l2, dot: scalar::dot, cosine: scalar::cosine }
            })*
        }
        pub(crate) mod hermitian {
            use crate::{Complex64, Complex128};
            use super::*;

            $(crate::tables::hermitian_of! { $features; $c, $c => $reals })*
        }
        pub(crate) mod rows {
            use half::{bf16, f16};
            use crate::{Rows, Stored, integer_rows, lane_rows, lanes};
            use super::*;

            crate::tables::rows_of! { $features; |query, rows, out|
                $($t:
                    l2 => lane_rows::sums::<$lanes, lanes::L2>(query, rows, out),
                    dot => lane_rows::sums::<$lanes, lanes::Dot>(query, rows, out),
                    l2_of_run => lane_rows::sums_of_run::<$lanes, lanes::L2>(query, rows, out),
                    dot_of_run => lane_rows::sums_of_run::<$lanes, lanes::Dot>(query, rows, out);
                )*
                $($($b:
                    l2 => lane_rows::sums::<$byte_lanes, lanes::L2>(query, rows, out),
                    dot => lane_rows::sums::<$byte_lanes, lanes::Dot>(query, rows, out),
                    l2_of_run => lane_rows::sums_of_run::<$byte_lanes, lanes::L2>(query, rows, out),
                    dot_of_run => lane_rows::sums_of_run::<$byte_lanes, lanes::Dot>(query, rows, out);
                )*)?
                // These take rows one after the other anyway.
                $($s:
                    l2 => integer_rows::l2(query, rows, out),
                    dot => integer_rows::dot(query, rows, out),
                    l2_of_run => integer_rows::l2(query, rows, out),
                    dot_of_run => integer_rows::dot(query, rows, out);
                )*
                $($p:
                    l2 => integer_rows::l2(query, rows, out),
                    dot => integer_rows::dot(query, rows, out),
                    l2_of_run => integer_rows::l2(query, rows, out),
                    dot_of_run => integer_rows::dot(query, rows, out);
                )*
            }
        }
    };
}
/// Makes a function `words` that gives the word-wise kernels of bitsets.
macro_rules! words_of {
    ($features:literal) => {
        /// The kernels of bitsets.
        ///
        /// # Safety
        /// The machine must have the instruction set.
        pub(crate) unsafe fn words() -> crate::words::Words {
            #[target_feature(enable = $features)]
            fn and(a: &mut [u64], b: &[u64]) {
                crate::words::combine(a, b, |a, b| a & b);
            }
            #[target_feature(enable = $features)]
            fn or(a: &mut [u64], b: &[u64]) {
                crate::words::combine(a, b, |a, b| a | b);
            }
            #[target_feature(enable = $features)]
            fn andnot(a: &mut [u64], b: &[u64]) {
                crate::words::combine(a, b, |a, b| a & !b);
            }
            #[target_feature(enable = $features)]
            fn not(a: &mut [u64]) {
                crate::words::invert(a);
            }
            #[target_feature(enable = $features)]
            fn count(a: &[u64]) -> usize {
                crate::words::ones(a)
            }
            crate::words::Words {
                // SAFETY: the caller knows that the machine has the features.
                and: |a, b| unsafe { and(a, b) },
                // SAFETY: as above.
                or: |a, b| unsafe { or(a, b) },
                // SAFETY: as above.
                andnot: |a, b| unsafe { andnot(a, b) },
                // SAFETY: as above.
                not: |a| unsafe { not(a) },
                // SAFETY: as above.
                count: |a| unsafe { count(a) },
            }
        }
    };
}

pub(crate) use {hermitian_of, kernels, pair_of, rows_of, words_of};
