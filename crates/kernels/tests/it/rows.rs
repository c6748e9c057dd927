//! One query against many stored rows.

use longbow_kernels::{Number, ROW_ALIGN, Simd, Stored, bf16, f16, rows_at, scalar};
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// Rows of `padded` elements that start on cache lines.
struct Table<T> {
    storage: Vec<T>,
    start: usize,
    padded: usize,
}

impl<T: Stored> Table<T> {
    fn new(rows: usize, padded: usize, mut make: impl FnMut() -> T) -> Self {
        let storage: Vec<T> = (0..rows * padded + T::LANE).map(|_| make()).collect();
        let start = storage.as_ptr().align_offset(ROW_ALIGN);
        Self {
            storage,
            start,
            padded,
        }
    }

    fn row(&self, row: usize) -> &[T] {
        &self.storage[self.start + row * self.padded..][..self.padded]
    }
}

fn agrees<T: Stored<Query = Q>, Q: Number>(make: fn(f32) -> T, unit: f64) {
    let mut rng = SmallRng::seed_from_u64(7);
    for lanes in [0, 1, 2, 3, 12] {
        let padded = lanes * T::LANE;
        let table = Table::<T>::new(23, padded, || make(rng.random_range(-2.0..2.0)));
        let query: Vec<Q> = (0..padded)
            .map(|_| T::query_from_f32(rng.random_range(-2.0..2.0)))
            .collect();
        for count in [0, 1, 2, 3, 4, 5, 8, 23] {
            let rows: Vec<*const T> = (0..count).map(|row| table.row(row).as_ptr()).collect();
            for simd in Simd::ALL {
                let Some(kernels) = rows_at::<T>(simd) else {
                    continue;
                };
                let (mut l2, mut dot) = (vec![f32::NAN; count], vec![f32::NAN; count]);
                // SAFETY: lengths are multiples of the lane, rows are aligned and as long as the query.
                unsafe {
                    (kernels.l2)(&query, &rows, &mut l2);
                    (kernels.dot)(&query, &rows, &mut dot);
                }
                for row in 0..count {
                    let wide: Vec<f64> = table.row(row).iter().map(|x| x.wide()).collect();
                    let query: Vec<f64> = query.iter().map(|x| x.wide()).collect();
                    let bound = (padded as f64 / 4.0 + 8.0) * unit * 16.0 * padded as f64;
                    for (got, twin) in [
                        (l2[row], scalar::l2(&query, &wide)),
                        (dot[row], scalar::dot(&query, &wide)),
                    ] {
                        assert!(
                            (f64::from(got) - twin).abs() <= bound,
                            "{simd:?} {padded} {count} {row}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn rows_agree_with_the_twin() {
    let unit = 1.0 / (1u64 << 24) as f64;
    agrees::<f16, f32>(f16::from_f32, unit);
    agrees::<bf16, f32>(bf16::from_f32, unit);
    agrees::<f32, f32>(|x| x, unit);
    agrees::<f64, f64>(f64::from, unit);
    // Integers in 32-bit sums are bounded by their size too.
    agrees::<i8, f32>(|x| (x * 60.0) as i8, unit * 3600.0);
    agrees::<u8, f32>(|x| (x.abs() * 120.0) as u8, unit * 14_400.0);
    agrees::<i16, f32>(|x| (x * 1e4) as i16, unit * 1e8);
    agrees::<u16, f32>(|x| (x.abs() * 3e4) as u16, unit * 9e8);
    agrees::<i32, f64>(|x| (x * 1e9) as i32, unit * 1e18);
    agrees::<u32, f64>(|x| (x.abs() * 2e9) as u32, unit * 4e18);
    agrees::<i64, f64>(|x| (x * 4e15) as i64, unit * 16e30);
    agrees::<u64, f64>(|x| (x.abs() * 8e15) as u64, unit * 64e30);
}

#[test]
fn equal_rows_are_equally_far_wherever_they_stand() {
    fn check<T: Stored<Query = Q>, Q: Number>(make: fn(f32) -> T) {
        let mut rng = SmallRng::seed_from_u64(8);
        let padded = 6 * T::LANE;
        let table = Table::<T>::new(1, padded, || make(rng.random_range(-2.0..2.0)));
        let query: Vec<Q> = (0..padded)
            .map(|_| T::query_from_f32(rng.random_range(-2.0..2.0)))
            .collect();
        for simd in Simd::ALL {
            let Some(kernels) = rows_at::<T>(simd) else {
                continue;
            };
            for kernel in [kernels.l2, kernels.dot] {
                let rows = [table.row(0).as_ptr(); 11];
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
    check::<f16, f32>(f16::from_f32);
    check::<bf16, f32>(bf16::from_f32);
    check::<f32, f32>(|x| x);
    check::<f64, f64>(f64::from);
    check::<i8, f32>(|x| (x * 60.0) as i8);
    check::<u16, f32>(|x| (x.abs() * 3e4) as u16);
    check::<i64, f64>(|x| (x * 4e15) as i64);
}

/// Vectors whose squares overflow 32 bits, or vanish in them: each answer is the twin's, rounded to 32 bits.
#[test]
fn huge_and_tiny_rows_agree_with_the_twin() {
    fn check<T: Stored<Query = Q>, Q: Number>(make: fn(f32) -> T, scales: &[f32]) {
        let mut rng = SmallRng::seed_from_u64(9);
        let padded = 5 * T::LANE;
        for &scale in scales {
            for &query_scale in scales {
                let table = Table::<T>::new(7, padded, || make(rng.random_range(-2.0..2.0) * scale));
                let query: Vec<Q> = (0..padded)
                    .map(|_| T::query_from_f32(rng.random_range(-2.0..2.0) * query_scale))
                    .collect();
                let rows: Vec<*const T> = (0..7).map(|row| table.row(row).as_ptr()).collect();
                for simd in Simd::ALL {
                    let Some(kernels) = rows_at::<T>(simd) else {
                        continue;
                    };
                    let (mut l2, mut dot) = ([f32::NAN; 7], [f32::NAN; 7]);
                    // SAFETY: lengths are multiples of the lane, rows are aligned and as long as the query.
                    unsafe {
                        (kernels.l2)(&query, &rows, &mut l2);
                        (kernels.dot)(&query, &rows, &mut dot);
                    }
                    let wide_query: Vec<f64> = query.iter().map(|x| x.wide()).collect();
                    for row in 0..7 {
                        let wide: Vec<f64> = table.row(row).iter().map(|x| x.wide()).collect();
                        let sizes: f64 = wide.iter().zip(&wide_query).map(|(x, q)| (x * q).abs()).sum();
                        let exact = scalar::l2(&wide_query, &wide);
                        for (got, twin, size) in [
                            (l2[row], exact, exact),
                            (dot[row], scalar::dot(&wide_query, &wide), sizes),
                        ] {
                            let bound = (padded as f64 / 4.0 + 8.0) / (1u64 << 24) as f64 * size + 1e-36;
                            let near = (f64::from(got) - twin).abs() <= bound;
                            // An infinity of the right sign is what a 32-bit answer says of anything larger.
                            let beyond = twin.abs() + bound >= f64::from(f32::MAX)
                                && f64::from(got) == f64::INFINITY.copysign(twin);
                            assert!(near || beyond, "{simd:?} {scale} {query_scale} {got} {twin}");
                        }
                    }
                }
            }
        }
    }
    let scales = [1.0, 1e30, 1e-30, 1e19, 1e-19];
    check::<f32, f32>(|x| x, &scales);
    check::<bf16, f32>(bf16::from_f32, &scales);
    check::<f64, f64>(f64::from, &scales);
    check::<f16, f32>(f16::from_f32, &[1.0, 1e4, 1e-4, 1e-7]);
    check::<i32, f64>(|x| x as i32, &[1e9, 1.0]);
    check::<u16, f32>(|x| x.abs() as u16, &[3e4, 1.0]);
}
