//! A flush allocates nothing once the log has warmed up. This executable's allocator counts.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use longbow_wal::{Batch, EntryKind, FsDisk, HardState, Log, Options};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(ptr, layout, size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_flush_in_steady_state_allocates_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(FsDisk::open(dir.path().join("wal")).expect("a disk"));
    let options = Options {
        segment_bytes: 16 << 20,
        spares: 1,
    };
    let mut log = Log::create(disk, options, 7).expect("a log");
    // Two batches in turn, as a keeper does: one is staged while the other is written.
    let mut batches = [Batch::new(), Batch::new()];
    let data = vec![5; 64 << 10];
    let mut index = 0;
    let mut flush = |log: &mut Log, entries: u64| {
        let batch = &mut batches[(index % 2) as usize];
        log.reader.prepare(batch);
        for _ in 0..entries {
            index += 1;
            let staged = batch.entry(0, EntryKind::Normal, 1, index, &data);
            staged.expect("the entry is small");
        }
        batch.hard_state(
            0,
            HardState {
                term: 1,
                vote: 1,
                commit: index - 1,
            },
        );
        assert_eq!(
            log.writer.commit(batch).expect("a disk that works").records as u64,
            entries + 1
        );
    };
    for _ in 0..4 {
        flush(&mut log, 9);
    }
    // Up to the end of a segment. A new one, once in 16 MiB, may allocate.
    let counted = allocations(|| {
        for _ in 0..20 {
            flush(&mut log, 9);
        }
    });
    assert_eq!(counted, 0);
    assert_eq!(log.reader.last_index(0), 24 * 9);
}
