//! The allocator, and how memory that is no longer needed goes back to the system.
//!
//! Left to itself, mimalloc looks for memory to give back when it is asked for more. A process that has been busy and now
//! rests would keep all that the busiest moment took.

use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often memory is given back: often enough for what watches the process, and rarely enough to cost nothing.
const PERIOD: Duration = Duration::from_secs(10);

/// Gives memory back until it is dropped.
pub async fn give_back() {
    let mut rounds = tokio::time::interval(PERIOD);
    loop {
        rounds.tick().await;
        // unmapping takes milliseconds
        _ = tokio::task::spawn_blocking(collect).await;
    }
}

#[allow(unsafe_code)]
fn collect() {
    // SAFETY: any thread may call it at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
