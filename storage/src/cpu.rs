//! The one door from async to CPU-bound work: encoding and decoding blocks, building and scanning live rows.
//!
//! Work waits here until a thread is free, least work first ([`queue`]); how much may wait is for the callers to limit.
//!
//! A process has two of them: one for answers, which somebody waits for, and one for what keeps the store in order. Both may
//! use all cores; where they want the same core, the system gives answers three quarters of it. So a look-up does not wait
//! until a block is written, and a store that is asked all day long is still compacted.

mod queue;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;
use tracing::Span;

pub use self::queue::CpuTime;
use self::queue::Queue;
use crate::error::Error;

/// Runs at most `threads` pieces of work at a time, off the async threads. Clones share the threads.
///
/// They are threads of its own, always the same few: what one piece of work has freed is where the next one finds memory.
/// Spread over the many threads of the runtime, each of which sets memory aside, the same queries take more.
#[derive(Debug, Clone)]
pub struct CpuPool {
    threads: Arc<ThreadPool>,
    waiting: Queue,
}

/// Whether a piece of work is worth handing to another thread. To do so and to be woken by that takes tens of microseconds,
/// more where the cores are busy, and nothing else runs on the thread of the runtime that does it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// It takes some tens of microseconds.
    Little,
    /// It takes longer, or may.
    Much,
}

impl Effort {
    pub fn little_if(is_little: bool) -> Self {
        if is_little { Self::Little } else { Self::Much }
    }
}

/// By how much work in the background yields to answers: what the system calls niceness. Each step is a fifth less of a core
/// that others want, too.
#[cfg(target_os = "linux")]
const BACKGROUND_NICENESS: i32 = 5;

impl CpuPool {
    /// At least one thread.
    ///
    /// # Panics
    /// When the system cannot start a thread.
    pub fn new(threads: usize) -> Self {
        Self::start(ThreadPoolBuilder::new().thread_name(|number| format!("cpu-{number}")), threads)
    }

    /// As many threads as the machine lets the process have.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn of_all_cores() -> Self {
        Self::new(cores())
    }

    /// As many, which yield to others of the process.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn in_background() -> Self {
        let threads = ThreadPoolBuilder::new().thread_name(|number| format!("background-{number}"));
        Self::start(threads.start_handler(|_| be_nice()), cores())
    }

    fn start(threads: ThreadPoolBuilder, count: usize) -> Self {
        let count = count.max(1);
        let threads = threads.num_threads(count).build().expect("the system can start a thread at start-up");
        Self { threads: Arc::new(threads), waiting: Queue::new(count) }
    }

    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// Has every thread do this once, when it has nothing else to do or between two pieces of work. Does not wait.
    pub fn on_each_thread(&self, work: impl Fn() + Send + Sync + 'static) {
        self.threads.spawn_broadcast(move |_| work());
    }

    /// Runs `work` to its end when a thread is free. Work of a caller that goes away before is not begun; what has begun keeps
    /// its thread until it is done.
    ///
    /// # Errors
    /// [`Error::Panicked`] when the work panics, [`Error::Stopping`] when the pool goes away.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.run_for(&Arc::default(), work).await
    }

    /// The same, one of several pieces of work for somebody: who has had less comes first.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_for<T: Send + 'static>(
        &self,
        worked: &Arc<CpuTime>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let ((done, result), span, of) = (oneshot::channel(), Span::current(), worked.clone());
        let work = move || {
            if !done.is_closed() {
                _ = done.send(timed(&of, || span.in_scope(work)));
            }
        };
        if self.waiting.push(worked.nanos(), Box::new(work)) {
            let waiting = self.waiting.clone();
            self.threads.spawn(move || go_on(waiting));
        }
        result.await.map_err(|_| Error::Stopping)?
    }

    /// The same with little work, which is done on this thread, now. Of much, as [`run_for`](Self::run_for).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_sized<T: Send + 'static>(
        &self,
        effort: Effort,
        worked: &Arc<CpuTime>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        match effort {
            Effort::Little => timed(worked, work),
            Effort::Much => self.run_for(worked, work).await,
        }
    }
}

/// Does pieces of work on a thread of the pool until none waits; between two of them what each thread does then.
fn go_on(waiting: Queue) {
    let Some(work) = waiting.pop() else { return };
    let work = move || {
        work();
        rayon::yield_local();
        go_on(waiting);
    };
    rayon::spawn(work);
}

/// Does the work, and adds what it took. What the work owns is gone after a panic, and nobody else sees it.
fn timed<T>(worked: &CpuTime, work: impl FnOnce() -> T) -> Result<T, Error> {
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(work));
    worked.add(began.elapsed());
    result.map_err(|panic| Error::Panicked { message: panic_message(panic.as_ref()) })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lowers the priority of the thread that calls, where the system can: on Linux, threads have one of their own.
fn be_nice() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(BACKGROUND_NICENESS) {
        tracing::warn!(%error, "background threads keep the priority of those that answer queries");
    }
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn no_more_work_runs_at_a_time_than_there_are_threads() {
        let pool = CpuPool::new(3);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..50).map(|number| {
            let (running, most) = (running.clone(), most.clone());
            pool.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            })
        });
        let results: Vec<usize> = futures::future::join_all(jobs).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(results, (0..50).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_not_begun() {
        let pool = CpuPool::new(1);
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        let mut first = pool.run(move || held.recv()).boxed();
        assert!((&mut first).now_or_never().is_none());
        let mut given_up = pool.run(|| panic!("it is begun")).boxed();
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        go_on.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(pool.run(|| 1).await.unwrap(), 1);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_in_the_background_yields_and_other_work_does_not() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let own = niceness();
        assert_eq!(CpuPool::new(1).run(niceness).await.unwrap(), own);
        assert_eq!(CpuPool::in_background().run(niceness).await.unwrap(), (own + BACKGROUND_NICENESS).min(19));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_goes_on() {
        let pool = CpuPool::new(1);
        for _ in 0..3 {
            let error = pool.run(|| -> () { panic!("bad row {}", 7) }).await.unwrap_err();
            assert_eq!(error.to_string(), "CPU-bound work panicked: bad row 7");
        }
        for effort in [Effort::Little, Effort::Much] {
            let error = pool.run_sized(effort, &Arc::default(), || -> () { panic!("bad row 8") }).await.unwrap_err();
            assert_eq!(error.to_string(), "CPU-bound work panicked: bad row 8");
        }
        assert_eq!(pool.run(|| 1).await.unwrap(), 1);
    }
}
