use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::entry::ENTRY_HEADER_BYTES;
use super::segment::{HEADER_BYTES, SegmentHeader, VERSION};
use super::*;
use crate::testing::{Disk, Fault, Power};

type Entries = Vec<(TenantId, Bytes)>;

fn entry(tenant: &str, payload: &[u8]) -> (TenantId, Bytes) {
    (TenantId::parse(tenant).unwrap(), Bytes::copy_from_slice(payload))
}

/// Distinct entries of growing size.
fn some_entries(count: usize) -> Entries {
    (0..count).map(|index| entry(&format!("tenant-{}", index % 3), &vec![index as u8; index * 7])).collect()
}

/// What a start would find, without starting a new segment.
fn replay(dir: &Path) -> Vec<ReplayEvent> {
    replay_on(Arc::new(LocalFiles::default()), dir)
}

fn replay_on(files: Arc<dyn Files>, dir: &Path) -> Vec<ReplayEvent> {
    Recovery::open(files, dir).unwrap().replay().map(Result::unwrap).collect()
}

fn entries_of(events: &[ReplayEvent]) -> Entries {
    let entry = |event: &ReplayEvent| match event {
        ReplayEvent::Entry { tenant, payload, .. } => Some((tenant.clone(), payload.clone())),
        _ => None,
    };
    events.iter().filter_map(entry).collect()
}

fn is_damage(event: &ReplayEvent) -> bool {
    matches!(event, ReplayEvent::Corrupt { .. } | ReplayEvent::TornTail { .. })
}

/// A log with these entries in its first segment, left as by a killed process; the segment's bytes and where entries end.
fn written(dir: &Path, entries: &Entries) -> (Vec<u8>, Vec<usize>) {
    let (mut log, _) = Log::open(dir).unwrap();
    let ends = entries.iter().map(|entry| log.append_batch(std::slice::from_ref(entry)).unwrap().offset as usize);
    let ends = ends.collect();
    (fs::read(first_segment(dir)).unwrap(), ends)
}

fn first_segment(dir: &Path) -> PathBuf {
    paths::segment(dir, SegmentSequence(1))
}

/// A folder whose only content is this segment.
fn only_segment(bytes: &[u8]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    fs::write(first_segment(temp.path()), bytes).unwrap();
    temp
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_goes_in_comes_out(batches in proptest::collection::vec(
        (proptest::collection::vec(("[a-z*'()]{1,9}", proptest::collection::vec(any::<u8>(), 0..300)), 0..5), any::<bool>()),
        0..10,
    )) {
        let temp = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(temp.path()).unwrap();
        let mut expected = Vec::new();
        for (batch, rotate) in batches {
            let batch: Entries = batch.iter().map(|(tenant, payload)| entry(tenant, payload)).collect();
            log.append_batch(&batch).unwrap();
            expected.extend(batch);
            if rotate {
                log.rotate().unwrap();
            }
        }
        drop(log);
        let events = replay(temp.path());
        prop_assert_eq!(entries_of(&events), expected);
        prop_assert!(!events.iter().any(is_damage));
prop_assert_eq!(entries_of(&replay(temp.path())), entries_of(&events), "replay changes nothing");
    }
}

#[test]
fn a_file_cut_anywhere_gives_all_whole_entries() {
    let temp = tempfile::tempdir().unwrap();
    let entries = some_entries(8);
    let (bytes, ends) = written(temp.path(), &entries);
    for cut in 0..=bytes.len() {
        let temp = only_segment(&bytes[..cut]);
        let events = replay(temp.path());
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(entries_of(&events), entries[..whole], "cut at {cut}");
        let clean = cut == 0 || cut >= HEADER_BYTES && ends.iter().chain([&HEADER_BYTES]).any(|end| *end == cut);
        let torn = events.iter().filter(|event| is_damage(event)).count();
        assert!(events.iter().all(|event| !matches!(event, ReplayEvent::Corrupt { .. })), "cut at {cut}");
        if cut >= HEADER_BYTES {
            assert_eq!(torn, usize::from(!clean), "cut at {cut}");
        }
        // The tail is gone: a second replay has nothing to complain about.
        assert!(!replay(temp.path()).iter().any(is_damage), "cut at {cut}");
    }
}

