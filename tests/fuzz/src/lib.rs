//! Fuzzing as an ordinary test: a seeded loop that bends valid inputs, checks a property, and shrinks what breaks it.
//!
//! ```text
//! seed, number ─▶ make: a valid input, bent a few times (text.rs, protobuf.rs, bytes.rs) ─▶ check ─panics─▶ shrink ─▶ report
//! ```
//!
//! Why not a fuzzer with coverage feedback: libFuzzer and afl need the whole dependency tree built once more with
//! instrumentation, a C++ compiler or a tool installed by hand, and a corpus that someone keeps. What feedback buys is a
//! way past the first checks of a format; bending inputs along their structure (tokens, protobuf fields) gets there from
//! the start, at some ten thousand inputs a second. So targets are tests beside the code that they try, reach what is
//! private there, and run wherever tests run:
//!
//! ```sh
//! cargo test --workspace fuzz                                 # a few seconds each
//! MOSSO_FUZZ_SECONDS=600 cargo test -p traceql --test fuzz    # longer
//! MOSSO_FUZZ_SEED=7 MOSSO_FUZZ_CASE=1234 cargo test …         # one input again
//! ```
//!
//! | target | crate | what is bent |
//! |---|---|---|
//! | `otlp`, `otlp-json` | spans, api | requests of spans |
//! | `jaeger-thrift`, `jaeger-protobuf`, `zipkin-json`, `zipkin-binary` | receivers | the same in other protocols |
//! | `traceql` | traceql | queries |
//! | `http-parameters` | api | URLs, asked of every route over a store with two spans |
//! | `manifest`, `log`, `index` | storage | what is at rest, with right checksums most of the time |
//!
//! Optimized, a target tries some twenty times as many inputs in a second as in the build of the tests (queries: 6,400 and 300),
//! so a long run builds its own (`just fuzz`). The last one was on 30 November 2026: the seven targets of `traceql`,
//! `storage`, `spans` and `api`, beside each other for a little over an hour on two processors that had other work to
//! do first, 11.6 minutes of a processor for each (of URLs 2.3, which is what the test itself took; the routes work on
//! other threads). 25.1 million segments of the log, 6.6 million manifests, 1.4 million indexes, 1.1 million URLs, 5.3
//! million queries, 11.2 million requests of OTLP/JSON, 1.2 million of OTLP. It found no fault; one before it found one
//! in a test: a parent id of eight zeros is none. Another, in debug builds, found that thousands of parentheses exhaust
//! a stack (`no_nesting_exhausts_the_stack_of_a_worker` in `traceql/tests/hostile.rs`), and tried 520 thousand requests
//! of Jaeger and Zipkin. An hour of a processor for each target has not been spent:
//!
//! ```sh
//! just fuzz 3600
//! ```
//!
//! An input depends on its seed and number alone. A crash that ends the process (a stack that overflows) leaves both in
//! the file that is named at the start.

pub mod bytes;
pub mod protobuf;
pub mod text;

use std::cell::Cell;
use std::fs::File;
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant};

pub use rand::rngs::SmallRng;
pub use rand::{RngExt, SeedableRng};

const SECONDS: &str = "MOSSO_FUZZ_SECONDS";
const SEED: &str = "MOSSO_FUZZ_SEED";
const CASE: &str = "MOSSO_FUZZ_CASE";
/// How long a target runs unless told otherwise.
const DEFAULT_SECONDS: u64 = 3;
/// One input that takes longer is a fault too: far more than any needs. What it takes is time on a processor, where the system
/// tells that, because machines of tests are busy.
const MOST_OF_ONE_INPUT: Duration = Duration::from_secs(10);
/// Inputs that are tried to find a smaller one.
const MOST_SHRINKS: usize = 3_000;

