//! Does the policy keep its promises, whatever rows come and go? It is asked again and again, and its plans are carried out.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    rows_max: 4_096,
    bytes_max: 1 << 20,
};

#[derive(Debug, Clone)]
enum Event {
    /// A batch of so many rows of so many bytes.
    Write(u64, u64),
    /// A share of the live rows of a chunk die, in 256ths.
    Die(prop::sample::Index, u64),
    /// Plans are carried out.
    Work(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1..600_u64, 1..400_u64).prop_map(|(rows, bytes)| Event::Write(rows, bytes)),
        1 => (1..6_000_u64, 1..400_u64).prop_map(|(rows, bytes)| Event::Write(rows, bytes)),
        3 => (any::<prop::sample::Index>(), 1..=256_u64).prop_map(|(at, share)| Event::Die(at, share)),
        6 => (1..3_usize).prop_map(Event::Work),
    ]
}

/// Chunks, and what it cost to keep them.
#[derive(Default)]
struct Store {
    pieces: Vec<Piece>,
    from: usize,
    written: u64,
    died: u64,
    moved: u64,
}

impl Store {
    fn write(&mut self, rows: u64, bytes: u64) {
        self.written += rows;
        self.pieces.push(Piece {
            rows,
            dead: 0,
            bytes: rows * bytes,
        });
    }

    fn die(&mut self, at: usize, share: u64) {
        let piece = &mut self.pieces[at];
        let dying = piece.live() * share / 256;
        piece.dead += dying;
        self.died += dying;
    }

    /// Carries a plan out, as whoever executes it does; false if there is none.
    fn work(&mut self) -> bool {
        let Some(range) = plan(&self.pieces, &LIMITS, self.from) else {
            return false;
        };
        assert!(range.end <= self.pieces.len() && !range.is_empty());
        let merged = &self.pieces[range.clone()];
        let (rows, bytes) = merged.iter().fold((0, 0), |(rows, bytes), piece| {
            (rows + piece.live(), bytes + piece.live_bytes())
        });
        assert!(
            merged.len() == 1 || (rows <= LIMITS.rows_max && bytes <= LIMITS.bytes_max),
            "{merged:?} do not fit"
        );
        assert!(
            merged.len() > 1 || merged[0].dead > 0,
            "{merged:?} would be as it was"
        );
        self.moved += rows;
        let piece = Piece { rows, dead: 0, bytes };
        let start = range.start;
        self.pieces.splice(range, (rows > 0).then_some(piece));
        self.from = if start + 1 < self.pieces.len() {
            start + 1
        } else {
            0
        };
        true
    }

    /// Until nothing is left to do.
    fn finish(&mut self) {
        let most = 4 * self.pieces.len() + 4;
        for _ in 0..most {
            if !self.work() {
                return;
            }
        }
        panic!("it does not end: {:?}", self.pieces);
    }

    fn check_at_rest(&self) {
        for piece in &self.pieces {
            assert!(piece.dead * DEAD_SHARE < piece.rows, "{piece:?}");
        }
        // Of neighbours before the tail, no two fit into one.
        let tail =
            (0..self.pieces.len()).find(|&at| fitting(&self.pieces, &LIMITS, at).end == self.pieces.len());
        let tail = tail.unwrap_or(0);
        for at in 0..tail {
            assert_eq!(
                fitting(&self.pieces, &LIMITS, at).len(),
                1,
                "{:?} at {at}",
                self.pieces
            );
        }
        // ln(4096) / ln(4/3) = 28.9, and one more.
        let last = self.pieces.len() - tail;
        assert!(last <= 30, "{last} chunks in the tail");
    }

