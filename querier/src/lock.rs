//! Mutexes of queries.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mutexes of a query guard plain values that are whole at every moment.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