#[test]
fn a_torn_tail_is_still_one_after_a_start_that_did_not_come_to_replay() {
    let temp = tempfile::tempdir().unwrap();
    let entries = some_entries(3);
    let (bytes, ends) = written(temp.path(), &entries);
    let temp = only_segment(&bytes[..bytes.len() - 1]);
    for _ in 0..2 {
        Log::open(temp.path()).unwrap();
    }
    let events = replay(temp.path());
    assert_eq!(entries_of(&events), entries[..2]);
    assert_eq!(events[2], ReplayEvent::TornTail { segment: SegmentSequence(1), offset: ends[1] as u64 });
    assert!(!replay(temp.path()).iter().any(is_damage));
}

#[test]
fn a_damaged_byte_costs_the_entry_it_is_in_and_is_reported() {
    let temp = tempfile::tempdir().unwrap();
    let entries = some_entries(6);
    let (bytes, ends) = written(temp.path(), &entries);
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1 << (position % 8);
        let events = replay(only_segment(&damaged).path());
        let mut expected = entries.clone();
        if position >= HEADER_BYTES {
            expected.remove(ends.iter().filter(|end| **end <= position).count());
        }
        assert_eq!(entries_of(&events), expected, "byte {position}");
        assert_eq!(events.iter().filter(|event| is_damage(event)).count(), usize::from(position >= HEADER_BYTES));
    }
}

#[test]
fn a_segment_whose_header_is_lost_is_reported_and_the_others_are_read() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(temp.path()).unwrap();
    log.append_batch(&some_entries(3)).unwrap();
    log.rotate().unwrap();
    log.append_batch(&[entry("b", b"kept")]).unwrap();
    drop(log);
    let mut bytes = fs::read(first_segment(temp.path())).unwrap();
    bytes[..HEADER_BYTES].fill(0);
    fs::write(first_segment(temp.path()), bytes).unwrap();
    let events = replay(temp.path());
    let segment = SegmentSequence(1);
    assert_eq!(events[0], ReplayEvent::Corrupt { segment, offset: 0, reason: "segment header is damaged" });
    assert_eq!(events[1], ReplayEvent::SegmentEnd { segment });
    assert_eq!(entries_of(&events), [entry("b", b"kept")]);
}

#[test]
fn a_closed_segment_that_became_shorter_is_reported() {
    let entries = some_entries(4);
    for missing_bytes in [1, ENTRY_HEADER_BYTES + entries[3].1.len() + "tenant-0".len()] {
        let temp = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(temp.path()).unwrap();
        log.append_batch(&entries).unwrap();
        log.rotate().unwrap();
        drop(log);
        let bytes = fs::read(first_segment(temp.path())).unwrap();
        fs::write(first_segment(temp.path()), &bytes[..bytes.len() - missing_bytes]).unwrap();
        let events = replay(temp.path());
        assert_eq!(entries_of(&events), entries[..3]);
        assert!(matches!(events[3], ReplayEvent::Corrupt { .. }), "{events:?}");
        assert_eq!(events[4], ReplayEvent::SegmentEnd { segment: SegmentSequence(1) });
    }
}

#[test]
fn bytes_of_an_entry_inside_a_payload_are_not_taken_for_one() {
    let temp = tempfile::tempdir().unwrap();
    let (bytes, _) = written(temp.path(), &vec![entry("victim", b"forged")]);
    let forged = &bytes[HEADER_BYTES..];
    let temp = tempfile::tempdir().unwrap();
    let entries = vec![entry("a", forged), entry("a", b"after")];
    let (mut bytes, _) = written(temp.path(), &entries);
    bytes[HEADER_BYTES] ^= 1; // replay must now search for the next entry
    let events = replay(only_segment(&bytes).path());
    assert_eq!(entries_of(&events), entries[1..]);
}

#[test]
fn the_search_for_an_entry_crosses_chunks() {
    let temp = tempfile::tempdir().unwrap();
    for bytes in (256 << 10) - 60..(256 << 10) + 5 {
        fs::remove_dir_all(temp.path()).unwrap();
        let entries = vec![entry("a", &vec![b'M'; bytes]), entry("b", b"after")];
        let (mut bytes, _) = written(temp.path(), &entries);
        bytes[HEADER_BYTES + 5] ^= 1;
        let events = replay(only_segment(&bytes).path());
        assert_eq!(entries_of(&events), entries[1..]);
    }
}

#[test]
fn a_version_of_the_future_is_refused_and_nothing_is_touched() {
    let temp = tempfile::tempdir().unwrap();
    let sequence = SegmentSequence(1);
    let header = SegmentHeader { version: VERSION + 1, salt: 0, sequence, predecessor: Predecessor::UNKNOWN };
    fs::write(first_segment(temp.path()), header.encode()).unwrap();
    let error = Log::open(temp.path()).unwrap_err();
    assert!(error.to_string().ends_with("has version 2, this program knows version 1"), "{error}");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
}

