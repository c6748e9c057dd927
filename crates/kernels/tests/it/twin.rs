//! What it is to say what the twin says.

use longbow_kernels::Number;

/// The rounding unit of sums of 32 bits.
pub const SINGLE: f64 = 1.0 / (1u64 << 24) as f64;
/// The rounding unit of sums of 64 bits.
pub const DOUBLE: f64 = f64::EPSILON / 2.0;

/// Whether a kernel's answer is the twin's within `bound`: infinite or no number only where the twin's is.
///
/// Of numbers that are all finite the twin answers so only if its own sums left the range of 64 bits, where nothing is
/// promised.
pub fn agrees(got: f64, twin: f64, bound: f64, all_finite: bool) -> bool {
    if twin.is_finite() {
        got.is_finite() && (got - twin).abs() <= bound
    } else {
        all_finite || got == twin || got.is_nan() && twin.is_nan()
    }
}

/// As [`agrees`] for answers of 32 bits, which say infinity of anything larger.
pub fn agrees_narrow(got: f32, twin: f64, bound: f64, all_finite: bool) -> bool {
    let beyond = got.is_infinite() && f64::from(got.signum()) * twin + bound >= f64::from(f32::MAX);
    beyond || agrees(got.into(), twin, bound, all_finite)
}

pub fn all_finite<T: Number>(numbers: &[T]) -> bool {
    numbers.iter().all(|x| x.wide().is_finite())
}
