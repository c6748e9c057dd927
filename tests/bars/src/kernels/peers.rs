//! Our kernels of one pair beside those of SimSIMD and NumKong, each through its public function.

use std::{hint::black_box, io::Write, time::Instant};

use anyhow::Result;
use longbow_kernels::{
    Complex, Complex64, Complex128, Number, Pair, Paired, Simd, bf16, f16, hermitian_at, pair, scalar,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::json;
use simsimd::{ComplexProducts, SpatialSimilarity};

use super::{Ratio, median};

const DIMENSIONS: [usize; 5] = [96, 384, 768, 1536, 3072];
/// Calls are timed by as many as take this long.
const BATCH_SECONDS: f64 = 10e-6;

/// Two vectors that start on cache lines, as rows do: loads that cross lines would hide what the kernels do.
struct Vectors<T: 'static> {
    a: &'static [T],
    b: &'static [T],
}

fn aligned<T>(numbers: impl Iterator<Item = T>, filler: impl Fn() -> T) -> &'static [T] {
    const LINE: usize = 64;
    let mut storage: Vec<T> = Vec::with_capacity(numbers.size_hint().0 + LINE);
    let before = storage.as_ptr().align_offset(LINE);
    storage.extend((0..before).map(|_| filler()));
    storage.extend(numbers);
    // Some megabytes, until the process ends.
    &storage.leak()[before..]
}

