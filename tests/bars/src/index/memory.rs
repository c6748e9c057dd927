//! What an index takes.

use super::{
    beside::Lazy,
    dataset,
    mapped::Resident,
    ours::{BIT1_F16, F32, SQ8_F16},
    vectors_bytes,
};
use crate::report::{Report, Required::AtMost};

const MEBIBYTE: f64 = 1048576.0;

/// Measures the bars.
pub(super) fn bars(report: &mut Report, lazy: &Lazy<'_>) {
    report.bar("memory-f32-over-vectors", AtMost(1.15), || {
        let vectors = vectors_bytes(&dataset(lazy.args)?)? / MEBIBYTE;
        Ok(lazy.run()?.engine(F32.name)?.build_mb(1)? / vectors)
    });
    report.bar("memory-sq8-f16-over-hnswlib", AtMost(0.85), || {
        let theirs = lazy.run()?.engine("hnswlib")?.build_mb(1)?;
        Ok(SQ8_F16.build_mb(&dataset(lazy.args)?)? / theirs)
    });
    report.bar("memory-bit1-resident-over-f32-vectors", AtMost(0.25), || {
        let dataset = dataset(lazy.args)?;
        let resident = Resident::of(&BIT1_F16.built_image(&dataset)?)?;
        eprintln!("  {resident:?}");
        Ok(resident.without_vectors() as f64 / vectors_bytes(&dataset)?)
    });
}
