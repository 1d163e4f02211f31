//! The allocator, and how memory that is no longer needed goes back to the system.
//!
//! Left to itself, mimalloc looks for memory to give back when it is asked for more, and each thread keeps some aside. A
//! process that has been busy and now rests would keep all that the busiest moment took. And what a thread has allocated and
//! another one frees waits until the first one looks: row groups go from thread to thread.

use std::time::Duration;

use storage::CpuPool;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often threads look for what others have freed: a busy process lets go of a row group's memory that often.
const PERIOD: Duration = Duration::from_millis(500);
/// After so many periods everything that is free is given back: often enough for what watches the process, and rarely
/// enough to cost nothing.
const PERIODS_TO_GIVE_ALL: u64 = 20;

/// Gives back what the threads of a pool have set aside, and what belongs to no thread any more, until it is dropped.
pub async fn give_back(cpu: CpuPool) {
    let mut periods = tokio::time::interval(PERIOD);
    for period in 0u64.. {
        periods.tick().await;
        let all = period % PERIODS_TO_GIVE_ALL == 0;
        cpu.on_each_thread(move || collect(all));
    }
}

/// Finds what other threads have freed of this one's memory, and gives `all` that is free back at once.
#[allow(unsafe_code)]
fn collect(all: bool) {
    // SAFETY: any thread may call it at any time.
    unsafe { libmimalloc_sys::mi_collect(all) };
}
