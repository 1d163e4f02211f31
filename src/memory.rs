//! The allocator, and how memory that is no longer needed goes back to the system.
//!
//! Left to itself, mimalloc looks for memory to give back when it is asked for more, and each thread keeps some aside. A
//! process that has been busy and now rests would keep all that the busiest moment took. And what a thread has allocated and
//! another one frees waits until the first one looks: row groups go from thread to thread.

use std::ffi::c_long;
use std::time::Duration;

use libmimalloc_sys::mi_option_t;
use storage::CpuPool;
use storage::memory_budget::ProcessStatus;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often it is looked whether memory is scarce.
const PERIOD: Duration = Duration::from_millis(100);
/// After so many periods threads look for what others have freed: a busy process lets go of a row group's memory that often.
const PERIODS_TO_COLLECT: u64 = 5;
/// … and after so many everything that is free is given back: often enough for what watches the process, and rarely enough
/// to cost nothing.
const PERIODS_TO_GIVE_ALL: u64 = 100;

/// How long free memory is kept, in case it is wanted again: mimalloc's default, and not at all. The latter holds a third
/// less while many queries run, for a fifth more CPU time.
const KEEP_MILLISECONDS: c_long = 10;
const KEEP_NOTHING: c_long = 0;
/// mimalloc's option `purge_delay`, by its place in `mi_option_t` of its version 2; the crate does not name it.
const PURGE_DELAY: mi_option_t = 15;

/// Gives back what the threads of pools have set aside, and what belongs to no thread any more, until it is dropped. Free
/// memory is kept for a moment as long as the process takes less than `budget_bytes`.
pub async fn give_back(pools: [CpuPool; 2], budget_bytes: u64) {
    let mut periods = tokio::time::interval(PERIOD);
    for period in 0u64.. {
        periods.tick().await;
        keep_free_memory(own_bytes().is_none_or(|bytes| bytes < budget_bytes));
        if period % PERIODS_TO_COLLECT == 0 {
            let all = period % PERIODS_TO_GIVE_ALL == 0;
            for pool in &pools {
                pool.on_each_thread(move || collect(all));
            }
        }
    }
}

/// Memory of the process that is not of files; `None` where the system does not tell.
fn own_bytes() -> Option<u64> {
    ProcessStatus::read()?.bytes("RssAnon")
}

/// Whether memory that is free is kept for a moment, or given back at once.
#[allow(unsafe_code)]
fn keep_free_memory(keep: bool) {
    let delay = if keep { KEEP_MILLISECONDS } else { KEEP_NOTHING };
    // SAFETY: options are plain numbers that the allocator reads when it needs them; one thread sets this one.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, delay) };
}

/// Finds what other threads have freed of this one's memory, and gives `all` that is free back at once.
#[allow(unsafe_code)]
fn collect(all: bool) {
    // SAFETY: any thread may call it at any time.
    unsafe { libmimalloc_sys::mi_collect(all) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_of_files_does_not_count() {
        let filled = vec![1_u8; 64 << 20];
        let bytes = own_bytes().unwrap();
        assert!(bytes > filled.len() as u64 && bytes < 1 << 40, "{bytes}");
    }

    /// The option's number is not in the crate's interface: its default tells that it is the right one.
    #[test]
    #[allow(unsafe_code)]
    fn the_option_that_is_set_is_how_long_free_memory_is_kept() {
        // SAFETY: as in `keep_free_memory`.
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, KEEP_MILLISECONDS);
        keep_free_memory(false);
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, KEEP_NOTHING);
        keep_free_memory(true);
    }
}
