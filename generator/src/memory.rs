//! The share of the process's memory budget that the generator has, and who takes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where nothing says how much memory there is: as much as is of use on any machine.
pub const DEFAULT_MEMORY_BYTES: usize = 128 << 20;

/// Bytes that things of one kind take, of all tenants. Clones are the same account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    used: Arc<AtomicUsize>,
    most: usize,
}

impl Account {
    pub(crate) fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    /// Takes so many bytes if they are there.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let room = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.most);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// The accounts of a generator.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// Series, and trees of names.
    pub series: Account,
    /// Halves of calls that wait.
    pub halves: Account,
    /// Bytes for spans that are remembered.
    pub copies: usize,
}

impl Memory {
    /// For settings that are only looked at, and for stored spans, whose tables queries count.
    pub(crate) fn unlimited() -> Self {
        Self::divide(usize::MAX)
    }

    /// Half for series, the rest for halves and copies.
    pub(crate) fn divide(bytes: usize) -> Self {
        let quarter = bytes / 4;
        Self { series: Account::new(bytes / 2), halves: Account::new(quarter), copies: quarter }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let account = Account::new(100);
        let same = account.clone();
        assert!(account.take(60) && !same.take(41) && same.take(40));
        account.give_back(50);
        assert_eq!((same.used(), same.take(51), same.take(50)), (50, false, true));
    }
}
