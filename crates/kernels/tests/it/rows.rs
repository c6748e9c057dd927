//! One query against many stored rows.

use std::any::TypeId;

use longbow_kernels::{Complex, Number, ROW_ALIGN, Simd, Stored, bf16, f16, reals, rows_at, scalar};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::twin::{DOUBLE, SINGLE, agrees_narrow, all_finite};

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[expect(dead_code, reason = "read as elements")] [u8; ROW_ALIGN]);

/// A row of whole cache lines, in an allocation that ends where it ends.
pub struct Row<T> {
    lines: Vec<Line>,
    of: std::marker::PhantomData<T>,
}

impl<T: Stored> Row<T> {
    pub fn new(elements: &[T]) -> Self {
        assert!(elements.len().is_multiple_of(T::LANE));
        let mut lines = vec![Line([0; ROW_ALIGN]); elements.len() / T::LANE];
        // SAFETY: the lines have as many bytes as the elements.
        unsafe {
            lines
                .as_mut_ptr()
                .cast::<T>()
                .copy_from_nonoverlapping(elements.as_ptr(), elements.len());
        }
        Self {
            lines,
            of: std::marker::PhantomData,
        }
    }

    fn elements(&self) -> &[T] {
        // SAFETY: the lines hold elements, as many as fit, and are aligned to more than one of them.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.lines.len() * T::LANE) }
    }

    fn as_ptr(&self) -> *const T {
        self.lines.as_ptr().cast()
    }
}

/// Squared distance and product, added up in 64 bits, and the sizes of the terms of either.
fn twins<T: Stored>(query: &[T::Query], row: &[T]) -> [(f64, f64); 2] {
    let mut sums = [(0.0, 0.0); 2];
    for (q, x) in query.iter().zip(row) {
        let x = x.to_query();
        let difference = q.minus(x);
        for (sum, term) in sums
            .iter_mut()
            .zip([difference * difference, q.wide() * x.wide()])
        {
            *sum = (sum.0 + term, sum.1 + term.abs());
        }
    }
    sums
}

/// Holds every supported instruction set against the twin, within the error that [`longbow_kernels::Rows`] states.
pub fn check<T: Stored>(query: &[T::Query], rows: &[Row<T>]) {
    let n = query.len() as f64;
    let addresses: Vec<*const T> = rows.iter().map(Row::as_ptr).collect();
    let relative = if TypeId::of::<T::Query>() == TypeId::of::<f32>() {
        (n / 4.0 + 8.0) * SINGLE
    } else {
        // The twin rounds as often.
        (n * 1.25 + 8.0) * DOUBLE
    };
    for simd in Simd::ALL {
        let Some(kernels) = rows_at::<T>(simd) else {
            continue;
        };
        let (mut l2, mut dot) = (vec![f32::NAN; rows.len()], vec![f32::NAN; rows.len()]);
        // SAFETY: lengths are multiples of the lane, rows are aligned and as long as the query.
        unsafe {
            (kernels.l2)(query, &addresses, &mut l2);
            (kernels.dot)(query, &addresses, &mut dot);
        }
        for (one, of_run) in [(&l2, kernels.l2_of_run), (&dot, kernels.dot_of_run)] {
            let mut run = vec![f32::NAN; rows.len()];
            // SAFETY: as above.
            unsafe { of_run(query, &addresses, &mut run) };
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            assert!(one.iter().zip(&run).all(same), "{simd:?}: {one:?} {run:?}");
        }
        for (i, row) in rows.iter().enumerate() {
            let row = row.elements();
            let all_finite = all_finite(query) && all_finite(row);
            let got = [("l2", l2[i]), ("dot", dot[i])];
            for ((metric, got), (twin, size)) in got.into_iter().zip(twins(query, row)) {
                let bound = relative * size + SINGLE * twin.abs() + (n + 1.0) * f64::from(f32::from_bits(1));
                assert!(
                    agrees_narrow(got, twin, bound, all_finite),
                    "{simd:?} {metric} of row {i} of {}, {n} elements: {got} {twin} {bound}",
                    rows.len()
                );
            }
        }
    }
}

/// Checks rows and queries of random numbers, an element of either of the size that rows of the type have.
fn check_random<T: Stored>(make: impl Fn(f64) -> T) {
    let mut rng = SmallRng::seed_from_u64(7);
    for lanes in [0, 1, 2, 3, 12] {
        let mut vector = || -> Vec<T> {
            (0..lanes * T::LANE)
                .map(|_| make(rng.random_range(-1.0..1.0)))
                .collect()
        };
        let rows: Vec<Row<T>> = (0..23).map(|_| Row::new(&vector())).collect();
        let query: Vec<T::Query> = vector().into_iter().map(T::to_query).collect();
        for count in [0, 1, 2, 3, 4, 5, 8, 23] {
            check(&query, &rows[..count]);
        }
    }
}

