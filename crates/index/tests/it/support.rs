//! Generated data and the plain answer to compare with.

use std::sync::atomic::{AtomicBool, Ordering};

use longbow_index::{
    Bitset, Element, ImageMemory, Metric, Mode, Neighbor, Params, Quantization, SearchParams, Stats,
    VectorIndex, Way,
};
use longbow_kernels::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::SmallRng};

/// Rows around a few centres, as embeddings lie.
pub fn clustered(rows: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut point = |spread: f32| -> Vec<f32> {
        (0..dimension)
            .map(|_| rng.random_range(-1.0f32..1.0) * spread)
            .collect()
    };
    let centres: Vec<_> = (0..rows.div_ceil(50)).map(|_| point(1.0)).collect();
    (0..rows)
        .map(|row| {
            let centre = &centres[row * 7919 % centres.len()];
            point(0.6).iter().zip(centre).map(|(x, c)| x + c).collect()
        })
        .collect()
}

/// Rows without any structure, all about equally far from each other.
pub fn gaussian(rows: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut normal = || (0..12).map(|_| rng.random_range(-0.5f32..0.5)).sum::<f32>();
    (0..rows)
        .map(|_| (0..dimension).map(|_| normal()).collect())
        .collect()
}

/// What rows are multiplied by before they are made integers; fits `i8` for [`clustered`] rows.
pub const SCALE: f32 = 75.0;

/// The bytes an index takes.
pub fn bytes(rows: &[Vec<f32>], element: Element) -> Vec<u8> {
    let values = rows.iter().flatten();
    match element {
        Element::F16 => values.flat_map(|&x| f16::from_f32(x).to_ne_bytes()).collect(),
        Element::BF16 => values.flat_map(|&x| bf16::from_f32(x).to_ne_bytes()).collect(),
        Element::F32 | Element::Complex64 => values.flat_map(|x| x.to_ne_bytes()).collect(),
        Element::I8 => values.flat_map(|&x| ((x * SCALE) as i8).to_ne_bytes()).collect(),
        Element::I16 => values.flat_map(|&x| ((x * SCALE) as i16).to_ne_bytes()).collect(),
        Element::I32 => values.flat_map(|&x| ((x * SCALE) as i32).to_ne_bytes()).collect(),
        Element::I64 => values.flat_map(|&x| ((x * SCALE) as i64).to_ne_bytes()).collect(),
        Element::U8 => values.flat_map(|&x| ((x * SCALE) as u8).to_ne_bytes()).collect(),
        Element::U16 => values.flat_map(|&x| ((x * SCALE) as u16).to_ne_bytes()).collect(),
        Element::U32 => values.flat_map(|&x| ((x * SCALE) as u32).to_ne_bytes()).collect(),
        Element::U64 => values.flat_map(|&x| ((x * SCALE) as u64).to_ne_bytes()).collect(),
        _ => values.flat_map(|&x| f64::from(x).to_ne_bytes()).collect(),
    }
}

/// What a row is after it was stored.
pub fn rounded(row: &[f32], element: Element) -> Vec<f64> {
    let round = |x: f32| match element {
        Element::F16 => f16::from_f32(x).to_f64(),
        Element::BF16 => bf16::from_f32(x).to_f64(),
        Element::I8 | Element::I16 | Element::I32 | Element::I64 => f64::from((x * SCALE) as i32),
        Element::U8 | Element::U16 | Element::U32 | Element::U64 => f64::from((x * SCALE) as u32),
        _ => f64::from(x),
    };
    row.iter().map(|&x| round(x)).collect()
}

pub fn distance(metric: Metric, a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    match metric {
        Metric::L2 => a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum(),
        Metric::Dot => -dot(a, b),
        Metric::Cosine => {
            let norms = (dot(a, a) * dot(b, b)).sqrt();
            if norms > 0.0 { 1.0 - dot(a, b) / norms } else { 1.0 }
        }
    }
}

/// The `k` nearest allowed rows by definition: (distance, slot).
pub fn plain(params: &Params, rows: &[Vec<f32>], query: &[f32], k: usize, allow: &Bitset) -> Vec<(f64, u32)> {
    let query: Vec<f64> = query.iter().map(|&x| f64::from(x)).collect();
    let mut all: Vec<(f64, u32)> = allow
        .iter()
        .take_while(|&slot| slot < rows.len())
        .map(|slot| {
            let row = rounded(&rows[slot], params.element);
            (distance(params.metric, &query, &row), slot as u32)
        })
        .collect();
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all.truncate(k);
    all
}

pub fn search(index: &VectorIndex, query: &[f32], k: usize, mode: Mode, allow: &Bitset) -> Vec<Neighbor> {
    let params = SearchParams { k, ef: 0, mode };
    index.search(query, &params, allow, &|| false).unwrap().0
}

