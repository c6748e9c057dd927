//! One bit per row, from loops that the compiler turns into vector instructions.

use arrow::buffer::{BooleanBuffer, Buffer};

use super::key::Keyed;
use super::probe::FixedProbe;

/// Rows of one word of bits.
const BLOCK: usize = 64;

/// One byte per row of a block, 0 or 1.
type Lanes = [u8; BLOCK];

/// The bits of values that pass a test.
pub(super) fn pack<N: Copy>(values: &[N], test: impl Fn(N) -> bool) -> BooleanBuffer {
    by_block(values, |block, lanes| {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane = u8::from(test(value));
        }
    })
}

fn by_block<N>(values: &[N], fill: impl Fn(&[N], &mut Lanes)) -> BooleanBuffer {
    // Of whole blocks the compiler knows the length.
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    let mut words = Vec::with_capacity(blocks.len() + 1);
    words.extend(blocks.iter().map(|block| filled(block, &fill)));
    if !rest.is_empty() {
        words.push(filled(rest, &fill));
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, values.len())
}

#[inline(always)]
fn filled<N>(block: &[N], fill: impl Fn(&[N], &mut Lanes)) -> u64 {
    let mut lanes = [0; BLOCK];
    fill(block, &mut lanes);
    word(&lanes)
}

/// The lowest bits of the lanes. Eight of them at once: the product moves bit 8i to bit 56+i, and no two sums meet.
fn word(lanes: &Lanes) -> u64 {
    lanes.as_chunks::<8>().0.iter().rev().fold(0, |word, eight| {
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word << 8 | bits
    })
}

/// The bits of values whose keys are in a set.
pub(super) fn probed<N: Keyed>(values: &[N], probe: &FixedProbe) -> BooleanBuffer {
    match probe {
        FixedProbe::Ranges(ranges) => {
            let ranges: Vec<_> = ranges.iter().filter_map(|range| narrow::<N>(*range)).collect();
            match ranges.as_slice() {
                [] => BooleanBuffer::new_unset(values.len()),
                [one] => in_range(values, *one),
                ranges => in_ranges(values, ranges),
            }
        }
        // One loop for each kind of probe, so that none asks which it is at every row.
        probe @ FixedProbe::Table { .. } => pack(values, |value| probe.contains(value.key().into())),
        FixedProbe::Keys(keys) => pack(values, |value| keys.contains(&value.key().into())),
        FixedProbe::Turns(turns) => pack(values, |value| {
            let key = value.key().into();
            turns.partition_point(|turn| *turn <= key) % 2 == 1
        }),
    }
}

/// A range as keys of the type; an end beyond them is open, and a range beyond them is none: values may be narrower than
/// the column was when the filter was read.
fn narrow<N: Keyed>((low, high): (i128, i128)) -> Option<(N::Key, N::Key)> {
    if low > N::HIGH.into() || high < N::LOW.into() {
        return None;
    }
    Some((
        N::Key::try_from(low).unwrap_or(N::LOW),
        N::Key::try_from(high).unwrap_or(N::HIGH),
    ))
}

fn in_range<N: Keyed>(values: &[N], (low, high): (N::Key, N::Key)) -> BooleanBuffer {
    if low == high {
        pack(values, |value| value.key() == low)
    } else if low == N::LOW {
        pack(values, |value| value.key() <= high)
    } else if high == N::HIGH {
        pack(values, |value| value.key() >= low)
    } else {
        pack(values, |value| (value.key() >= low) & (value.key() <= high))
    }
}

fn in_ranges<N: Keyed>(values: &[N], ranges: &[(N::Key, N::Key)]) -> BooleanBuffer {
    by_block(values, |block, lanes| {
        for &(low, high) in ranges {
            for (lane, &value) in lanes.iter_mut().zip(block) {
                *lane |= u8::from((value.key() >= low) & (value.key() <= high));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Ranges are those of a wider type than the values'.
        #[test]
        fn ranges_beyond_the_type_hold_nothing(
            values in proptest::collection::vec(any::<i8>(), 0..100),
            ends in proptest::collection::vec((-400..400_i128, -400..400_i128), 1..4),
        ) {
            let ranges: Vec<_> = ends.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let bits = probed(&values, &FixedProbe::Ranges(ranges.clone()));
            let expected: Vec<bool> = values
                .iter()
                .map(|&value| ranges.iter().any(|(low, high)| (*low..=*high).contains(&value.into())))
                .collect();
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), expected);
        }

        #[test]
        fn bits_stand_where_the_values_stood(values in proptest::collection::vec(any::<bool>(), 0..200)) {
            let bits = pack(&values, |value| value);
            prop_assert_eq!(bits.iter().collect::<Vec<_>>(), values);
        }
    }
}