#[test]
fn a_segment_of_version_1_still_opens() {
    const HEADER: &[u8] = b"MOSSOWAL\x01\x00\x00\x00\x04\x03\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xe2..R";
    const ENTRY: &[u8] = b"MENT\x09\x00\x00\x00\x06\x00\x01\x00:\x91\x91\xbf\xb7\xc1\x0fHteam-aold";
    let temp = only_segment(&[HEADER, HEADER, ENTRY].concat());
    let segment = SegmentSequence(1);
    let (tenant, payload) = entry("team-a", b"old");
    assert_eq!(
        replay(temp.path()),
        [ReplayEvent::Entry { segment, tenant, payload }, ReplayEvent::SegmentEnd { segment }]
    );
}

/// The folder of a log on a [`Disk`].
const DIR: &str = "/log";

fn open_on(disk: &Disk) -> Log {
    Log::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap().0
}

/// Acknowledged entries come back, those of failed batches do not, and the log goes on once the fault is over.
#[track_caller]
fn check_fault(what: &str, fail: impl Fn(&Disk)) {
    let disk = Disk::default();
    let mut log = open_on(&disk);
    log.append_batch(&[entry("a", b"before")]).unwrap();
    fail(&disk);
    let failing = [entry("a", b"failed 1"), entry("a", b"failed 2")];
    log.append_batch(&failing).unwrap_err();
    disk.faults().clear();
    disk.set_free_bytes(None);
    log.append_batch(&[entry("a", b"x")]).unwrap();
    log.rotate().unwrap();
    log.append_batch(&[entry("a", b"after")]).unwrap();
    drop(log);
    let events = replay_on(Arc::new(disk), Path::new(DIR));
    assert_eq!(entries_of(&events), [entry("a", b"before"), entry("a", b"x"), entry("a", b"after")], "{what}");
    assert!(!events.iter().any(is_damage), "{what}");
}

#[test]
fn a_failed_append_leaves_nothing_behind() {
    // an append is a write and a sync; after the one that fails, what was written is cut off
    let (write, sync) = (0, 1);
    for bytes in 0..2 * (ENTRY_HEADER_BYTES + "afailed 1".len()) {
        check_fault(&format!("room for {bytes} bytes"), |disk| disk.set_free_bytes(Some(bytes)));
        check_fault(&format!("room for {bytes} bytes, not cut"), |disk| {
            disk.set_free_bytes(Some(bytes));
            disk.faults().plan(write + 1, Fault::Refused);
        });
    }
    for fault in [Fault::Refused, Fault::Unclear] {
        check_fault("sync", |disk| disk.faults().plan(sync, fault));
        check_fault("sync and cut", |disk| {
            disk.faults().plan(sync, fault);
            disk.faults().plan(sync + 1, Fault::Refused);
        });
    }
}

/// An orderly end syncs nothing: a cut that the next start sees may be undone when the power goes later.
#[test]
fn what_a_start_has_read_is_what_later_ones_read_whatever_was_synced() {
    let is_cut_back = [false, true];
    for (seed, is_cut_back) in (0..50).flat_map(|seed| is_cut_back.map(|is_cut_back| (seed, is_cut_back))) {
        let disk = Disk::default();
        let mut log = open_on(&disk);
        log.append_batch(&[entry("a", b"before")]).unwrap();
        disk.faults().plan(0, Fault::Unclear);
        if !is_cut_back {
            disk.faults().plan(1, Fault::Refused);
        }
        log.append_batch(&[entry("a", b"failed")]).unwrap_err();
        drop(log);
        let read = |disk: &Disk| entries_of(&replay_on(Arc::new(disk.clone()), Path::new(DIR)));
        let first = read(&disk);
        let expected = [entry("a", b"before"), entry("a", b"failed")];
        assert_eq!(first, if is_cut_back { &expected[..1] } else { &expected });
        drop(open_on(&disk));
        let disk = disk.after_crash(Power::default(), &mut SmallRng::seed_from_u64(seed));
        assert_eq!(read(&disk), first, "seed {seed}");
    }
}