/// Makes inputs and checks each, until the time is over.
///
/// # Panics
/// When `check` panics on an input or takes too long; the message has the smallest such input that was found.
pub fn fuzz(target: &str, make: impl Fn(&mut SmallRng) -> Vec<u8>, check: impl Fn(&[u8])) {
    keep_quiet_while_checking();
    let seed = variable(SEED).unwrap_or_else(now);
    let only = variable(CASE);
    let time = Duration::from_secs(variable(SECONDS).unwrap_or(DEFAULT_SECONDS));
    let path = std::env::temp_dir().join(format!("mosso-fuzz-{target}-{}", std::process::id()));
    let mut trail = File::create(&path).expect("the folder for temporary files can be written");
    println!("{target}: {SEED}={seed}; the number of the current input is in {}", path.display());
    let (started, mut number, mut slowest) = (Instant::now(), only.unwrap_or(0), (Duration::ZERO, 0));
    while only.is_none() && started.elapsed() < time || only == Some(number) {
        trail.rewind().and_then(|()| write!(trail, "{SEED}={seed} {CASE}={number:<20}")).expect("the trail is written");
        let input = make(&mut SmallRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let begun = Instant::now();
        let outcome = outcome(&check, &input);
        slowest = slowest.max((begun.elapsed(), number));
        if let Err(fault) = outcome {
            let (smallest, fault) = shrink(&check, input, fault);
            let text = String::from_utf8_lossy(&smallest);
            panic!("{target}: {SEED}={seed} {CASE}={number}: {fault}\nbytes {smallest:?}\ntext {text:?}");
        }
        number += 1;
    }
    println!(
        "{target}: {number} inputs in {:?}, {:?} of it on a processor; the slowest, {CASE}={}, took {:?}",
        started.elapsed(),
        thread_time().unwrap_or_default(),
        slowest.1,
        slowest.0
    );
    drop(trail);
    std::fs::remove_file(path).expect("the trail is there");
}

/// A number from the environment.
///
/// # Panics
/// When it is there and is not a number.
pub fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

thread_local! {
    /// Whether panics of this thread go unreported: shrinking makes hundreds.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

fn keep_quiet_while_checking() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                report(panic);
            }
        }));
    });
}

/// The fault that an input shows, if it shows one.
fn outcome(check: &impl Fn(&[u8]), input: &[u8]) -> Result<(), String> {
    let started = Instant::now();
    IS_QUIET.set(true);
    let checked = catch_unwind(AssertUnwindSafe(|| check(input)));
    IS_QUIET.set(false);
    let took = started.elapsed();
    match checked {
        Err(panic) => {
            Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| match panic.downcast_ref::<&str>() {
                Some(text) => (*text).to_owned(),
                None => "a panic without a text".to_owned(),
            }))
        }
        Ok(()) if took > MOST_OF_ONE_INPUT && takes_too_long(|| check(input)) => Err(format!("took {took:?}")),
        Ok(()) => Ok(()),
    }
}

/// Whether the work takes too much of a processor, too.
fn takes_too_long(work: impl Fn()) -> bool {
    let before = thread_time();
    work();
    let Some((before, after)) = before.zip(thread_time()) else { return true };
    after.saturating_sub(before) > MOST_OF_ONE_INPUT
}

/// How long this thread has been on a processor, as Linux counts it.
fn thread_time() -> Option<Duration> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    times.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Takes pieces out, large ones first, for as long as what is left still shows a fault.
fn shrink(check: &impl Fn(&[u8]), mut input: Vec<u8>, mut fault: String) -> (Vec<u8>, String) {
    let mut tries = 0;
    let mut piece = input.len() / 2;
    while piece > 0 && tries < MOST_SHRINKS {
        let mut at = 0;
        while at < input.len() && tries < MOST_SHRINKS {
            tries += 1;
            let end = (at + piece).min(input.len());
            let smaller = [&input[..at], &input[end..]].concat();
            match outcome(check, &smaller) {
                Err(of_smaller) => (input, fault) = (smaller, of_smaller),
                Ok(()) => at = end,
            }
        }
        piece /= 2;
    }
    (input, fault)
}

/// One of the items.
pub fn one_of<'a, T>(random: &mut SmallRng, items: &'a [T]) -> &'a T {
    &items[random.random_range(0..items.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parser with a planted fault that is three steps deep: a bracket that closes a brace, behind a comma.
    fn faulty(text: &[u8]) {
        let mut open = Vec::new();
        let mut commas = 0;
        for &byte in text {
            match byte {
                b'(' | b'{' => open.push(byte),
                b',' => commas += 1,
                b')' if open.pop() == Some(b'{') && commas > 0 => panic!("planted"),
                b'}' => drop(open.pop()),
                _ => {}
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn waiting_for_a_processor_is_no_fault() {
        let (before, started) = (thread_time().unwrap(), Instant::now());
        std::sync::mpsc::channel::<()>().1.recv_timeout(Duration::from_millis(50)).unwrap_err();
        assert!(thread_time().unwrap() - before < started.elapsed());
        assert!(!takes_too_long(|| ()));
    }

    #[test]
    fn a_planted_fault_is_found_and_shrunk() {
        let corpus = ["{ a = 1 }", "{ } | by(x) | select(a, b)", "{ b } >> { c && (d || e) }"];
        let found = catch_unwind(|| fuzz("planted", |random| text::bend(random, &corpus).into_bytes(), faulty));
        let report = *found.unwrap_err().downcast::<String>().unwrap();
        let smallest = report.lines().last().unwrap();
        // mostly `{(,})`; taking pieces out, one after the other, sometimes ends a little before that
        assert!(report.contains("planted") && smallest.len() <= "text \"{(}(),)[,]\"".len(), "{report}");
    }
}
