//! What others have said of calls, until a checkpoint knows it.

use hashbrown::HashSet;

use super::CallId;

/// Calls that one checkpoint may be behind; what is said of more has to wait for the next.
const MOST_UNSTORED: usize = 100_000;

/// Calls of which others have said something that no checkpoint knows: after a crash their client halves would wait as before.
#[derive(Default)]
pub(super) struct Unstored {
    /// Since the last checkpoint was made.
    new: HashSet<CallId>,
    /// The checkpoint that is being stored knows of these.
    in_checkpoint: HashSet<CallId>,
}

impl Unstored {
    /// Whether there is room for it.
    pub(super) fn add(&mut self, call: CallId) -> bool {
        let has_room = self.new.len() + self.in_checkpoint.len() < MOST_UNSTORED;
        if has_room {
            self.new.insert(call);
        }
        has_room
    }

    pub(super) fn has(&self, call: &CallId) -> bool {
        self.new.contains(call) || self.in_checkpoint.contains(call)
    }

    /// A checkpoint is made.
    pub(super) fn saving(&mut self) {
        self.in_checkpoint.extend(self.new.drain());
    }

    /// The checkpoint that was made last is stored.
    pub(super) fn stored(&mut self) {
        self.in_checkpoint.clear();
    }

    /// Whether there are any of which no checkpoint was made.
    pub(super) fn is_new(&self) -> bool {
        !self.new.is_empty()
    }
}
