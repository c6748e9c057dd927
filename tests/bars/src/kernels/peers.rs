//! Our kernels of one pair beside those of SimSIMD and NumKong, each through its public function.

use std::{hint::black_box, io::Write, time::Instant};

use anyhow::Result;
use longbow_kernels::{Complex, Complex64, Complex128, Pair, Paired, Simd, bf16, f16, hermitian_at, pair};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use simsimd::{ComplexProducts, SpatialSimilarity};

use super::{Ratio, interleaved};

const DIMENSIONS: [usize; 5] = [96, 384, 768, 1536, 3072];
/// Calls are timed by as many as take this long.
const BATCH_SECONDS: f64 = 10e-6;

/// Vectors of one length, as ours and as the peers want them.
struct Vectors<T> {
    a: Vec<T>,
    b: Vec<T>,
}

impl<T: Copy> Vectors<T> {
    fn new(dimension: usize, make: impl Fn(f64) -> T) -> Self {
        let mut rng = SmallRng::seed_from_u64(dimension as u64);
        let mut vector = || {
            (0..dimension)
                .map(|_| make(rng.random_range(-1.0..1.0)))
                .collect()
        };
        Self {
            a: vector(),
            b: vector(),
        }
    }
}

/// A measured function: what it gives is kept from the optimizer, so that its call stays.
type Call<'a> = Box<dyn FnMut(usize) + 'a>;

fn call<'a, R: 'a>(mut kernel: impl FnMut() -> R + 'a) -> Call<'a> {
    Box::new(move |calls| {
        for _ in 0..calls {
            black_box(kernel());
        }
    })
}

/// All comparisons.
pub fn compare(samples: &mut dyn Write) -> Result<Vec<Ratio>> {
    let mut bench = Bench {
        samples,
        ratios: Vec::new(),
    };
    for dimension in DIMENSIONS {
        bench.floats(dimension)?;
        bench.halves(dimension)?;
        bench.bytes(dimension)?;
        bench.complex(dimension)?;
    }
    Ok(bench.ratios)
}

struct Bench<'a> {
    samples: &'a mut dyn Write,
    ratios: Vec<Ratio>,
}

/// Ours, as a function of the metric.
fn ours<T: Paired>(metric: &str) -> fn(&[T], &[T]) -> f64 {
    let Pair { l2, dot, cosine } = pair::<T>();
    match metric {
        "l2" => l2,
        "dot" => dot,
        _ => cosine,
    }
}

fn simsimd_of<T: SpatialSimilarity>(metric: &str) -> fn(&[T], &[T]) -> Option<f64> {
    match metric {
        "l2" => T::l2sq,
        "dot" => T::dot,
        _ => T::cos,
    }
}

/// The peer's view of numbers that have the same bits under another name.
fn same_bits<T, U>(numbers: &[T]) -> &[U] {
    assert_eq!(
        (size_of::<T>(), align_of::<T>()),
        (size_of::<U>(), align_of::<U>())
    );
    // SAFETY: only called for transparent wrappers of u16 and for pairs of floats: any bits are a number of the other
    // type, of the same size and alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), numbers.len()) }
}

/// NumKong's three metrics of a type, which give numbers of several types.
macro_rules! numkong_calls {
    ($metric:expr, $t:ty, $a:expr, $b:expr) => {{
        let (a, b) = ($a, $b);
        match $metric {
            "l2" => call(move || <$t as numkong::Euclidean>::sqeuclidean(black_box(a), black_box(b))),
            "dot" => call(move || <$t as numkong::Dot>::dot(black_box(a), black_box(b))),
            _ => call(move || <$t as numkong::Angular>::angular(black_box(a), black_box(b))),
        }
    }};
}

const METRICS: [&str; 3] = ["l2", "dot", "cosine"];

