//! Which calls fail, and how: decided before, so that a run can be repeated.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error, and nothing is done. Of an append, the first half is written.
    Refused,
    /// It is done, and there is an error all the same: the answer was lost.
    Unclear,
    /// The power goes before it is done. Of an append, the first half is written.
    PowerCutBefore,
    /// The power goes when it is done, before there is an answer.
    PowerCutAfter,
    /// An error; a put is still under way, and arrives when [`FaultyStore::deliver`](super::FaultyStore::deliver) says so.
    Late,
    /// As `Late`, and the power goes.
    PowerCutLate,
    /// Others come first. Nothing to a [`Disk`](super::Disk).
    Delayed,
    /// A put is done twice, as when a client repeats it because the first answer was lost; the second answer counts.
    Twice,
    /// A put is answered with "already exists", and nothing is done: as S3 says 409 when two puts meet. Refused elsewhere.
    Conflict,
    /// What is read ends early. Nothing to a [`Disk`](super::Disk).
    Truncated,
}

/// What a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Read,
    /// Everything that changes something, syncs included.
    Write,
}

/// The faults to come. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Planned>>);

#[derive(Debug, Default)]
struct Planned {
    calls: u64,
    at: BTreeMap<u64, Fault>,
    always: Option<(Call, Fault)>,
}

impl Faults {
    /// Lets a call fail: `after` calls from now on go well before it, as far as this plan is concerned.
    pub fn plan(&self, after: u64, fault: Fault) {
        let mut planned = self.lock();
        let at = planned.calls + after;
        planned.at.insert(at, fault);
    }

    /// Lets all calls of a kind fail, until [`clear`](Self::clear).
    pub fn always(&self, call: Call, fault: Fault) {
        self.lock().always = Some((call, fault));
    }

    /// From now on all goes well.
    pub fn clear(&self) {
        let mut planned = self.lock();
        planned.at.clear();
        planned.always = None;
    }

    /// What becomes of the call that is being made.
    pub(super) fn next(&self, call: Call) -> Option<Fault> {
        let mut planned = self.lock();
        let number = planned.calls;
        planned.calls += 1;
        let always = planned.always.filter(|(kind, _)| *kind == call).map(|(_, fault)| fault);
        planned.at.remove(&number).or(always)
    }

    fn lock(&self) -> MutexGuard<'_, Planned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The power of a machine. Clones are the same machine.
#[derive(Debug, Clone, Default)]
pub struct Power(Arc<AtomicBool>);

impl Power {
    /// Whatever hangs on it fails from now on, and changes nothing.
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_cut(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