#[test]
fn rows_agree_with_the_twin() {
    check_random::<f16>(f16::from_f64);
    check_random::<bf16>(bf16::from_f64);
    check_random::<f32>(|x| x as f32);
    check_random::<f64>(|x| x);
    check_random::<i8>(|x| (x * 127.0) as i8);
    check_random::<u8>(|x| (x.abs() * 255.0) as u8);
    check_random::<i16>(|x| (x * 32767.0) as i16);
    check_random::<u16>(|x| (x.abs() * 65535.0) as u16);
    check_random::<i32>(|x| (x * 2e9) as i32);
    check_random::<u32>(|x| (x.abs() * 4e9) as u32);
    check_random::<i64>(|x| (x * 9e18) as i64);
    check_random::<u64>(|x| (x.abs() * 18e18) as u64);
}

/// A row of whole lanes, the rest zeros.
fn padded<T: Stored>(elements: &[T]) -> Row<T> {
    let mut elements = elements.to_vec();
    elements.resize(elements.len().next_multiple_of(T::LANE), T::default());
    Row::new(&elements)
}

#[test]
fn cosines_of_rows_agree_with_the_twin() {
    fn check<T: Stored>(make: fn(f64) -> T) {
        let mut rng = SmallRng::seed_from_u64(10);
        for len in [1, 5, 96, 384] {
            let mut vector = || -> Vec<T> { (0..len).map(|_| make(rng.random_range(-1.0..1.0))).collect() };
            let (query, mut rows) = (vector(), (0..9).map(|_| vector()).collect::<Vec<_>>());
            rows.push(vec![T::default(); len]);
            let norm = |row: &[T]| row.iter().map(|x| x.wide().powi(2)).sum::<f64>().sqrt();
            let scale = |row: &[T]| {
                Some(1.0 / norm(row))
                    .filter(|scale| scale.is_finite())
                    .unwrap_or(0.0)
            };
            let scales: Vec<f32> = rows.iter().map(|row| scale(row) as f32).collect();
            let unit = query.iter().map(|x| T::query_from_f64(x.wide() * scale(&query)));
            let mut unit: Vec<T::Query> = unit.collect();
            unit.resize(len.next_multiple_of(T::LANE), T::Query::default());
            let stored: Vec<Row<T>> = rows.iter().map(|row| padded(row)).collect();
            let addresses: Vec<*const T> = stored.iter().map(Row::as_ptr).collect();
            for simd in Simd::ALL {
                let Some(kernels) = rows_at::<T>(simd) else {
                    continue;
                };
                let mut out = vec![f32::NAN; rows.len()];
                // SAFETY: as above.
                unsafe { kernels.cosine(&unit, &addresses, &scales, &mut out) };
                for (row, got) in rows.iter().zip(out) {
                    let twin = scalar::cosine(&query, row);
                    let bound = (len as f64 / 4.0 + 16.0) * SINGLE;
                    assert!(
                        (f64::from(got) - twin).abs() <= bound,
                        "{simd:?} {len} {got} {twin}"
                    );
                }
            }
        }
    }
    check::<f16>(f16::from_f64);
    check::<bf16>(bf16::from_f64);
    check::<f32>(|x| x as f32);
    check::<f64>(|x| x);
    check::<i8>(|x| (x * 127.0) as i8);
    check::<u8>(|x| (x.abs() * 255.0) as u8);
    check::<i16>(|x| (x * 32767.0) as i16);
    check::<u16>(|x| (x.abs() * 65535.0) as u16);
    check::<i32>(|x| (x * 2e9) as i32);
    check::<u32>(|x| (x.abs() * 4e9) as u32);
    check::<i64>(|x| (x * 9e18) as i64);
    check::<u64>(|x| (x.abs() * 18e18) as u64);
}