impl<T> Vectors<T> {
    /// Neighbours, whose products are nearly all positive: what a sum loses does not cancel out by chance.
    fn new(dimension: usize, make: impl Fn(f64) -> T) -> Self {
        let mut rng = SmallRng::seed_from_u64(dimension as u64);
        let mut numbers = || -> Vec<f64> { (0..dimension).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (a, noise) = (numbers(), numbers());
        let b = a.iter().zip(&noise).map(|(a, noise)| 0.75 * a + 0.25 * noise);
        Self {
            b: aligned(b.map(&make), || make(0.0)),
            a: aligned(a.iter().map(|&a| make(a)), || make(0.0)),
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

/// A peer's kernel of a pair.
struct Peer<'a> {
    name: &'static str,
    /// What it says of the measured pair.
    answer: f64,
    call: Call<'a>,
}

fn peer<'a, R: 'a>(
    name: &'static str,
    mut kernel: impl FnMut() -> R + 'a,
    number: impl Fn(R) -> f64,
) -> Peer<'a> {
    Peer {
        name,
        answer: number(kernel()),
        call: call(kernel),
    }
}

/// A right answer, and how far from it ours may be: see [`Pair`].
struct Answer {
    twin: f64,
    error: f64,
}

const SINGLE: f64 = 1.0 / (1u64 << 24) as f64;
const DOUBLE: f64 = f64::EPSILON / 2.0;

impl Answer {
    /// `unit` is 0 for exact sums; cosines and answers that a peer gives in 32 bits may be rounded to them.
    fn new<T: Number>(metric: &str, a: &[T], b: &[T], unit: f64) -> Self {
        let n = a.len() as f64;
        let (twin, error) = match metric {
            "l2" => {
                let l2 = scalar::l2(a, b);
                (l2, (n / 8.0 + 8.0) * unit * l2)
            }
            "dot" => {
                let terms: f64 = a.iter().zip(b).map(|(a, b)| (a.wide() * b.wide()).abs()).sum();
                (scalar::dot(a, b), (n / 8.0 + 8.0) * unit * terms)
            }
            _ => (scalar::cosine(a, b), (n / 2.0 + 32.0) * unit.max(SINGLE)),
        };
        Self {
            twin,
            error: error + SINGLE * twin.abs(),
        }
    }
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
macro_rules! numkong_peer {
    ($metric:expr, $t:ty, $a:expr, $b:expr) => {{
        let (a, b): (&[$t], &[$t]) = ($a, $b);
        match $metric {
            "l2" => peer(
                "numkong",
                move || <$t as numkong::Euclidean>::sqeuclidean(black_box(a), black_box(b)),
                |l2| l2.map_or(f64::NAN, f64::from),
            ),
            "dot" => peer(
                "numkong",
                move || <$t as numkong::Dot>::dot(black_box(a), black_box(b)),
                |dot| dot.map_or(f64::NAN, f64::from),
            ),
            _ => peer(
                "numkong",
                move || <$t as numkong::Angular>::angular(black_box(a), black_box(b)),
                |cosine| cosine.map_or(f64::NAN, f64::from),
            ),
        }
    }};
}

fn simsimd_peer<'a, T: SpatialSimilarity>(metric: &str, a: &'a [T], b: &'a [T]) -> Peer<'a> {
    let kernel = match metric {
        "l2" => T::l2sq,
        "dot" => T::dot,
        _ => T::cos,
    };
    peer(
        "simsimd",
        move || kernel(black_box(a), black_box(b)),
        |answer| answer.unwrap_or(f64::NAN),
    )
}

const METRICS: [&str; 3] = ["l2", "dot", "cosine"];

impl Bench<'_> {
    fn run(&mut self, kernel: String, answer: &Answer, ours: Call<'_>, peers: Vec<Peer<'_>>) -> Result<()> {
        let as_exact: Vec<bool> = peers
            .iter()
            .map(|peer| (peer.answer - answer.twin).abs() <= answer.error)
            .collect();
        let mut contestants = vec![("longbow", ours)];
        contestants.extend(peers.into_iter().map(|peer| (peer.name, peer.call)));
        let started = Instant::now();
        (contestants[0].1)(1000);
        let one = started.elapsed().as_secs_f64() / 1000.0;
        let calls = (BATCH_SECONDS / one).ceil().max(1.0) as usize;
        let medians = interleaved(&kernel, calls, &mut contestants, self.samples)?;
        for (((peer, _), median), as_exact) in contestants.iter().zip(&medians).skip(1).zip(as_exact) {
            self.ratios.push(Ratio {
                kernel: kernel.clone(),
                peer,
                ratio: median / medians[0],
                as_exact,
            });
        }
        Ok(())
    }

    fn floats(&mut self, dimension: usize) -> Result<()> {
        macro_rules! float {
            ($t:ident, $unit:expr) => {
                let Vectors { a, b } = Vectors::new(dimension, |x| x as $t);
                for metric in METRICS {
                    let ours = ours::<$t>(metric);
                    self.run(
                        format!("{}-{metric}-{dimension}", stringify!($t)),
                        &Answer::new(metric, a, b, $unit),
                        call(move || ours(black_box(a), black_box(b))),
                        vec![simsimd_peer(metric, a, b), numkong_peer!(metric, $t, a, b)],
                    )?;
                }
            };
        }
        float!(f32, SINGLE);
        float!(f64, DOUBLE);
        Ok(())
    }

    fn halves(&mut self, dimension: usize) -> Result<()> {
        macro_rules! half {
            ($t:ident) => {
                let Vectors { a, b } = Vectors::new(dimension, $t::from_f64);
                for metric in METRICS {
                    let ours = ours::<$t>(metric);
                    self.run(
                        format!("{}-{metric}-{dimension}", stringify!($t)),
                        &Answer::new(metric, a, b, SINGLE),
                        call(move || ours(black_box(a), black_box(b))),
                        vec![
                            simsimd_peer::<simsimd::$t>(metric, same_bits(a), same_bits(b)),
                            numkong_peer!(metric, numkong::$t, same_bits(a), same_bits(b)),
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
        let Vectors { a, b } = Vectors::new(dimension, |x| (x * 128.0) as i8);
        let Vectors { a: c, b: d } = Vectors::new(dimension, |x| ((x + 1.0) * 128.0) as u8);
        for metric in METRICS {
            let (ours_i8, ours_u8) = (ours::<i8>(metric), ours::<u8>(metric));
            self.run(
                format!("i8-{metric}-{dimension}"),
                &Answer::new(metric, a, b, 0.0),
                call(move || ours_i8(black_box(a), black_box(b))),
                vec![simsimd_peer(metric, a, b), numkong_peer!(metric, i8, a, b)],
            )?;
            self.run(
                format!("u8-{metric}-{dimension}"),
                &Answer::new(metric, c, d, 0.0),
                call(move || ours_u8(black_box(c), black_box(d))),
                vec![numkong_peer!(metric, u8, c, d)],
            )?;
        }
        Ok(())
    }

    /// The Hermitian product, of `dimension` complex numbers.
    fn complex(&mut self, dimension: usize) -> Result<()> {
        macro_rules! complex {
            ($t:ident, $real:ident, $nk:ident, $unit:expr) => {
                let Vectors { a, b } = Vectors::new(dimension, |x| Complex {
                    re: x as $real,
                    im: 0.5 * x as $real,
                });
                if let Some(ours) = hermitian_at::<$t>(Simd::active()) {
                    let (c, d): (&[numkong::$nk], &[numkong::$nk]) = (same_bits(a), same_bits(b));
                    let (x, y): (&[[$real; 2]], &[[$real; 2]]) = (same_bits(a), same_bits(b));
                    let (x, y) = (x.as_flattened(), y.as_flattened());
                    self.run(
                        format!("{}-hermitian-{dimension}", stringify!($t).to_lowercase()),
                        &Answer::new("dot", x, y, $unit),
                        call(move || ours(black_box(a), black_box(b))),
                        vec![
                            peer(
                                "simsimd",
                                move || <$real as ComplexProducts>::vdot(black_box(x), black_box(y)),
                                |product| product.map_or(f64::NAN, |(re, _)| re),
                            ),
                            peer(
                                "numkong",
                                move || <numkong::$nk as numkong::VDot>::vdot(black_box(c), black_box(d)),
                                |product| product.map_or(f64::NAN, |product| product.re),
                            ),
                        ],
                    )?;
                }
            };
        }
        complex!(Complex64, f32, f32c, SINGLE);
        complex!(Complex128, f64, f64c, DOUBLE);
        Ok(())
    }
}

/// Rounds of an interleaved comparison.
const ROUNDS: usize = 401;

/// Times the contestants in turn, `ROUNDS` times after one to warm up, and gives the median of each. A contestant runs
/// `calls` calls and a sample is the nanoseconds of one.
fn interleaved(
    name: &str,
    calls: usize,
    contestants: &mut [(&'static str, Call<'_>)],
    samples: &mut dyn Write,
) -> Result<Vec<f64>> {
    let mut times = vec![Vec::with_capacity(ROUNDS); contestants.len()];
    for round in 0..=ROUNDS {
        for turn in 0..contestants.len() {
            // Whoever follows whom changes with the round.
            let index = (turn + round) % contestants.len();
            let started = Instant::now();
            (contestants[index].1)(calls);
            if round > 0 {
                times[index].push(started.elapsed().as_secs_f64() * 1e9 / calls as f64);
            }
        }
    }
    for ((contestant, _), times) in contestants.iter().zip(&times) {
        let line = json!({"kernel": name, "by": contestant, "calls": calls, "ns": times});
        writeln!(samples, "{line}")?;
    }
    Ok(times.into_iter().map(median).collect())
}
