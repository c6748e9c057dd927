//! Images whose checksums are right and whose contents are not: what a checksum does not find, the checks must.

use longbow_kernels::{Bitset, Element, Metric};
use proptest::prelude::*;

use super::{
    Header, ImageError, ImageMemory,
    format::{BLOCK_BYTES, Trailer},
    load::parse,
};
use crate::{
    index::VectorIndex,
    params::{Mode, Params, Quantization, SearchParams},
};

const DIMENSION: usize = 3;

fn rows(count: usize, seed: usize) -> Vec<u8> {
    let value = |at: usize| ((at * 7919 + seed * 31) % 101) as f32;
    (0..count * DIMENSION)
        .flat_map(|at| value(at).to_ne_bytes())
        .collect()
}

/// Free, waiting, removed and unlinked slots among the others.
fn small() -> Vec<u8> {
    let params = Params {
        m: 2,
        ef_construction: 8,
        ..Params::new(Element::F32, Metric::L2, DIMENSION)
    };
    let index = VectorIndex::with_quantization(params, Quantization::Sq8);
    index.append(&rows(50, 1)).unwrap();
    while index.link(10) > 0 {}
    (0..10).for_each(|slot| index.remove(slot));
    while index.free() < 10 {
        index.vacuum(100);
        std::thread::yield_now();
    }
    index.insert(&rows(6, 2), &mut Vec::new()).unwrap();
    index.link(3);
    index.append(&rows(4, 3)).unwrap();
    index.remove(30);
    let mut image = Vec::new();
    index.write_image(u32::MAX, &mut image).unwrap();
    image
}

/// The same sections under another header and trailer, with the right checksums.
fn sealed(image: &[u8], header: Header, mut trailer: Trailer) -> Option<Vec<u8>> {
    let first = header.to_bytes()?;
    let end = trailer.sections.last().map(|last| last.offset + last.bytes)?;
    let mut out = image[..end as usize].to_vec();
    out[..first.len()].copy_from_slice(&first);
    trailer.sums.clear();
    for section in &trailer.sections {
        let bytes = &out[section.offset as usize..(section.offset + section.bytes) as usize];
        trailer.sums.extend(bytes.chunks(BLOCK_BYTES).map(crc32c::crc32c));
    }
    out.extend_from_slice(&trailer.to_bytes(end, &first));
    Some(out)
}

/// Opens an image; if that works, the index must do all that an index does.
fn live_in(image: &[u8]) -> Result<(), ImageError> {
    let mut memory = ImageMemory::zeroed(image.len())?;
    memory.as_mut().copy_from_slice(image);
    let index = VectorIndex::from_image(memory)?;
    let row_bytes = index.params().dimension * index.params().element.bytes();
    if row_bytes == 0 {
        return Ok(());
    }
    let query = vec![1.0; index.params().dimension * index.params().element.reals()];
    for round in 0..2 {
        let all = Bitset::full(index.len() as usize);
        for mode in [Mode::Auto, Mode::Exact] {
            let params = SearchParams { k: 5, ef: 16, mode };
            let (found, _) = index.search(&query, &params, &all, &|| false).unwrap();
            assert_eq!(found.len(), all.len().min(5));
        }
        index.insert(&vec![1; 20 * row_bytes], &mut Vec::new()).unwrap();
        while index.link(10) > 0 {}
        (0..index.len())
            .filter(|slot| slot % 3 == round)
            .for_each(|slot| index.remove(slot));
        while index.vacuum(100) > 0 {}
    }
    index.write_image(u32::MAX, &mut Vec::new()).unwrap();
    Ok(())
}

#[test]
fn a_seal_alone_changes_nothing() {
    let image = small();
    let (header, trailer) = parse(&image).unwrap();
    assert_eq!(sealed(&image, header, trailer).unwrap(), image);
    live_in(&image).unwrap();
}

#[test]
fn every_wrong_number_of_header_and_trailer_is_survived() {
    let image = small();
    let (header, trailer) = parse(&image).unwrap();
    for wrong in [
        0,
        1,
        2,
        3,
        5,
        49,
        53,
        54,
        55,
        64,
        1 << 20,
        1 << 27,
        1 << 31,
        u32::MAX,
    ] {
        let headers = [
            Header {
                slots: wrong,
                ..header
            },
            Header {
                params: Params {
                    dimension: wrong as usize,
                    ..header.params
                },
                ..header
            },
            Header {
                params: Params {
                    m: wrong as usize,
                    ..header.params
                },
                ..header
            },
            Header {
                params: Params {
                    ef_construction: wrong as usize,
                    ..header.params
                },
                ..header
            },
            Header {
                quantization: Quantization::Sq4,
                ..header
            },
            Header {
                params: Params {
                    element: Element::Complex128,
                    ..header.params
                },
                ..header
            },
        ];
        let trailers = [
            Trailer {
                linked: wrong,
                ..trailer.clone()
            },
            Trailer {
                entry_level: wrong,
                ..trailer.clone()
            },
            Trailer {
                entry_slot_plus_one: wrong,
                ..trailer.clone()
            },
            Trailer {
                upper_lists: wrong,
                ..trailer.clone()
            },
            Trailer {
                unsettled: true,
                ..trailer.clone()
            },
        ];
        for changed in headers
            .into_iter()
            .filter_map(|header| sealed(&image, header, trailer.clone()))
        {
            let _ = live_in(&changed);
        }
        for changed in trailers
            .into_iter()
            .filter_map(|trailer| sealed(&image, header, trailer))
        {
            let _ = live_in(&changed);
        }
    }
}

#[test]
fn a_wrong_link_is_refused() {
    let image = small();
    let (header, trailer) = parse(&image).unwrap();
    let base = trailer
        .sections
        .iter()
        .find(|section| &section.tag == b"BASE")
        .unwrap();
    let first_link = |slot: usize| base.offset as usize + slot * 16;
    // To itself, to one that is free, waits, was never linked, or does not exist.
    let slots = |tag: &[u8; 4]| -> Vec<u32> {
        let section = trailer
            .sections
            .iter()
            .find(|section| &section.tag == tag)
            .unwrap();
        let word = &image[section.offset as usize..][..8];
        let word = u64::from_le_bytes(word.try_into().unwrap());
        (0..64).filter(|bit| word >> bit & 1 == 1).collect()
    };
    let (free, waiting) = (slots(b"FREE"), slots(b"WAIT"));
    assert!(!free.is_empty() && !waiting.is_empty());
    for wrong in [20, free[0], waiting[0], 51, 54, 1 << 20, u32::MAX - 1] {
        let mut other = image.clone();
        other[first_link(20)..][..4].copy_from_slice(&(wrong + 1).to_le_bytes());
        let other = sealed(&other, header, trailer.clone()).unwrap();
        let error = live_in(&other).unwrap_err();
        assert!(
            matches!(error, ImageError::Damaged { section: "BASE", .. }),
            "{wrong}: {error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 5 } else { 3_000 }))]
    #[test]
    fn wrong_contents_under_right_checksums_are_survived(
        section in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        small_bytes in any::<bool>(),
    ) {
        let mut image = small();
        let (header, trailer) = parse(&image).unwrap();
        let section = trailer.sections[section.index(trailer.sections.len())];
        for (at, byte) in changes {
            let at = section.offset as usize + at.index(section.bytes.max(1) as usize);
            image[at] = if small_bytes { byte % 56 } else { byte };
        }
        let image = sealed(&image, header, trailer).unwrap();
        let _ = live_in(&image);
    }
}
