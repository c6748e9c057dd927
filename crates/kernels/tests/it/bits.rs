//! Codes of one bit.

use longbow_kernels::{BitsFn, Simd, bits_at};
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// The definition, bit by bit.
fn definition(query: &[u8], row: &[u64]) -> u32 {
    let bit = |i: usize| u32::from(row[i / 64] >> (i % 64) & 1 == 1);
    query
        .iter()
        .enumerate()
        .map(|(i, &q)| u32::from(q) * bit(i))
        .sum()
}

/// The planes of a query, one element of `planes` bits for each bit of a row.
fn planes_of(query: &[u8], planes: usize) -> Vec<u64> {
    let words = query.len() / 64;
    let mut out = vec![0u64; planes * words];
    for (i, &q) in query.iter().enumerate() {
        for plane in 0..planes {
            out[plane * words + i / 64] |= u64::from(q >> plane & 1) << (i % 64);
        }
    }
    out
}

#[test]
fn products_are_exact() {
    let mut rng = SmallRng::seed_from_u64(5);
    for words in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 24, 48, 1024] {
        let mut rows = vec![vec![u64::MAX; words], vec![0; words]];
        rows.extend((0..9).map(|_| (0..words).map(|_| rng.random()).collect::<Vec<u64>>()));
        for planes in [1, 4, 8] {
            let max = ((1u16 << planes) - 1) as u8;
            let mut queries = vec![vec![max; words * 64], vec![0; words * 64]];
            queries.push((0..words * 64).map(|_| rng.random_range(0..=max)).collect());
            for query in &queries {
                let expected: Vec<u32> = rows.iter().map(|row| definition(query, row)).collect();
                let packed = planes_of(query, planes);
                for simd in Simd::ALL {
                    let Some(bits) = bits_at(simd) else { continue };
                    let kernel: BitsFn = match planes {
                        1 => bits.one,
                        4 => bits.four,
                        _ => bits.eight,
                    };
                    for count in 0..=rows.len() {
                        let addresses: Vec<*const u64> =
                            rows[..count].iter().map(|row| row.as_ptr()).collect();
                        let mut out = vec![u32::MAX; count];
                        // SAFETY: rows have as many words as a plane.
                        unsafe { kernel(&packed, &addresses, &mut out) };
                        assert_eq!(out, expected[..count], "{simd:?} {words} words, {planes} planes");
                    }
                }
            }
        }
    }
}