impl Bench<'_> {
    fn run(&mut self, kernel: String, ours: Call<'_>, peers: Vec<(&'static str, Call<'_>)>) -> Result<()> {
        let mut contestants = vec![("longbow", ours)];
        contestants.extend(peers);
        let started = Instant::now();
        (contestants[0].1)(1000);
        let one = started.elapsed().as_secs_f64() / 1000.0;
        let calls = (BATCH_SECONDS / one).ceil().max(1.0) as usize;
        let medians = interleaved(&kernel, calls, &mut contestants, self.samples)?;
        for ((peer, _), median) in contestants.iter().zip(&medians).skip(1) {
            self.ratios.push(Ratio {
                kernel: kernel.clone(),
                peer,
                ratio: median / medians[0],
            });
        }
        Ok(())
    }

    fn floats(&mut self, dimension: usize) -> Result<()> {
        macro_rules! float {
            ($t:ident) => {
                let Vectors { a, b } = &Vectors::new(dimension, |x| x as $t);
                for metric in METRICS {
                    let (ours, simsimd) = (ours::<$t>(metric), simsimd_of::<$t>(metric));
                    self.run(
                        format!("{}-{metric}-{dimension}", stringify!($t)),
                        call(move || ours(black_box(a), black_box(b))),
                        vec![
                            ("simsimd", call(move || simsimd(black_box(a), black_box(b)))),
                            ("numkong", numkong_calls!(metric, $t, &a[..], &b[..])),
                        ],
                    )?;
                }
            };
        }
        float!(f32);
        float!(f64);
        Ok(())
    }

    fn halves(&mut self, dimension: usize) -> Result<()> {
        macro_rules! half {
            ($t:ident) => {
                let Vectors { a, b } = &Vectors::new(dimension, $t::from_f64);
                for metric in METRICS {
                    let (ours, simsimd) = (ours::<$t>(metric), simsimd_of::<simsimd::$t>(metric));
                    let (x, y) = (same_bits(a), same_bits(b));
                    self.run(
                        format!("{}-{metric}-{dimension}", stringify!($t)),
                        call(move || ours(black_box(a), black_box(b))),
                        vec![
                            ("simsimd", call(move || simsimd(black_box(x), black_box(y)))),
                            (
                                "numkong",
                                numkong_calls!(metric, numkong::$t, same_bits(a), same_bits(b)),
                            ),
                        ],
                    )?;
                }
            };
        }
        half!(f16);
        half!(bf16);
        Ok(())
    }

    fn bytes(&mut self, dimension: usize) -> Result<()> {
        let Vectors { a, b } = &Vectors::new(dimension, |x| (x * 128.0) as i8);
        let Vectors { a: c, b: d } = &Vectors::new(dimension, |x| ((x + 1.0) * 128.0) as u8);
        for metric in METRICS {
            let (ours_i8, ours_u8) = (ours::<i8>(metric), ours::<u8>(metric));
            let simsimd = simsimd_of::<i8>(metric);
            self.run(
                format!("i8-{metric}-{dimension}"),
                call(move || ours_i8(black_box(a), black_box(b))),
                vec![
                    ("simsimd", call(move || simsimd(black_box(a), black_box(b)))),
                    ("numkong", numkong_calls!(metric, i8, &a[..], &b[..])),
                ],
            )?;
            self.run(
                format!("u8-{metric}-{dimension}"),
                call(move || ours_u8(black_box(c), black_box(d))),
                vec![("numkong", numkong_calls!(metric, u8, &c[..], &d[..]))],
            )?;
        }
        Ok(())
    }

    /// The Hermitian product, of `dimension` complex numbers.
    fn complex(&mut self, dimension: usize) -> Result<()> {
        macro_rules! complex {
            ($t:ident, $real:ident, $nk:ident) => {
                let Vectors { a, b } = &Vectors::new(dimension, |x| Complex {
                    re: x as $real,
                    im: 0.5 * x as $real,
                });
                if let Some(ours) = hermitian_at::<$t>(Simd::active()) {
                    let flat = |v: &[$t]| -> Vec<$real> { v.iter().flat_map(|z| [z.re, z.im]).collect() };
                    let (x, y) = (&flat(a), &flat(b));
                    let (c, d): (&[numkong::$nk], &[numkong::$nk]) = (same_bits(a), same_bits(b));
                    self.run(
                        format!("{}-hermitian-{dimension}", stringify!($t).to_lowercase()),
                        call(move || ours(black_box(a), black_box(b))),
                        vec![
                            (
                                "simsimd",
                                call(move || <$real as ComplexProducts>::vdot(black_box(x), black_box(y))),
                            ),
                            (
                                "numkong",
                                call(move || {
                                    <numkong::$nk as numkong::VDot>::vdot(black_box(c), black_box(d))
                                }),
                            ),
                        ],
                    )?;
                }
            };
        }
        complex!(Complex64, f32, f32c);
        complex!(Complex128, f64, f64c);
        Ok(())
    }
}
