//! What is on disk after checkpoints that end well, and after others.

use longbow_wire::internal::{EntryHeader, RegisterShardCommand, entry_header::Command};

use super::*;

fn formed() -> Keepers {
    Keepers::formed(&["k1".parse().unwrap()])
}

fn empty() -> State {
    State::first(formed())
}

fn open(path: &Path) -> (Checkpoints, State) {
    Checkpoints::open(path, &formed()).unwrap()
}

fn grow(state: &mut State, shards: u64) {
    let catalogue = &mut state.catalogue;
    for _ in 0..shards {
        let index = catalogue.applied_index() + 1;
        let node_id = format!("shard-{index:0>50}");
        let command = Command::RegisterShard(RegisterShardCommand { node_id, log_id: 0 });
        let header = EntryHeader {
            command: Some(command),
            ..EntryHeader::default()
        };
        assert!(catalogue.apply(index, &header).takes_effect());
    }
}

#[test]
fn the_newest_whole_checkpoint_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalogue");
    let (mut checkpoints, mut state) = open(&path);
    assert_eq!(state, empty());
    // Larger than one chunk, then smaller ones into both slots.
    for shards in [1_000, 1, 1] {
        grow(&mut state, shards);
        assert_eq!(checkpoints.store(&state).unwrap(), Stored::Durable);
    }
    drop(checkpoints);
    let (checkpoints, found) = open(&path);
    assert_eq!(found, state);
    // A torn newest one: the one before counts.
    let newest = 1 - checkpoints.next;
    checkpoints
        .open
        .as_ref()
        .unwrap()
        .db
        .remove(chunk_key(newest, 0))
        .unwrap();
    checkpoints.open.as_ref().unwrap().db.flush().unwrap();
    drop(checkpoints);
    let (mut checkpoints, found) = open(&path);
    assert_eq!(found.index(), state.index() - 1);
    // The next one replaces the torn one.
    checkpoints.store(&state).unwrap();
    drop(checkpoints);
    assert_eq!(open(&path).1, state);
}

#[test]
fn one_that_fails_spares_the_whole_one_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalogue");
    let (mut checkpoints, mut state) = open(&path);
    grow(&mut state, 1);
    // Slot 0 holds the only one.
    assert_eq!(checkpoints.store(&state).unwrap(), Stored::Durable);
    assert_eq!(checkpoints.next, 1);
    // A folder that cannot be opened: no sync has failed.
    checkpoints.shut().unwrap();
    let away = dir.path().join("away");
    fs::rename(&path, &away).unwrap();
    fs::write(&path, b"in the way").unwrap();
    grow(&mut state, 1);
    assert_eq!(checkpoints.store(&state).unwrap(), Stored::Missed);
    fs::remove_file(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    assert_eq!(checkpoints.next, 1, "slot 0 is still the only whole one");
    assert_eq!(checkpoints.store(&state).unwrap(), Stored::Durable);
    let open = checkpoints.open.as_ref().unwrap();
    assert_eq!(load(&open.db, 0, &formed()).unwrap().unwrap().index(), 1);
    assert_eq!(load(&open.db, 1, &formed()).unwrap().unwrap().index(), 2);
}

#[test]
fn small_catalogues_do_not_leave_chunks_of_large_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoints, mut state) = open(dir.path());
    let mut large = empty();
    grow(&mut large, 2_000);
    checkpoints.store(&large).unwrap();
    checkpoints.store(&large).unwrap();
    // Applied indexes only rise: make the small one newer.
    let index = large.index() + 1;
    state.catalogue.apply(index, &EntryHeader::default());
    checkpoints.store(&state).unwrap();
    drop(checkpoints);
    assert_eq!(open(dir.path()).1, state);
}

#[test]
fn what_version_1_wrote_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoints, mut state) = open(dir.path());
    grow(&mut state, 3);
    let bytes = state.catalogue.to_proto(true).encode_to_vec();
    let open_db = checkpoints.opened().unwrap();
    assert!(open_db.write(1, state.index(), &bytes).is_ok());
    let mut meta = Meta::decode(&open_db.db.get(meta_key(1)).unwrap().unwrap()).unwrap();
    meta.version = 1;
    open_db.db.insert(meta_key(1), &meta.encode()).unwrap();
    open_db.db.flush().unwrap();
    drop(checkpoints);
    assert_eq!(open(dir.path()).1, state);
}

#[test]
fn of_two_at_one_index_the_finished_one_counts() {
    for order in [[0, 9], [9, 0]] {
        let dir = tempfile::tempdir().unwrap();
        let (mut checkpoints, mut state) = open(dir.path());
        grow(&mut state, 3);
        for snapshot_term in order {
            state.snapshot_term = snapshot_term;
            checkpoints.store(&state).unwrap();
        }
        drop(checkpoints);
        assert_eq!(open(dir.path()).1.snapshot_term, 0);
    }
}

/// A file that takes no sync, where the database's is synced.
fn break_syncs(checkpoints: &mut Checkpoints) {
    checkpoints.open.as_mut().unwrap().file = File::open("/dev/null").unwrap();
}

#[test]
fn a_sync_that_failed_is_final() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoints, mut state) = open(dir.path());
    grow(&mut state, 1);
    assert_eq!(checkpoints.store(&state).unwrap(), Stored::Durable);
    break_syncs(&mut checkpoints);
    grow(&mut state, 1);
    assert_eq!(
        checkpoints.store(&state).unwrap_err().code,
        ErrorCode::StorageFailed
    );
    checkpoints.close().unwrap();
    // Its own end would have synced it once more: it has none before that of the process, and holds its lock.
    let held = sled::Config::new().path(dir.path()).open();
    assert!(matches!(held, Err(sled::Error::Io(error)) if is_locked(&error)));
}

#[test]
fn a_sync_that_fails_at_the_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut checkpoints, _) = open(dir.path());
    break_syncs(&mut checkpoints);
    assert_eq!(checkpoints.close().unwrap_err().code, ErrorCode::StorageFailed);
}
