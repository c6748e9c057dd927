//! Files that earlier builds wrote: this one opens them, answers the same, and writes the same.
//!
//! A change of the format takes a new version and new files; the old ones stay for as long as they can be read.
//! `LONGBOW_GOLDEN=write cargo test -p longbow-index golden` writes the files that are missing.

use std::path::PathBuf;

use longbow_index::{Bitset, Element, Metric, Mode, Params, Quantization, VectorIndex, verify_image};

use crate::support::{bytes, image, opened, search};

const FILES: [(&str, Element, Metric, Quantization); 6] = [
    ("f32-l2-none", Element::F32, Metric::L2, Quantization::None),
    ("f16-cosine-sq8", Element::F16, Metric::Cosine, Quantization::Sq8),
    ("bf16-dot-sq4", Element::BF16, Metric::Dot, Quantization::Sq4),
    ("f32-l2-bit1", Element::F32, Metric::L2, Quantization::Bit1),
    ("i8-l2-none", Element::I8, Metric::L2, Quantization::None),
    (
        "complex64-cosine-none",
        Element::Complex64,
        Metric::Cosine,
        Quantization::None,
    ),
];

/// Short vectors would not be coded.
fn dimension(quantization: Quantization) -> usize {
    if quantization == Quantization::None { 6 } else { 70 }
}

const ROWS: usize = 50;

/// Rows of small integers, so that no rounding of a kernel or a platform can change them.
fn rows(reals: usize) -> Vec<Vec<f32>> {
    let value = |row: usize, at: usize| (row * row * 31 + at * at * 17 + row * at * 7) % 61;
    (0..ROWS)
        .map(|row| (0..reals).map(|at| value(row, at) as f32 / 32.0).collect())
        .collect()
}

/// The index a file was made of: linked by one thread, with rows removed and not linked.
fn made(element: Element, metric: Metric, quantization: Quantization) -> VectorIndex {
    let params = Params {
        m: 4,
        ef_construction: 20,
        seed: 3,
        ..Params::new(element, metric, dimension(quantization))
    };
    let index = VectorIndex::with_quantization(params, quantization);
    index
        .append(&bytes(&rows(index.params().dimension * element.reals()), element))
        .unwrap();
    index.link(ROWS - 5);
    [4, 40, 48].iter().for_each(|&slot| index.remove(slot));
    index
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.v1"))
}

/// Slots and rounded distances for a few queries, a line each.
fn answers(index: &VectorIndex) -> String {
    let params = index.params();
    let mut live = Bitset::full(ROWS);
    [4, 40, 48].iter().for_each(|&slot| live.clear(slot));
    let mut lines = String::new();
    for mode in [Mode::Auto, Mode::Exact] {
        for row in rows(params.dimension * params.element.reals()).iter().step_by(9) {
            let found = search(index, row, 4, mode, &live);
            let found = found
                .iter()
                .map(|found| format!("{}:{:.3}", found.slot, found.distance + 1e-6));
            lines += &format!("{}\n", found.collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

#[test]
fn golden_files_open_answer_and_are_written_again() {
    for (name, element, metric, quantization) in FILES {
        let file = path(name);
        let index = made(element, metric, quantization);
        let written = image(&index);
        if !file.exists() && std::env::var("LONGBOW_GOLDEN").is_ok_and(|wish| wish == "write") {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &written).unwrap();
            std::fs::write(file.with_extension("answers"), answers(&index)).unwrap();
        }
        let golden = std::fs::read(&file).unwrap();
        assert_eq!(verify_image(&golden, &|| false), Ok(true));
        let again = opened(&golden);
        let expected = std::fs::read_to_string(file.with_extension("answers")).unwrap();
        assert_eq!(answers(&again), expected, "{name}");
        assert_eq!(answers(&index), expected, "{name}");
        assert!(
            written == golden,
            "{name}: the same index is written in another way"
        );
        while again.link(10) > 0 {}
        assert_eq!(again.linked() as usize, ROWS);
    }
}
