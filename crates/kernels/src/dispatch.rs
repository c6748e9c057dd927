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
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Simd::Avx512 => {
                Simd::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vnni")
                    && is_x86_feature_detected!("bmi2")
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

    /// The instruction set that `LONGBOW_SIMD` forces, if it is set and not empty.
    ///
    /// # Errors
    /// If it names none, or one that this machine does not have. [`Simd::active`] passes over it then, so a program
    /// that cares checks at start.
    pub fn from_env() -> Result<Option<Simd>, UnknownSimd> {
        std::env::var_os(SIMD_ENV).map_or(Ok(None), |name| Simd::forced(&name.to_string_lossy()))
    }

    /// As [`Simd::from_env`], for a value of the variable.
    ///
    /// # Errors
    /// As [`Simd::from_env`].
    pub fn forced(name: &str) -> Result<Option<Simd>, UnknownSimd> {
        match name.trim() {
            "" => Ok(None),
            name => match Simd::parse(name) {
                Some(simd) if simd.is_supported() => Ok(Some(simd)),
                known => Err(UnknownSimd {
                    name: name.to_owned(),
                    known: known.is_some(),
                }),
            },
        }
    }

    /// The instruction set in use: the one `LONGBOW_SIMD` names where the machine has it, else the best.
    ///
    /// Decided on first use and never changed afterwards.
    pub fn active() -> Simd {
        static ACTIVE: OnceLock<Simd> = OnceLock::new();
        *ACTIVE.get_or_init(|| Simd::from_env().ok().flatten().unwrap_or_else(Simd::best))
    }
}

/// `LONGBOW_SIMD` asks for what is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSimd {
    name: String,
    known: bool,
}

impl UnknownSimd {
    /// The values that this machine accepts.
    pub fn accepted() -> String {
        let names = Simd::ALL.into_iter().filter(|simd| simd.is_supported());
        names.map(Simd::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl std::fmt::Display for UnknownSimd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, known } = self;
        let accepted = Self::accepted();
        if *known {
            write!(
                f,
                "{SIMD_ENV}={name}: this machine does not have it; it has {accepted}"
            )
        } else {
            let all = Simd::ALL.map(Simd::as_str).join(", ");
            write!(
                f,
                "{SIMD_ENV}={name} names no instruction set; there are {all}, and this machine has {accepted}"
            )
        }
    }
}

impl std::error::Error for UnknownSimd {}

/// Whether AVX-512's counter of set bits, an extension that not every AVX-512 machine has, is there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_vpopcntdq() -> bool {
    Simd::Avx512.is_supported() && is_x86_feature_detected!("avx512vpopcntdq")
}

/// Whether AVX-512's products of brain floats are there.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_bf16() -> bool {
    Simd::Avx512.is_supported() && is_x86_feature_detected!("avx512bf16")
}