/// What is removed may be back when the power goes: a segment without the next one, which says where it ends.
#[test]
fn a_failed_append_stays_away_when_its_segment_comes_back() {
    let (write, sync) = (0, 1);
    let faults = [vec![write], vec![write, write + 1], vec![sync], vec![sync, sync + 1]];
    let restarts = [false, true];
    for (faults, is_restarted) in faults.iter().flat_map(|faults| restarts.map(|is| (faults, is))) {
        let disk = Disk::default();
        let mut log = open_on(&disk);
        log.append_batch(&[entry("a", b"before")]).unwrap();
        faults.iter().for_each(|&after| disk.faults().plan(after, Fault::Unclear));
        log.append_batch(&[entry("a", b"failed")]).unwrap_err();
        log.rotate().unwrap();
        if is_restarted {
            let (next, recovery) = Log::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
            recovery.replay().for_each(|event| assert!(!is_damage(&event.unwrap())));
            log = next;
        }
        log.append_batch(&[entry("a", b"after")]).unwrap();
        log.rotate().unwrap();
        log.remove_through(SegmentSequence(u64::MAX)).unwrap();
        for seed in 0..50 {
            let disk = disk.after_crash(Power::default(), &mut SmallRng::seed_from_u64(seed));
            let found = entries_of(&replay_on(Arc::new(disk), Path::new(DIR)));
            assert!(!found.contains(&entry("a", b"failed")), "{faults:?} {is_restarted} {seed}");
        }
    }
}

#[test]
fn a_log_that_cannot_start_a_segment_recovers_later() {
    let disk = Disk::default();
    let mut log = open_on(&disk);
    log.append_batch(&[entry("a", b"before")]).unwrap();
    disk.create(&paths::segment(Path::new(DIR), SegmentSequence(2))).unwrap(); // in the way of the next segment
    disk.faults().plan(1, Fault::Refused);
    log.append_batch(&[entry("a", b"failed")]).unwrap_err();
    log.append_batch(&[entry("a", b"refused")]).unwrap_err();
    log.append_batch(&[entry("a", b"after")]).unwrap();
    drop(log);
    let events = replay_on(Arc::new(disk), Path::new(DIR));
    assert_eq!(entries_of(&events), [entry("a", b"before"), entry("a", b"after")]);
}

#[test]
fn a_full_disk_is_not_filled_with_segments_that_could_not_be_started() {
    let disk = Disk::default();
    let mut log = open_on(&disk);
    log.append_batch(&[entry("a", b"before")]).unwrap();
    disk.set_free_bytes(Some(HEADER_BYTES - 1));
    log.rotate().unwrap_err();
    for _ in 0..10 {
        log.append_batch(&[entry("a", b"refused")]).unwrap_err();
    }
    assert_eq!(disk.file_count(), 1);
    disk.set_free_bytes(None);
    log.append_batch(&[entry("a", b"after")]).unwrap();
    drop(log);
    let events = replay_on(Arc::new(disk), Path::new(DIR));
    assert_eq!(entries_of(&events), [entry("a", b"before"), entry("a", b"after")]);
    assert!(!events.iter().any(is_damage));
}

#[test]
fn a_log_that_is_opened_on_a_full_disk_goes_on_once_there_is_room() {
    let disk = Disk::default();
    let mut log = open_on(&disk);
    log.append_batch(&[entry("a", b"before")]).unwrap();
    drop(log);
    disk.set_free_bytes(Some(HEADER_BYTES - 1));
    let mut log = open_on(&disk);
    assert_eq!((log.segments(), disk.file_count()), (1, 1));
    log.append_batch(&[entry("a", b"refused")]).unwrap_err();
    log.rotate().unwrap_err();
    disk.set_free_bytes(None);
    let position = log.append_batch(&[entry("a", b"after")]).unwrap();
    assert!(position.segment > SegmentSequence(1));
    drop(log);
    let events = replay_on(Arc::new(disk), Path::new(DIR));
    assert_eq!(entries_of(&events), [entry("a", b"before"), entry("a", b"after")]);
    assert!(!events.iter().any(is_damage));
}

