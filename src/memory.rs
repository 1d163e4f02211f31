//! The allocator, and how memory that is no longer needed goes back to the system.
//!
//! Left to itself, mimalloc looks for memory to give back when it is asked for more, and each thread keeps some aside. A
//! process that has been busy and now rests would keep all that the busiest moment took.

use std::time::Duration;

use storage::CpuPool;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often memory is given back: often enough for what watches the process, and rarely enough to cost nothing.
const PERIOD: Duration = Duration::from_secs(10);

/// Gives back what the threads of a pool have set aside, and what belongs to no thread any more, until it is dropped.
pub async fn give_back(cpu: CpuPool) {
    let mut rounds = tokio::time::interval(PERIOD);
    loop {
        rounds.tick().await;
        cpu.on_each_thread(collect);
    }
}

#[allow(unsafe_code)]
fn collect() {
    // SAFETY: any thread may call it at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
