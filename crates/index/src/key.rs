//! Order-preserving packing of (distance, slot) into one integer, so that queues compare one word.

/// Slots are numbered below this: one bit of a packed key is a flag.
pub(crate) const SLOTS_MAX: u32 = 1 << 31;

/// (distance, slot) in 64 bits; comparing keys compares distances, then slots. The lowest bit is a free flag.
pub(crate) type Key = u64;

/// Packs a distance and a slot. NaN counts as infinitely far.
#[inline(always)]
pub(crate) fn pack(distance: f32, slot: u32) -> Key {
    // `min` returns the other operand where one is NaN.
    u64::from(ordered(distance.min(f32::INFINITY))) << 32 | u64::from(slot) << 1
}

/// No slot at this distance has a larger key, and none farther away a smaller one.
pub(crate) fn pack_ceiling(distance: f32) -> Key {
    pack(distance, SLOTS_MAX - 1) | 1
}

/// The slot of a key.
#[inline(always)]
pub(crate) fn slot_of(key: Key) -> u32 {
    key as u32 >> 1
}

/// The distance of a key.
#[inline(always)]
pub(crate) fn distance_of(key: Key) -> f32 {
    let bits = (key >> 32) as u32;
    let sign = bits >> 31;
    // Undoes `ordered`: positive floats had their sign bit set, negative ones all bits flipped.
    f32::from_bits(if sign == 1 { bits & 0x7fff_ffff } else { !bits })
}

#[inline(always)]
fn ordered(distance: f32) -> u32 {
    let bits = (distance + 0.0).to_bits();
    bits ^ (((bits as i32 >> 31) as u32) | 0x8000_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_distances_then_slots() {
        let distances = [
            f32::NEG_INFINITY,
            -3.5,
            -1e-30,
            0.0,
            1e-40,
            0.25,
            7e8,
            f32::INFINITY,
        ];
        for (i, &a) in distances.iter().enumerate() {
            for (j, &b) in distances.iter().enumerate() {
                assert_eq!(pack(a, 9).cmp(&pack(b, 9)), i.cmp(&j), "{a} {b}");
                assert!(i == j || (pack(a, 1) < pack(b, 0)) == (i < j));
            }
            assert!(pack(a, 3) < pack(a, 4));
            assert_eq!(slot_of(pack(a, SLOTS_MAX - 1)), SLOTS_MAX - 1);
            assert_eq!(distance_of(pack(a, 5)), a);
        }
        assert_eq!(pack(-0.0, 1), pack(0.0, 1));
        assert_eq!(pack(f32::NAN, 1), pack(f32::INFINITY, 1));
        assert_eq!(pack(-f32::NAN, 1), pack(f32::INFINITY, 1));
    }
}
