//! Whatever a segment holds, replay comes to its end, and the next one finds the same entries.

use std::path::Path;

use super::entry::{ENTRY_HEADER_BYTES, ENTRY_MAGIC};
use super::segment::HEADER_BYTES;
use super::*;
use crate::testing::Disk;

/// Events that tell of damage, beside one for each entry that a segment has room for.
const MOST_EVENTS_BESIDE: usize = 3;

fn replay(disk: &Disk) -> Vec<ReplayEvent> {
    let recovery = Recovery::open(Arc::new(disk.clone()), Path::new("wal"));
    recovery
        .map(|recovery| recovery.replay().map(|event| event.expect("a disk without faults")).collect())
        .unwrap_or_default()
}

/// A segment with entries of several sizes.
fn example() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, _) = Log::open(folder.path()).expect("a log");
    for (tenant, payload) in
        [("a", vec![]), ("tenant-b", vec![7; 90]), ("a", b"MENT and more".to_vec()), ("c", vec![0; 300])]
    {
        let tenant = TenantId::parse(tenant).expect("a tenant");
        log.append_batch(&[(tenant, payload.into())]).expect("a disk with room");
    }
    std::fs::read(paths::segment(folder.path(), SegmentSequence(1))).expect("a segment")
}

/// Makes the checksums right of what looks like an entry, so that what is bent gets past them.
fn repair(segment: &mut [u8]) {
    let Some(salt) = segment.get(12..16).and_then(|salt| salt.try_into().ok()).map(u32::from_le_bytes) else { return };
    let checksum = |bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(bytes);
        hasher.finalize().to_le_bytes()
    };
    for at in HEADER_BYTES..segment.len().saturating_sub(ENTRY_HEADER_BYTES) {
        if !segment[at..].starts_with(&ENTRY_MAGIC) {
            continue;
        }
        let body_bytes = segment[at + 4..at + 8].try_into().map_or(0, u32::from_le_bytes) as usize;
        let body = segment[at + ENTRY_HEADER_BYTES..].get(..body_bytes).map(checksum);
        if let Some(body) = body {
            segment[at + 12..at + 16].copy_from_slice(&body);
        }
        let header = checksum(&segment[at..at + 16]);
        segment[at + 16..at + 20].copy_from_slice(&header);
    }
}

#[test]
fn fuzz_log() {
    let example = example();
    let make = |random: &mut ::fuzz::SmallRng| {
        let mut segment = ::fuzz::bytes::bend(random, &example);
        if ::fuzz::RngExt::random_range(random, 0..3) > 0 {
            repair(&mut segment);
        }
        segment
    };
    ::fuzz::fuzz("log", make, |input| {
        let disk = Disk::default();
        disk.replace(&paths::segment(Path::new("wal"), SegmentSequence(1)), input).expect("a disk without faults");
        let events = replay(&disk);
        assert!(events.len() <= input.len() / ENTRY_HEADER_BYTES * 2 + MOST_EVENTS_BESIDE, "{}", events.len());
        let entries = |events: &[ReplayEvent]| {
            events.iter().filter(|event| matches!(event, ReplayEvent::Entry { .. })).cloned().collect::<Vec<_>>()
        };
        let again = replay(&disk);
        assert_eq!(entries(&again), entries(&events), "a start that did not come to publish what it read");
    });
}