/// Asserts that an answer has exactly the distances that the plain one has.
pub fn assert_exact(found: &[Neighbor], expected: &[(f64, u32)]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let tolerance = 1e-4 * (1.0 + expected.0.abs());
        assert!(
            (f64::from(found.distance) - expected.0).abs() < tolerance,
            "{found:?} {expected:?}"
        );
    }
}

/// An index with the rows that were put into it.
pub struct Linked {
    pub index: VectorIndex,
    pub rows: std::sync::Mutex<Vec<Vec<f32>>>,
}

impl Linked {
    /// An index with all rows linked.
    pub fn new(element: Element, metric: Metric, rows: Vec<Vec<f32>>) -> Self {
        Self::with(Params::new(element, metric, rows[0].len()), rows)
    }

    pub fn with(params: Params, rows: Vec<Vec<f32>>) -> Self {
        Self::quantized(params, Quantization::None, rows)
    }

    pub fn quantized(params: Params, quantization: Quantization, rows: Vec<Vec<f32>>) -> Self {
        let linked = Self {
            index: VectorIndex::with_quantization(params, quantization),
            rows: Default::default(),
        };
        linked.append(&rows);
        while linked.index.link(100) > 0 {}
        assert_eq!(linked.index.linked(), rows.len() as u32);
        linked
    }

    pub fn append(&self, rows: &[Vec<f32>]) {
        let mut all = self.rows.lock().unwrap();
        let slots = self
            .index
            .append(&bytes(rows, self.index.params().element))
            .unwrap();
        assert_eq!(slots.start as usize, all.len());
        all.extend_from_slice(rows);
        assert_eq!(slots.end as usize, all.len());
    }

    /// As [`Linked::recall`], of searches that walk.
    pub fn recall_of_walks(&self, queries: &[Vec<f32>], k: usize, ef: usize, allow: &Bitset) -> f64 {
        let walks = |stats: &Stats| assert_ne!(stats.way, Way::Scan, "the rows are too few to walk");
        self.recall_with(queries, k, ef, allow, walks)
    }

    /// Mean share of the true `k` nearest that searches find; checks every answer's form.
    pub fn recall(&self, queries: &[Vec<f32>], k: usize, ef: usize, allow: &Bitset) -> f64 {
        self.recall_with(queries, k, ef, allow, |_| ())
    }

    fn recall_with(
        &self,
        queries: &[Vec<f32>],
        k: usize,
        ef: usize,
        allow: &Bitset,
        inspect: impl Fn(&Stats),
    ) -> f64 {
        let rows = self.rows.lock().unwrap();
        let (mut hits, mut wanted) = (0, 0);
        for query in queries {
            let params = SearchParams {
                k,
                ef,
                mode: Mode::Auto,
            };
            let (found, stats) = self.index.search(query, &params, allow, &|| false).unwrap();
            inspect(&stats);
            let expected = plain(self.index.params(), &rows, query, k, allow);
            assert_eq!(found.len(), expected.len());
            check(&found, allow);
            // Equal distances are as good as equal slots.
            let worst = expected
                .last()
                .map_or(0.0, |last| last.0 + 1e-4 * (1.0 + last.0.abs()));
            hits += found
                .iter()
                .filter(|neighbor| f64::from(neighbor.distance) <= worst)
                .count();
            wanted += expected.len();
        }
        hits as f64 / wanted.max(1) as f64
    }
}

/// What [`VectorIndex::write_image`] writes.
pub fn image(index: &VectorIndex) -> Vec<u8> {
    let mut out = Vec::new();
    let summary = index.write_image(u32::MAX, &mut out).unwrap();
    assert_eq!(summary.bytes, out.len() as u64);
    out
}

/// Memory with an image.
pub fn memory(image: &[u8]) -> ImageMemory {
    let mut memory = ImageMemory::zeroed(image.len()).unwrap();
    memory.as_mut().copy_from_slice(image);
    memory
}

pub fn opened(image: &[u8]) -> VectorIndex {
    VectorIndex::from_image(memory(image)).unwrap()
}

/// Asserts what every answer must be: sorted, allowed, without duplicates.
pub fn check(found: &[Neighbor], allow: &Bitset) {
    let order = |neighbor: &Neighbor| (neighbor.distance, neighbor.slot);
    assert!(
        found.windows(2).all(|pair| order(&pair[0]) < order(&pair[1])),
        "{found:?}"
    );
    let slots: std::collections::HashSet<u32> = found.iter().map(|neighbor| neighbor.slot).collect();
    assert_eq!(slots.len(), found.len(), "{found:?}");
    assert!(slots.iter().all(|&slot| allow.get(slot as usize)));
}

/// Tells the other threads of a test to stop when this one is done, or panics: they would wait for its part for ever.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As [`Stop`], if this one panics.
pub struct StopIfPanicking<'a>(pub &'a AtomicBool);

impl Drop for StopIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
