//! A random rotation, so that no coordinate of a vector stands out and all can share one step.
//!
//! The signs come from a seed, so the rotation is the same wherever the index is.

use longbow_kernels::rotate;

use crate::mix::{STEP, mix};

/// Rotations work on multiples of this many coordinates.
const ROTATION_LANE: usize = 64;

const ROUNDS: usize = 4;

/// An orthogonal map of vectors of one length.
pub(crate) struct Rotation {
    /// +1 or -1, [`ROUNDS`] times the length.
    signs: Vec<f32>,
    len: usize,
}

impl Rotation {
    /// A rotation of `len` coordinates, a multiple of [`ROTATION_LANE`].
    pub(crate) fn new(len: usize, seed: u64) -> Self {
        debug_assert!(len > 0 && len.is_multiple_of(ROTATION_LANE));
        let mut state = seed;
        let mut signs = Vec::with_capacity(ROUNDS * len);
        while signs.len() < ROUNDS * len {
            state = state.wrapping_add(STEP);
            let bits = mix(state);
            signs.extend((0..64).map(|bit| if bits >> bit & 1 == 1 { 1.0f32 } else { -1.0 }));
        }
        Self { signs, len }
    }

    /// Coordinates of a vector.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Rotates a vector in place.
    pub(crate) fn apply(&self, vector: &mut [f32]) {
        debug_assert_eq!(vector.len(), self.len);
        rotate(vector, &self.signs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(vector: &[f32]) -> f32 {
        vector.iter().map(|x| x * x).sum::<f32>().sqrt()
    }

    #[test]
    fn lengths_and_angles_survive_and_spikes_do_not() {
        for len in [64, 128, 192, 384, 1536] {
            let rotation = Rotation::new(len, 5);
            for spike in [0, 1, len / 2, len - 1] {
                let mut a = vec![0.0; len];
                a[spike] = 3.0;
                let mut b: Vec<f32> = (0..len).map(|i| ((i * 37 % 11) as f32) - 5.0).collect();
                let (product, length) = (3.0 * b[spike], norm(&b));
                rotation.apply(&mut a);
                rotation.apply(&mut b);
                assert!((norm(&a) - 3.0).abs() < 1e-4 && (norm(&b) - length).abs() < 1e-2);
                let rotated: f32 = a.iter().zip(&b).map(|(x, y)| x * y).sum();
                assert!((rotated - product).abs() < 1e-2 * length);
                // No coordinate of a rotated spike holds more than a few standard deviations.
                let largest = a.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                assert!(
                    largest < 3.0 * 6.0 / (len as f32).sqrt(),
                    "{len} {spike} {largest}"
                );
            }
        }
    }
}
