//! The allocator, and how memory that is no longer needed goes back to the system.
//!
//! Left to itself, mimalloc looks for memory to give back when it is asked for more, and each thread keeps some aside. A
//! process that has been busy and now rests would keep all that the busiest moment took.

use std::time::Duration;

use storage::CpuPool;
#[cfg(target_os = "linux")]
use tracing::warn;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often memory is given back: often enough for what watches the process, and rarely enough to cost nothing.
const PERIOD: Duration = Duration::from_secs(10);

/// Has the system give out memory in small pages, for all threads to come.
///
/// A large page is cleared whole when its first byte is written: a query of some tenths of a second spent more than that
/// on pages of which it used a part, and the process had half as much memory again.
#[cfg(target_os = "linux")]
pub fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        warn!(%error, "large pages stay on: more memory is taken than is needed");
    }
}

#[cfg(not(target_os = "linux"))]
pub fn use_small_pages() {}

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
