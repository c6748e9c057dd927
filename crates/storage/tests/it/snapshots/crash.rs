//! The power goes after any step of a publication: the old snapshot is found, or the new one, and no rubbish for ever.

use longbow_storage::snapshot::Snapshots;

use super::disk::MemDisk;
use super::support::*;

/// A coin that falls as the seed says.
fn coin(seed: u64) -> impl FnMut() -> bool {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 63 == 1
    }
}

#[test]
fn either_the_old_or_the_new_one_is_found() {
    // Both kept, and the old one removed by the new.
    for keep in [1, 2] {
        let mut finished = false;
        let mut steps = 0;
        let (mut olds, mut news) = (0, 0);
        while !finished {
            for seed in 0..12 {
                let disk = MemDisk::default();
                let mut snapshots = Snapshots::new(disk.clone(), keep);
                let mut replica = varied();
                write(&mut snapshots, &replica);
                let old = replica.reader().view();
                upsert(&mut replica, 20, &[row(30, 2), row(2, 2)]);
                replica.publish();
                // Chunks and slots are others than those in the old one.
                tidy(&mut replica);
                let new = replica.reader().view();

                disk.cut_after(steps);
                let written = snapshots.write(&new, owner(), &never);
                finished = written.as_ref().is_ok_and(|written| written.unswept.is_none());
                let disk = match seed {
                    0 => disk.after_crash(&mut || false),
                    1 => disk.after_crash(&mut || true),
                    seed => disk.after_crash(&mut coin(seed)),
                };

                let mut snapshots = Snapshots::new(disk.clone(), keep);
                let opened = open(&mut snapshots, KIND, STRICT).unwrap().unwrap();
                let view = opened.replica.reader().view();
                if view.applied_index() == old.applied_index() {
                    assert!(written.is_err(), "what was published is there");
                    assert_same(KIND, &view, &old);
                    olds += 1;
                } else {
                    assert_same(KIND, &view, &new);
                    news += 1;
                }
                // The next one finds room, and leaves nothing that is not its own or its predecessor's.
                let manifest = write(&mut snapshots, &replica).manifest;
                assert_eq!(
                    snapshots.generations().unwrap().len(),
                    keep,
                    "after {steps} steps"
                );
                assert!(disk.names().iter().all(|name| !name.ends_with(".tmp")));
                snapshots.verify(&manifest, &never).unwrap();
                if keep == 1 {
                    assert_eq!(disk.names().len(), manifest.files_len() + 1, "{:?}", disk.names());
                }
            }
            steps += 1;
        }
        assert!(steps > 20 && olds > 0 && news > 0, "{steps} {olds} {news}");
    }
}