#[test]
fn rows_of_complex_numbers_are_rows_of_their_reals() {
    fn check<T: Stored + Number>(make: fn(f64) -> T, unit: f64) {
        let mut rng = SmallRng::seed_from_u64(11);
        for len in [1, 7, 96] {
            let mut vector = || -> Vec<Complex<T>> {
                let mut part = || make(rng.random_range(-1.0..1.0));
                (0..len)
                    .map(|_| Complex {
                        re: part(),
                        im: part(),
                    })
                    .collect()
            };
            let (query, rows) = (vector(), (0..6).map(|_| vector()).collect::<Vec<_>>());
            let stored: Vec<Row<T>> = rows.iter().map(|row| padded(reals(row))).collect();
            let addresses: Vec<*const T> = stored.iter().map(Row::as_ptr).collect();
            let wide = padded(reals(&query));
            let wide: Vec<T::Query> = wide.elements().iter().map(|x| x.to_query()).collect();
            for simd in Simd::ALL {
                let Some(kernels) = rows_at::<T>(simd) else {
                    continue;
                };
                let (mut l2, mut dot) = ([f32::NAN; 6], [f32::NAN; 6]);
                // SAFETY: as above.
                unsafe {
                    (kernels.l2)(&wide, &addresses, &mut l2);
                    (kernels.dot)(&wide, &addresses, &mut dot);
                }
                for (i, row) in rows.iter().enumerate() {
                    let bound = (len as f64 + 16.0) * unit * 8.0 * len as f64 + SINGLE * 8.0 * len as f64;
                    assert!((f64::from(l2[i]) - scalar::l2_complex(&query, row)).abs() <= bound);
                    assert!((f64::from(dot[i]) - scalar::hermitian(&query, row).re).abs() <= bound);
                }
            }
        }
    }
    check::<f32>(|x| x as f32, SINGLE);
    check::<f64>(|x| x, DOUBLE);
}

#[test]
fn equal_rows_are_equally_far_wherever_they_stand() {
    fn check<T: Stored>(make: fn(f32) -> T) {
        let mut rng = SmallRng::seed_from_u64(8);
        let mut numbers = || {
            (0..6 * T::LANE)
                .map(|_| rng.random_range(-2.0..2.0))
                .collect::<Vec<f32>>()
        };
        let row = Row::new(&numbers().into_iter().map(make).collect::<Vec<T>>());
        let query: Vec<T::Query> = numbers().into_iter().map(T::query_from_f32).collect();
        for simd in Simd::ALL {
            let Some(kernels) = rows_at::<T>(simd) else {
                continue;
            };
            for kernel in [kernels.l2, kernels.dot] {
                let rows = [row.as_ptr(); 11];
                for count in 1..=rows.len() {
                    let mut out = vec![f32::NAN; count];
                    // SAFETY: as above.
                    unsafe { kernel(&query, &rows[..count], &mut out) };
                    let mut one = [f32::NAN];
                    // SAFETY: as above.
                    unsafe { kernel(&query, &rows[..1], &mut one) };
                    assert!(
                        out.iter().all(|d| d.to_bits() == one[0].to_bits()),
                        "{simd:?} {out:?}"
                    );
                }
            }
        }
    }
    check::<f16>(f16::from_f32);
    check::<bf16>(bf16::from_f32);
    check::<f32>(|x| x);
    check::<f64>(f64::from);
    check::<i8>(|x| (x * 60.0) as i8);
    check::<u16>(|x| (x.abs() * 3e4) as u16);
    check::<i64>(|x| (x * 4e15) as i64);
}

/// Vectors whose squares overflow 32 bits, or vanish in them: each answer is the twin's, rounded to 32 bits.
#[test]
fn huge_and_tiny_rows_agree_with_the_twin() {
    fn check_scaled<T: Stored>(make: fn(f32) -> T, scales: &[f32], query_scales: &[f32]) {
        let mut rng = SmallRng::seed_from_u64(9);
        let mut numbers = |scale: f32| -> Vec<f32> {
            (0..5 * T::LANE)
                .map(|_| rng.random_range(-2.0..2.0) * scale)
                .collect()
        };
        for &scale in scales {
            for &query_scale in query_scales {
                let mut row = || Row::new(&numbers(scale).into_iter().map(make).collect::<Vec<T>>());
                let rows: Vec<Row<T>> = (0..7).map(|_| row()).collect();
                let query = numbers(query_scale).into_iter().map(T::query_from_f32);
                check(&query.collect::<Vec<_>>(), &rows);
            }
        }
    }
    let scales = [1.0, 1e30, 1e-30, 1e19, 1e-19, 1e38, 1e-42];
    check_scaled::<f32>(|x| x, &scales, &scales);
    check_scaled::<bf16>(bf16::from_f32, &scales, &scales);
    check_scaled::<f64>(f64::from, &scales, &scales);
    check_scaled::<f16>(f16::from_f32, &[1.0, 1e4, 1e-4, 1e-7], &scales);
    check_scaled::<i8>(|x| x as i8, &[60.0, 1.0], &scales);
    check_scaled::<u8>(|x| x.abs() as u8, &[120.0, 1.0], &scales);
    check_scaled::<i16>(|x| x as i16, &[1e4, 1.0], &scales);
    check_scaled::<u16>(|x| x.abs() as u16, &[3e4, 1.0], &scales);
    check_scaled::<i32>(|x| x as i32, &[1e9, 1.0], &scales);
    check_scaled::<i64>(|x| x as i64, &[4e18, 1.0], &scales);
}
