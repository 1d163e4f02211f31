//! The whole of it, without a network, on a disk and an object store that fail: whatever happens, every acknowledged span
//! is found exactly once.
//!
//! ```text
//! seed ─▶ plan      operations and faults, step by step
//!         world     runs them: sends, starts, cuts the power        model    what the senders know
//!         machine   ingester, storage and querier in this process   check    asks by id, search and metrics
//! ```
//!
//! The same spans are counted by the metrics generator (`counted`): at every ordered end of a process each acknowledged span,
//! and each call of which both spans were acknowledged, has been counted once by all processes so far.
//!
//! After each step everything is asked. A span that was acknowledged, or was found once, must be found from then on, until
//! retention may have taken it; a span is found at most as often as it was sent. At the end the store has the files of the
//! blocks that manifests name, and no others.
//!
//! The plan depends on the seed alone, and so do the faults: each is bound to the number of a call. Which of several
//! operations at the same time comes first is left to the threads of the log, so one seed may need a few tries to fail
//! again.
//!
//! ```sh
//! cargo test --test e2e simulation                             # 50 seeds
//! MOSSO_SIM_SEEDS=1000 cargo test --test e2e simulation        # the first thousand
//! MOSSO_SIM_SEED=7 cargo test --test e2e simulation            # one, with all that happens
//! ```

mod check;
mod counted;
mod machine;
mod model;
mod plan;
mod spans;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use fuzz::variable;

use self::plan::Plan;

const SEED: &str = "MOSSO_SIM_SEED";
const SEEDS: &str = "MOSSO_SIM_SEEDS";
const DEFAULT_SEEDS: u64 = 50;
/// All parts of a process are polled on one thread here, in frames that nobody optimized.
const STACK_BYTES: usize = 16 << 20;
/// Runs at once: most of the time each waits.
const RUNS_PER_CORE: usize = 4;

#[test]
fn simulation_loses_no_span_and_finds_none_twice() {
    let only = variable(SEED);
    let next = AtomicU64::new(only.unwrap_or(0));
    let end = only.map_or_else(|| variable(SEEDS).unwrap_or(DEFAULT_SEEDS), |seed| seed + 1);
    let threads = RUNS_PER_CORE * std::thread::available_parallelism().map_or(1, usize::from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let run = || {
            let seeds = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < end));
            seeds.filter(|seed| !succeeds(*seed)).collect::<Vec<_>>()
        };
        let start = |number| {
            let thread = std::thread::Builder::new().name(format!("simulation-{number}")).stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, run).expect("the system can start a thread")
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("panics are caught")).collect()
    });
    assert!(failed.is_empty(), "{} seeds failed, as said above: {failed:?}", failed.len());
}

/// Runs a seed. Says of one that failed what was done in it, and how to do that again.
fn succeeds(seed: u64) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime can be made");
    let run = async {
        // while a blocking task waits, time passes only where a run lets it
        let (clock, held) = std::sync::mpsc::channel::<()>();
        let hold = tokio::task::spawn_blocking(move || held.recv());
        let outcome = world::run(&Plan::of(seed)).await;
        drop(clock);
        _ = hold.await;
        outcome
    };
    let failure = match catch_unwind(AssertUnwindSafe(|| runtime.block_on(run))) {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => error.chain().map(|cause| format!("{cause}\n")).collect(),
        Err(_) => "it panicked, as said above\n".to_owned(),
    };
    eprintln!("seed {seed} failed:\n{failure}again: {SEED}={seed} cargo test --locked --test e2e simulation\n");
    false
}
