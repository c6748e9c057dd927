//! Codes of 8 and 4 bits.

use longbow_kernels::{CODE_LANE, Simd, codes_at};
use rand::{Rng, SeedableRng, rngs::SmallRng};

#[test]
fn products_are_exact() {
    let mut rng = SmallRng::seed_from_u64(3);
    for lanes in [0, 1, 2, 6, 48, 1024] {
        let len = lanes * CODE_LANE;
        let mut queries: Vec<Vec<i8>> = vec![vec![127; len], vec![-127; len]];
        queries.push((0..len).map(|_| rng.random_range(-127..=127)).collect());
        let mut rows: Vec<Vec<u8>> = vec![vec![255; len], vec![0; len]];
        rows.extend((0..9).map(|_| (0..len).map(|_| rng.random()).collect::<Vec<u8>>()));
        for query in &queries {
            for count in 0..=rows.len() {
                let addresses: Vec<*const u8> = rows[..count].iter().map(|row| row.as_ptr()).collect();
                let expected: Vec<i32> = rows[..count]
                    .iter()
                    .map(|row| {
                        row.iter()
                            .zip(query)
                            .map(|(&x, &q)| i32::from(x) * i32::from(q))
                            .sum()
                    })
                    .collect();
                for simd in Simd::ALL {
                    let Some(kernels) = codes_at(simd) else { continue };
                    let mut out = vec![i32::MIN; count];
                    // SAFETY: lengths are multiples of the lane; rows are as long as the query.
                    unsafe { (kernels.bytes)(query, &addresses, &mut out) };
                    assert_eq!(out, expected, "{simd:?} {len}");
                    if lanes % 2 == 0 {
                        out.fill(i32::MIN);
                        // Copies, so that nothing lies behind them that could be read unseen.
                        let halves: Vec<Vec<u8>> =
                            rows[..count].iter().map(|row| row[..len / 2].to_vec()).collect();
                        let addresses: Vec<*const u8> = halves.iter().map(|row| row.as_ptr()).collect();
                        // SAFETY: as above; rows are half as long as the query.
                        unsafe { (kernels.nibbles)(query, &addresses, &mut out) };
                        let expected: Vec<i32> = halves.iter().map(|row| nibbles(query, row)).collect();
                        assert_eq!(out, expected, "{simd:?} {len}");
                    }
                }
            }
        }
    }
}

fn nibbles(query: &[i8], row: &[u8]) -> i32 {
    let half = query.len() / 2;
    let code = |i: usize| i32::from(if i < half { row[i] & 15 } else { row[i - half] >> 4 });
    query
        .iter()
        .enumerate()
        .map(|(i, &q)| i32::from(q) * code(i))
        .sum()
}
