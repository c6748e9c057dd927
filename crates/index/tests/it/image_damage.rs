//! Bytes that are not what was written are refused with a reason, or make an index that is safe to use.

use longbow_index::{
    Bitset, Element, ImageError, Metric, Mode, Params, Quantization, SearchParams, VectorIndex, verify_image,
};
use proptest::prelude::*;

use crate::support::{bytes, check, clustered, image, memory};

/// Enough for codes to be shorter.
const DIMENSION: usize = 20;

fn small(quantization: Quantization) -> Vec<u8> {
    let params = Params {
        m: 3,
        ef_construction: 20,
        ..Params::new(Element::F32, Metric::L2, DIMENSION)
    };
    let index = VectorIndex::with_quantization(params, quantization);
    index
        .append(&bytes(&clustered(70, DIMENSION, 71), Element::F32))
        .unwrap();
    index.link(60);
    index.remove(11);
    image(&index)
}

/// Opens bytes; if that works, uses the index in all ways.
fn try_out(bytes_of_image: &[u8]) -> Result<(), ImageError> {
    let index = VectorIndex::from_image(memory(bytes_of_image))?;
    let all = Bitset::full(index.len() as usize);
    let reals = index.params().dimension * index.params().element.reals();
    let query = vec![0.5; reals];
    let ask = |index: &VectorIndex, allow: &Bitset| {
        for mode in [Mode::Auto, Mode::Exact] {
            let params = SearchParams { k: 5, ef: 16, mode };
            let (found, _) = index.search(&query, &params, allow, &|| false).unwrap();
            check(&found, allow);
            let is_live = |&slot: &usize| index.vector(slot as u32, &mut Vec::new());
            assert_eq!(found.len(), allow.iter().filter(is_live).take(5).count());
        }
    };
    ask(&index, &all);
    let mut slots = Vec::new();
    let rows = bytes(&clustered(20, reals, 72), index.params().element);
    index.insert(&rows, &mut slots).unwrap();
    while index.link(10) > 0 {}
    (0..index.len() / 2).for_each(|slot| index.remove(slot * 2));
    while index.vacuum(100) > 0 {}
    let odd: Bitset = (0..index.len() as usize).filter(|slot| slot % 2 == 1).collect();
    ask(&index, &odd);
    image(&index);
    Ok(())
}

#[test]
fn the_version_must_be_the_same() {
    let mut other = small(Quantization::None);
    other[8] += 1;
    let refused = ImageError::Version {
        found: 2,
        supported: 1,
    };
    assert_eq!(try_out(&other), Err(refused.clone()));
    assert_eq!(verify_image(&other, &|| false), Err(refused));
    other[0] = b'?';
    assert_eq!(try_out(&other), Err(ImageError::NotAnImage));
    assert_eq!(try_out(&[]), Err(ImageError::NotAnImage));
}

#[test]
fn every_cut_is_refused() {
    let whole = small(Quantization::Sq8);
    try_out(&whole).unwrap();
    assert_eq!(verify_image(&whole, &|| false), Ok(true));
    for len in 0..whole.len() {
        let opened = VectorIndex::from_image(memory(&whole[..len]));
        assert!(opened.is_err(), "cut to {len} of {}", whole.len());
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(VectorIndex::from_image(memory(&longer)).is_err());
}

#[test]
fn every_changed_byte_is_found() {
    for quantization in [Quantization::None, Quantization::Sq8] {
        let whole = small(quantization);
        let mut unnoticed = 0;
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0x40;
            match verify_image(&other, &|| false) {
                Err(ImageError::Damaged { offset, .. }) => assert!(offset <= whole.len() as u64),
                Err(ImageError::NotAnImage) => assert!(at < 8),
                Err(ImageError::Version { .. }) => assert!((8..12).contains(&at)),
                Err(error) => panic!("{error}"),
                Ok(_) => {
                    // Between two sections, where nobody looks.
                    unnoticed += 1;
                    assert_eq!(whole[at], 0);
                    try_out(&other).unwrap();
                }
            }
        }
        assert!(unnoticed < whole.len() / 5, "{unnoticed} of {}", whole.len());
    }
}

#[test]
fn damage_is_named() {
    let index = VectorIndex::new(Params::new(Element::F32, Metric::L2, 300));
    index
        .append(&bytes(&clustered(2_000, 300, 73), Element::F32))
        .unwrap();
    let mut written = image(&index);
    // In the second MiB of the vectors, which begin on the first page.
    written[(1 << 20) + 5_000] ^= 1;
    let error = verify_image(&written, &|| false).unwrap_err();
    assert_eq!(
        error,
        ImageError::Damaged {
            section: "VECS",
            offset: 4_096 + (1 << 20),
            reason: "the checksum of this MiB is another",
        }
    );
    // Opening does not read vectors.
    try_out(&written).unwrap();
    assert_eq!(verify_image(&written, &|| true), Ok(false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn whatever_happens_to_bytes_is_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        quantized in any::<bool>(),
    ) {
        let mut bytes = small(if quantized { Quantization::Sq4 } else { Quantization::None });
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = try_out(&bytes);
    }
}
