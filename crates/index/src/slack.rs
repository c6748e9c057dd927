//! How much farther than the nearest found a walk has to look.
//!
//! A beam of one width does as much for a query whose neighbours stand out as for one in a crowd. What tells the two
//! apart is how far what is left to expand lies behind the neighbours wanted (Al-Jazzazi et al., Distance Adaptive Beam
//! Search, 2025). So a walk for `k` with a beam of `ef` ends when the next node is farther behind the `k`-th nearest
//! than the `ef`-th nearest usually is, and the beam itself may be wider where that takes long. On average it costs what
//! a beam of `ef` does, and finds more.
//!
//! What is usual is learnt from the candidates of points as they are linked: the mean distance of the nearest, and how much
//! farther every second rank lies than the one half as far, without the extreme halves of either. Where neighbours are
//! farther away than usual, so is everything else.

use longbow_kernels::Metric;

use crate::sync::{AtomicU32, Mutex, Ordering};

/// Doublings of the rank that are known.
const OCTAVES: usize = 10;
/// Points that means are taken of, the latest. With 64 of them what one and the same beam costs differs by a tenth from one
/// build to the next.
const SAMPLES: usize = 256;
/// One in so many points is learnt from, at most.
const EVERY: u32 = 16;
/// As many points of all are learnt from, if they are more than that: samples are of the latest half, since rows that come
/// together are often of one kind.
const OF_ALL: u32 = 2 * SAMPLES as u32;
/// Points before which nothing is known.
const SAMPLES_MIN: usize = 8;
/// Candidates without which a point says nothing: it was linked when there were few.
const CANDIDATES_MIN: usize = 32;
/// Times what is usual a search looks: at this the mean query costs about as many distances as with a beam of fixed width.
const SEARCHING: f32 = 1.0;
/// As [`SEARCHING`], of the candidates for links. A fifth of the distances of a beam of fixed width are saved, and the
/// graph is as good per distance of a search.
const LINKING: f32 = 0.7;

/// See the module.
#[derive(Default)]
pub(crate) struct Slack {
    /// The usual distance of the nearest, the bits of a float.
    near: AtomicU32,
    /// Per doubling of the rank how much farther away it is, the bits of a float; 0 while unknown.
    steps: [AtomicU32; OCTAVES],
    samples: Mutex<Samples>,
}

/// Rings of the latest samples.
#[derive(Default)]
struct Samples {
    near: Vec<f32>,
    steps: [Vec<f32>; OCTAVES],
    /// Of those ever taken; wraps.
    count: u32,
}

/// When a walk ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stop {
    /// Width of the beam.
    pub(crate) width: usize,
    /// The rank behind which the rest may lie so far.
    pub(crate) rank: usize,
    /// How far, usually.
    slack: f32,
    /// Its part for each unit of the rank's distance, where that is larger.
    per_distance: f32,
}