#[test]
fn a_log_without_room_keeps_the_segment_that_says_which_is_next() {
    let disk = Disk::default();
    for _ in 0..2 {
        open_on(&disk).append_batch(&[entry("a", b"flushed")]).unwrap();
    }
    disk.set_free_bytes(Some(HEADER_BYTES - 1));
    let (mut log, recovery) = Log::open_on(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
    let newest = recovery.sizes().into_keys().max().unwrap();
    log.remove_through(newest).unwrap();
    assert_eq!(log.segments(), 1);
    drop(log);
    disk.set_free_bytes(None);
    assert!(open_on(&disk).append_batch(&[entry("a", b"new")]).unwrap().segment > newest);
}

#[test]
fn a_log_leaves_room_for_what_makes_room_again() {
    let temp = tempfile::tempdir().unwrap();
    Log::open(temp.path()).unwrap().0.append_batch(&[entry("a", b"before")]).unwrap();
    let nearly_full = Arc::new(LocalFiles { reserved_bytes: u64::MAX });
    let (mut log, _) = Log::open_on(nearly_full, temp.path()).unwrap();
    let Err(Error::Io { source, .. }) = log.append_batch(&[entry("a", b"refused")]) else { panic!("room for spans") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!((log.segments(), log.rotate().unwrap()), (2, SegmentSequence(1)), "segments are begun all the same");
    log.remove_through(SegmentSequence(1)).unwrap();
    drop(log);
    assert_eq!(entries_of(&replay(temp.path())), []);
}

#[test]
fn a_log_that_cannot_be_opened_for_another_reason_is_an_error() {
    let disk = Disk::default();
    disk.faults().plan(1, Fault::Refused);
    Log::open_on(Arc::new(disk), Path::new(DIR)).unwrap_err();
}

#[test]
fn an_entry_that_is_too_large_is_refused_before_anything_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(temp.path()).unwrap();
    let bytes = log.bytes();
    let large = (TenantId::single(), Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]));
    let error = log.append_batch(&[entry("a", b"small"), large]).unwrap_err();
    assert!(matches!(error, Error::EntryTooLarge { .. }));
    assert_eq!(fs::metadata(first_segment(temp.path())).unwrap().len(), bytes);
}

#[test]
fn segments_rotate_and_go() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(temp.path()).unwrap();
    assert_eq!(log.rotate().unwrap(), SegmentSequence::NONE, "nothing was appended");
    for number in 1..=3u64 {
        let position = log.append_batch(&some_entries(2)).unwrap();
        assert_eq!(position.segment, SegmentSequence(number));
        assert_eq!(log.rotate().unwrap(), SegmentSequence(number));
        assert_eq!(log.rotate().unwrap(), SegmentSequence(number), "nothing was appended since");
    }
    let on_disk = |dir: &Path| -> (usize, u64) {
        let sizes: Vec<u64> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
        (sizes.len(), sizes.iter().sum())
    };
    assert_eq!((log.segments(), log.bytes()), on_disk(temp.path()));
    log.remove_through(SegmentSequence(2)).unwrap();
    assert_eq!((log.segments(), log.bytes()), on_disk(temp.path()));
    assert_eq!(log.segments(), 2);
    log.remove_through(SegmentSequence(99)).unwrap();
    assert_eq!(on_disk(temp.path()), (1, HEADER_BYTES as u64), "the current segment stays");
    drop(log);
    let (log, recovery) = Log::open(temp.path()).unwrap();
    assert_eq!(log.newest, SegmentSequence(5), "sequences go on");
    assert_eq!(
        recovery.replay().map(Result::unwrap).collect::<Vec<_>>(),
        [ReplayEvent::SegmentEnd { segment: SegmentSequence(4) }]
    );
}

#[test]
fn a_held_segment_stays() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(temp.path()).unwrap();
    let entries = some_entries(3);
    for entry in &entries {
        log.append_batch(std::slice::from_ref(entry)).unwrap();
        log.rotate().unwrap();
    }
    let bytes = log.bytes();
    log.hold(SegmentSequence(2));
    assert_eq!((log.segments(), log.bytes()), (4, bytes));
    log.remove_through(SegmentSequence(3)).unwrap();
    assert_eq!(log.segments(), 2);
    assert_eq!(entries_of(&replay(temp.path())), [entries[1].clone()]);
}

#[test]
fn all_segments_up_to_one_can_be_held() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(temp.path()).unwrap();
    let entries = some_entries(4);
    for entry in &entries {
        log.append_batch(std::slice::from_ref(entry)).unwrap();
        log.rotate().unwrap();
    }
    log.remove_through(SegmentSequence(1)).unwrap();
    log.hold_through(SegmentSequence(3));
    log.remove_through(SegmentSequence(4)).unwrap();
    assert_eq!(entries_of(&replay(temp.path())), entries[1..3]);
}

#[test]
fn sequences_of_a_lost_log_are_not_used_again() {
    let temp = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(temp.path()).unwrap();
    log.start_after(SegmentSequence(57)).unwrap();
    log.start_after(SegmentSequence(3)).unwrap();
    assert_eq!(log.append_batch(&some_entries(1)).unwrap().segment, SegmentSequence(58));
}