    fn run(events: &[Event]) -> Self {
        let mut store = Self::default();
        for event in events {
            match event {
                Event::Write(rows, bytes) => store.write(*rows, *bytes),
                Event::Die(_, _) if store.pieces.is_empty() => {}
                Event::Die(at, share) => store.die(at.index(store.pieces.len()), *share),
                Event::Work(plans) => {
                    let _ = (0..*plans).take_while(|_| store.work()).count();
                }
            }
        }
        store
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn at_rest_chunks_are_few_and_little_of_them_is_dead(
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut store = Store::run(&events);
        store.finish();
        store.check_at_rest();
    }

    /// One row may be in the way of thousands, but what was moved is little by what was written and what died.
    #[test]
    fn little_is_moved(events in proptest::collection::vec(event(), 200..400)) {
        let mut store = Store::run(&events);
        store.finish();
        // log4(4096) = 6 for growing from a batch of one row, one for the chunk that is closed, and two for chunks that
        // come to fit because rows of them died.
        let most = 9 * store.written + 4 * store.died;
        prop_assert!(store.moved <= most, "{} moved of {} written and {} dead", store.moved, store.written, store.died);
    }
}

#[test]
fn rows_of_steady_batches_are_moved_as_often_as_they_grow_fourfold() {
    for (rows, most) in [(64, 3.0), (100, 3.6), (1_000, 2.0)] {
        let mut store = Store::default();
        for _ in 0..2_000 {
            store.write(rows, 100);
            store.finish();
        }
        let amplification = store.moved as f64 / store.written as f64;
        assert!(
            amplification <= most,
            "{amplification} for batches of {rows} rows"
        );
        let full = (store.written / LIMITS.rows_max) as usize;
        assert!(
            store.pieces.len() <= full * 3 / 2 + 16,
            "{} chunks",
            store.pieces.len()
        );
    }
}

#[test]
fn replacing_rows_at_random_moves_at_most_three_for_one() {
    let mut store = Store::default();
    (0..100).for_each(|_| store.write(LIMITS.rows_max, 100));
    store.finish();
    assert_eq!(store.moved, 0);
    // Each round a hundredth of every chunk dies, and as many rows come.
    for _ in 0..400 {
        let live: u64 = store.pieces.iter().map(Piece::live).sum();
        let before = store.died;
        for at in 0..store.pieces.len() {
            let piece = &mut store.pieces[at];
            let dying = piece.live().div_ceil(100).min(piece.live());
            piece.dead += dying;
            store.died += dying;
        }
        store.write(store.died - before, 100);
        store.finish();
        let (rows, now): (u64, u64) = store.pieces.iter().fold((0, 0), |(rows, live), piece| {
            (rows + piece.rows, live + piece.live())
        });
        assert_eq!(now, live);
        assert!(rows * 3 <= now * 4, "{rows} rows for {now} that live");
    }
    let per_dead = store.moved as f64 / store.died as f64;
    assert!(per_dead <= 5.0, "{per_dead} rows moved for each that died");
}

#[test]
fn what_is_due_anywhere_is_done_within_a_round_however_fast_rows_arrive() {
    let mut store = Store::default();
    (0..40).for_each(|_| store.write(LIMITS.rows_max, 100));
    store.finish();
    (0..40).for_each(|at| store.die(at, 128));
    // Batches that would keep the tail busy for ever, one plan for each.
    let mut plans = 0;
    while store.pieces.iter().any(Piece::is_due) {
        (0..4).for_each(|_| store.write(64, 100));
        assert!(store.work());
        plans += 1;
        assert!(plans <= 41, "some chunk is never reached");
    }
    // And the other way round: rows that die without end do not keep the tail from being merged.
    let before = store.pieces.len();
    let mut plans = 0;
    while store.pieces.len() >= before {
        (0..10).for_each(|at| store.die(at, 80));
        assert!(store.work());
        plans += 1;
        assert!(plans <= 60, "the tail is never reached");
    }
}

#[test]
fn chunks_without_live_rows_go_and_single_large_ones_stay() {
    let piece = |rows, dead, bytes| Piece { rows, dead, bytes };
    assert_eq!(plan(&[], &LIMITS, 0), None);
    assert_eq!(plan(&[piece(10, 10, 10)], &LIMITS, 0), Some(0..1));
    // Larger than a full chunk, by rows or by bytes.
    assert_eq!(
        plan(&[piece(5_000, 0, 10), piece(10, 0, 2 << 20)], &LIMITS, 0),
        None
    );
    assert_eq!(plan(&[piece(5_000, 1_250, 10)], &LIMITS, 0), Some(0..1));
}