impl Stop {
    /// When everything in a beam of this width is expanded.
    pub(crate) fn at(width: usize) -> Self {
        Self {
            width,
            rank: width,
            slack: f32::INFINITY,
            per_distance: 0.0,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(rank: usize, slack: f32) -> Self {
        Self {
            rank,
            slack,
            ..Self::at(2 * rank)
        }
    }

    /// The distance beyond which nothing is expanded, from that of the rank.
    #[inline(always)]
    pub(crate) fn reach(&self, distance: f32) -> f32 {
        distance + self.slack.max(self.per_distance * distance)
    }
}

impl Slack {
    /// Whether the candidates of a slot, one of `slots`, are to be learnt from.
    pub(crate) fn is_due(slot: u32, slots: u32) -> bool {
        slot.is_multiple_of(EVERY.max(slots / OF_ALL))
    }

    /// Learns from the distances of a point's candidates, in order.
    pub(crate) fn learn(&self, candidates: usize, distance_of: impl Fn(usize) -> f32) {
        if candidates < CANDIDATES_MIN {
            return;
        }
        let samples = &mut *self.samples.lock();
        let at = samples.count as usize % SAMPLES;
        samples.count = samples.count.wrapping_add(1);
        put(&mut samples.near, at, distance_of(0), &self.near);
        for (octave, ring) in samples.steps.iter_mut().enumerate() {
            let (from, to) = ((1 << octave) - 1, (2 << octave) - 1);
            if to >= candidates {
                break;
            }
            put(ring, at, distance_of(to) - distance_of(from), &self.steps[octave]);
        }
    }

    /// What was learnt last was wrong; it goes when the next is learnt.
    pub(crate) fn unlearn(&self) {
        let samples = &mut *self.samples.lock();
        samples.count = samples.count.wrapping_sub(1);
    }

    /// The samples, as an image holds them: their count, then each ring's length and numbers.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let samples = self.samples.lock();
        let mut out = samples.count.to_le_bytes().to_vec();
        for ring in [&samples.near].into_iter().chain(&samples.steps) {
            out.extend((ring.len() as u32).to_le_bytes());
            out.extend(ring.iter().flat_map(|number| number.to_le_bytes()));
        }
        out
    }

    /// From what an image holds; nothing if it is something else.
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut word = || {
            let (word, rest) = bytes.split_first_chunk::<4>()?;
            bytes = rest;
            Some(u32::from_le_bytes(*word))
        };
        let mut samples = Samples {
            count: word()?,
            ..Samples::default()
        };
        for ring in [&mut samples.near].into_iter().chain(&mut samples.steps) {
            let len = word()? as usize;
            if len > SAMPLES {
                return None;
            }
            *ring = (0..len)
                .map(|_| word().map(f32::from_bits))
                .collect::<Option<_>>()?;
        }
        let slack = Self::default();
        publish(&samples.near, &slack.near);
        for (ring, step) in samples.steps.iter().zip(&slack.steps) {
            publish(ring, step);
        }
        *slack.samples.lock() = samples;
        bytes.is_empty().then_some(slack)
    }

    /// How a search for the `k` nearest with a beam of `ef` ends, where beams of up to `max` can end so.
    pub(crate) fn searching(&self, metric: Metric, k: usize, ef: usize, max: usize) -> Stop {
        self.searching_among(metric, (k, ef), 1.0, max)
    }

    /// As [`Slack::searching`], of a search that sees only a share of all points: the ranks there are farther apart.
    pub(crate) fn searching_among(
        &self,
        metric: Metric,
        (k, ef): (usize, usize),
        share: f64,
        max: usize,
    ) -> Stop {
        let of_all = |rank: usize| (rank as f64 / share) as usize;
        let width = wider(ef);
        let slack = (width <= max).then(|| self.usual(metric, of_all(k), of_all(ef)));
        slack.flatten().map_or(Stop::at(ef), |slack| Stop {
            width,
            rank: k,
            ..slack.times(SEARCHING)
        })
    }

    /// How a walk for candidates ends, at most `ef` of which `m` become links.
    pub(crate) fn linking(&self, metric: Metric, m: usize, ef: usize) -> Stop {
        let slack = self.usual(metric, m, ef);
        slack.map_or(Stop::at(ef), |slack| slack.times(LINKING))
    }

    /// How far the rank `ef` usually lies behind `k`.
    fn usual(&self, metric: Metric, k: usize, ef: usize) -> Option<Stop> {
        // Inner products grow with the query, and have no zero to be far away from: what is usual for one query says
        // nothing of another that is ten times as long.
        if k == 0 || metric == Metric::Dot {
            return None;
        }
        let near = f32::from_bits(self.near.load(Ordering::Relaxed));
        let (mut at_k, mut slack, mut last) = (near, 0.0, None);
        let (k_octave, ef_octave) = ((k as f32).log2(), (ef.max(k) as f32).log2());
        for (octave, step) in (0..).zip(&self.steps) {
            let (begin, end) = (octave as f32, octave as f32 + 1.0);
            // Where a step is unknown, or points are equal, the one before has to do.
            let bits = step.load(Ordering::Relaxed);
            let step = if bits == 0 {
                last
            } else {
                Some(f32::from_bits(bits))
            }?;
            last = Some(step);
            at_k += step * (k_octave.clamp(begin, end) - begin);
            slack += step * (ef_octave.min(end) - k_octave.max(begin)).max(0.0);
        }
        Some(Stop {
            width: ef,
            rank: k,
            slack,
            per_distance: if at_k > 0.0 { slack / at_k } else { 0.0 },
        })
    }
}

