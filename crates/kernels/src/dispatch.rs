//! Which instruction set runs: detected once, and forced with `LONGBOW_SIMD`.

use std::sync::OnceLock;

/// Environment variable that forces an instruction set: `scalar`, `neon`, `avx2` or `avx512`.
pub const SIMD_ENV: &str = "LONGBOW_SIMD";

/// An instruction set that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Simd {
    /// Plain Rust.
    Scalar,
    /// AArch64 with NEON.
    Neon,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL, DQ and VNNI.
    Avx512,
}

impl Simd {
    /// Every instruction set, slowest first.
    pub const ALL: [Simd; 4] = [Simd::Scalar, Simd::Neon, Simd::Avx2, Simd::Avx512];

    /// Stable name, as accepted by `LONGBOW_SIMD`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Simd::Scalar => "scalar",
            Simd::Neon => "neon",
            Simd::Avx2 => "avx2",
            Simd::Avx512 => "avx512",
        }
    }

    /// The instruction set of a name.
    pub fn parse(name: &str) -> Option<Simd> {
        Self::ALL
            .into_iter()
            .find(|simd| simd.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether this machine can run it.
    pub fn is_supported(self) -> bool {
        match self {
            Simd::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            Simd::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Simd::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Simd::Avx512 => {
                Simd::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vnni")
            }
            _ => false,
        }
    }

    /// The best instruction set of this machine.
    pub fn best() -> Simd {
        Self::ALL
            .into_iter()
            .rfind(|simd| simd.is_supported())
            .unwrap_or(Simd::Scalar)
    }

    /// The instruction set in use: the one `LONGBOW_SIMD` names where the machine has it, else the best.
    ///
    /// Decided on first use and never changed afterwards.
    pub fn active() -> Simd {
        static ACTIVE: OnceLock<Simd> = OnceLock::new();
        *ACTIVE.get_or_init(|| {
            let forced = std::env::var(SIMD_ENV)
                .ok()
                .and_then(|name| Simd::parse(name.trim()));
            forced
                .filter(|simd| simd.is_supported())
                .unwrap_or_else(Simd::best)
        })
    }
}

/// Whether AVX-512's counter of set bits, an extension that not every AVX-512 machine has, is there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_vpopcntdq() -> bool {
    Simd::Avx512.is_supported() && is_x86_feature_detected!("avx512vpopcntdq")
}
