//! What is in a file, and what of it a crash leaves.

use rand::RngExt;
use rand::rngs::SmallRng;

/// Half of the crashes that meet an unsynced append leave a hole in it: file systems may write the size first.
const HOLE_PERCENT: u32 = 50;

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) seen: Vec<u8>,
    synced: Vec<u8>,
    /// What happened since the last sync, in order.
    unsynced: Vec<Change>,
}

/// What can happen to a content.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Cut { bytes: usize },
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Cut { bytes } => content.resize(*bytes, 0),
            Self::Write { at, bytes } => {
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Content {
    /// What is there after a crash, and nothing else.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), synced: bytes, unsynced: Vec::new() }
    }

    pub(super) fn sync(&mut self) {
        let Self { synced, unsynced, .. } = self;
        unsynced.drain(..).for_each(|change| change.apply(synced));
    }

    /// As a failed sync does: what was not synced yet never will be, although programs see it.
    pub(super) fn forget_unsynced(&mut self) {
        self.unsynced.clear();
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    /// What a crash leaves: the first of the changes that were not synced, the last of them in part.
    pub(super) fn after_crash(&self, random: &mut SmallRng) -> Vec<u8> {
        let mut content = self.synced.clone();
        let whole = random.random_range(0..=self.unsynced.len());
        self.unsynced[..whole].iter().for_each(|change| change.apply(&mut content));
        if let Some(Change::Write { at, bytes }) = self.unsynced.get(whole) {
            let torn = random.random_range(0..=bytes.len());
            Change::Write { at: *at, bytes: bytes[..torn].to_vec() }.apply(&mut content);
        }
        let unsynced = self.synced.len()..content.len();
        if !unsynced.is_empty() && random.random_range(0..100) < HOLE_PERCENT {
            let start = random.random_range(unsynced.clone());
            content[start..random.random_range(start..unsynced.end)].fill(0);
        }
        content
    }
}