impl Stop {
    fn times(self, times: f32) -> Self {
        Self {
            slack: self.slack * times,
            per_distance: self.per_distance * times,
            ..self
        }
    }
}

/// How wide a beam may become that was asked to be `ef` wide.
fn wider(ef: usize) -> usize {
    ef.saturating_add(ef / 4 * 3)
}

/// Puts a number into its place in a ring, and publishes what is usual anew.
fn put(ring: &mut Vec<f32>, at: usize, number: f32, usual: &AtomicU32) {
    match ring.get_mut(at) {
        Some(place) => *place = number,
        None => ring.push(number),
    }
    publish(ring, usual);
}

/// Publishes the bits of the mean of a ring's middle half, once there is one to go by: 0 for one that says nothing. It
/// does not jump as a median does where there are two kinds of points, nor follow the few that lie far off.
fn publish(ring: &[f32], usual: &AtomicU32) {
    if ring.len() < SAMPLES_MIN {
        return;
    }
    let mut sorted = [0.0; SAMPLES];
    let sorted = &mut sorted[..ring.len()];
    sorted.copy_from_slice(ring);
    sorted.sort_unstable_by(f32::total_cmp);
    let half = &sorted[ring.len() / 4..ring.len() - ring.len() / 4];
    let mean = half.iter().sum::<f32>() / half.len() as f32;
    let says = mean.is_finite() && mean > 0.0;
    usual.store(if says { mean.to_bits() } else { 0 }, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Learns from points whose candidates lie farther and farther away by `step` a doubling.
    fn learnt(points: usize, candidates: usize, step: f32) -> Slack {
        let slack = Slack::default();
        for _ in 0..points {
            slack.learn(candidates, |rank| 1.0 + step * (rank as f32 + 1.0).log2());
        }
        slack
    }

    fn reach(slack: &Slack, metric: Metric, k: usize, ef: usize, distance: f32) -> f32 {
        slack.searching(metric, k, ef, 1024).reach(distance)
    }

    #[test]
    fn nothing_ends_early_before_enough_is_known() {
        for slack in [
            Slack::default(),
            learnt(SAMPLES_MIN - 1, 200, 0.1),
            learnt(100, CANDIDATES_MIN - 1, 0.1),
            learnt(100, 200, 0.0),
            learnt(100, 200, f32::NAN),
            learnt(100, 200, f32::INFINITY),
        ] {
            assert_eq!(slack.searching(Metric::L2, 10, 64, 1024), Stop::at(64));
            assert_eq!(slack.linking(Metric::L2, 16, 200), Stop::at(200));
        }
        let known = learnt(100, 200, 0.1);
        assert_eq!(known.searching(Metric::L2, 10, 600, 1024), Stop::at(600));
        assert_eq!(
            known.searching(Metric::L2, 10, usize::MAX, 1024),
            Stop::at(usize::MAX)
        );
        assert_eq!(known.searching(Metric::L2, 0, 10, 1024), Stop::at(10));
    }

    #[test]
    fn slack_is_what_lies_between_the_ranks() {
        let slack = learnt(100, 200, 0.1);
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-5, "{a} {b}");
        // Three doublings; then with half of one, and where neighbours are as far away as usual.
        near(reach(&slack, Metric::L2, 8, 64, 1.3), 1.3 + 0.3 * SEARCHING);
        let half = (96f32 / 64.0).log2();
        near(
            reach(&slack, Metric::L2, 8, 96, 1.0),
            1.0 + (0.3 + 0.1 * half) * SEARCHING,
        );
        // Beyond what candidates say it goes on as before.
        near(reach(&slack, Metric::L2, 8, 512, 0.5), 0.5 + 0.6 * SEARCHING);
        // Twice as far away, twice the slack; but inner products are as large as the query is long.
        near(reach(&slack, Metric::Cosine, 8, 64, 2.6), 2.6 + 0.6 * SEARCHING);
        assert_eq!(slack.searching(Metric::Dot, 8, 64, 1024), Stop::at(64));
        near(reach(&slack, Metric::L2, 64, 8, 0.5), 0.5);
        // Among a share of the points ranks lie as many doublings apart, farther out.
        let among = slack.searching_among(Metric::L2, (8, 64), 0.25, 1024);
        assert_eq!(among.rank, 8);
        near(among.reach(0.5), 0.5 + 0.3 * SEARCHING);
    }

    #[test]
    fn the_latest_points_count_and_a_few_strange_ones_do_not() {
        let slack = learnt(SAMPLES, 200, 0.1);
        let usual = slack.searching(Metric::L2, 8, 64, 1024);
        for _ in 0..SAMPLES / 4 - 1 {
            slack.learn(200, |rank| rank as f32 * 1e9);
        }
        assert_eq!(slack.searching(Metric::L2, 8, 64, 1024), usual);
        for _ in 0..SAMPLES {
            slack.learn(200, |rank| 5.0 + (rank as f32 + 1.0).log2());
        }
        assert!(slack.searching(Metric::L2, 8, 64, 1024).slack > 9.0 * usual.slack);
    }

    #[test]
    fn what_was_wrong_is_replaced_by_the_next() {
        let (slack, other) = (learnt(70, 200, 0.1), learnt(71, 200, 0.1));
        slack.learn(200, |rank| rank as f32 * 1e9);
        slack.unlearn();
        slack.learn(200, |rank| 1.0 + 0.1 * (rank as f32 + 1.0).log2());
        assert_eq!(slack.to_bytes(), other.to_bytes());
        let slack = Slack::default();
        slack.unlearn();
        slack.learn(200, |rank| rank as f32);
        assert_eq!(slack.samples.lock().near.len(), 1);
    }

    #[test]
    fn an_image_holds_it() {
        let slack = learnt(SAMPLES + 100, 200, 0.1);
        let bytes = slack.to_bytes();
        let read = Slack::from_bytes(&bytes).unwrap();
        assert_eq!(
            read.searching(Metric::L2, 8, 64, 1024),
            slack.searching(Metric::L2, 8, 64, 1024)
        );
        // Both go on learning the same.
        for _ in 0..SAMPLES / 3 {
            [&slack, &read]
                .iter()
                .for_each(|slack| slack.learn(100, |rank| rank as f32));
        }
        assert_eq!(read.to_bytes(), slack.to_bytes());
        assert_eq!(
            read.searching(Metric::L2, 8, 64, 1024),
            slack.searching(Metric::L2, 8, 64, 1024)
        );
        for wrong in [
            &bytes[4..],
            &bytes[..bytes.len() - 1],
            &[bytes.as_slice(), &[0]].concat(),
        ] {
            assert!(Slack::from_bytes(wrong).is_none());
        }
        let mut long = bytes.clone();
        long[4..8].copy_from_slice(&(SAMPLES as u32 + 1).to_le_bytes());
        assert!(Slack::from_bytes(&long).is_none());
        // Nobody goes by numbers that are none.
        let mut strange = bytes;
        strange[8..8 + 4 * SAMPLES].fill(0xFF);
        let read = Slack::from_bytes(&strange).unwrap();
        assert_eq!(read.near.load(Ordering::Relaxed), 0);
    }
}
