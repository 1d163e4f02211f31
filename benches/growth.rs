//! What a store costs, and how that grows with it: a mosso of its own for each size takes spans of six hours as fast as it can,
//! merges them, starts again, and is asked what people ask every day. Each figure beside what is wanted of it.
//!
//! ```sh
//! cargo build --release && cargo bench -p benches --bench growth -- target/release/mosso 2000000 20000000
//! ```
//!
//! Takes some five minutes on two cores. Without a path it does nothing, so that it runs beside the others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use benches::everyday::{Cost, Question, Times, millis, missed, questions};
use benches::process::{Mosso, Traffic};
use benches::tokio_runtime;

const OVER: Duration = Duration::from_secs(6 * 3600);
const SIZES: [u64; 2] = [2_000_000, 20_000_000];
const ROUNDS: usize = 6;
const WANTED_PEAK_MIB: u64 = 400;
/// Each span has an id of its own, and that of a request.
const RANDOM_BYTES_OF_A_SPAN: u64 = 8 + 16;
/// For ten times as many spans, noise included.
const WANTED_GROWTH: [(Cost, f64); 2] = [(Cost::Little, 2.0), (Cost::Scan, 11.0)];
/// What is that fast is noise.
const FAST: Duration = Duration::from_millis(5);
/// First answers over the larger store.
const WANTED_MILLIS: [(&str, f64); 8] = [
    ("rate", 400.0),
    ("rate by service", 1000.0),
    ("errors by service", 1000.0),
    ("quantiles by service", 1000.0),
    ("histogram", 1000.0),
    ("mean of an attribute", 1000.0),
    ("top routes", 1000.0),
    ("compare", 3000.0),
];
const WANTED_TRACE_AGAIN: (&str, f64) = ("trace by id", 3.0);

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let Some(mosso) = arguments.next().map(PathBuf::from) else {
        println!("growth: needs the path of a mosso: cargo bench -p benches --bench growth -- target/release/mosso");
        return;
    };
    let mosso = std::fs::canonicalize(mosso).expect("there is a mosso");
    let mut sizes: Vec<u64> = arguments.map(|size| size.parse().expect("a number of spans")).collect();
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let [small, large] = sizes[..] else { panic!("two sizes, not {}", sizes.len()) };
    let runtime = tokio_runtime();
    let [small, large] = [small, large].map(|spans| runtime.block_on(measured(&mosso, spans)));
    println!(
        "{:34}{:>10}{:>10}{:>10}{:>10}{:>8}   wanted",
        "milliseconds", "first", "again", "first", "again", "times"
    );
    for ((question, small), (_, large)) in small.iter().zip(&large) {
        line(question, small, large);
    }
}

fn line(question: &Question, small: &Times, large: &Times) {
    let growth = |of: fn(&Times) -> Duration| of(large).as_secs_f64() / of(small).as_secs_f64();
    // what stops early may read more the first time, where nothing is in memory
    let times = match question.cost {
        Cost::Little => growth(|times| times.again),
        Cost::Scan => growth(|times| times.first).max(growth(|times| times.again)),
    };
    let (_, most) = WANTED_GROWTH.into_iter().find(|(cost, _)| *cost == question.cost).expect("each has a bound");
    let mut wanted = format!("{most} times{}", missed(times > most && large.again > FAST));
    if let Some((_, most)) = WANTED_MILLIS.into_iter().find(|(name, _)| *name == question.name) {
        wanted += &format!(", {most} ms at first{}", missed(millis(large.first) > most));
    }
    if question.name == WANTED_TRACE_AGAIN.0 {
        wanted += &format!(", {} ms again{}", WANTED_TRACE_AGAIN.1, missed(millis(large.again) > WANTED_TRACE_AGAIN.1));
    }
    let [a, b, c, d] = [small.first, small.again, large.first, large.again].map(millis);
    println!("{:34}{a:10.1}{b:10.1}{c:10.1}{d:10.1}{times:8.1}   {wanted}", question.name);
}

async fn measured(binary: &Path, spans: u64) -> Vec<(Question, Times)> {
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    let traffic = Traffic::until_now(spans, OVER);
    let mosso = Mosso::start(binary, folder.path()).await;
    let sent = mosso.server.send(traffic).await.expect("mosso takes spans");
    let peak_mib = mosso.server.peak_mib();
    mosso.server.settle().await.expect("mosso runs");
    let cpu = mosso.server.cpu().as_secs_f64() / sent.spans as f64 * 1e6;
    let at_rest = mosso.server.bytes_at_rest().await.expect("mosso runs") as f64 / sent.spans as f64;
    println!(
        "{} spans, {:.0} a second; {} requests refused",
        sent.spans,
        sent.spans as f64 / sent.time.as_secs_f64(),
        sent.refused
    );
    println!("  CPU seconds a million, merges included: {cpu:.2}");
    println!(
        "  peak while they were sent: {peak_mib} MiB, wanted {WANTED_PEAK_MIB}{}",
        missed(peak_mib > WANTED_PEAK_MIB)
    );
    println!("  bytes a span at rest: {at_rest:.1}, of which {RANDOM_BYTES_OF_A_SPAN} are random");
    mosso.stop();
    let mosso = Mosso::start(binary, folder.path()).await;
    let mut all = Vec::new();
    for question in questions(&traffic) {
        let mut times = Vec::new();
        for turn in 0..question.turns(ROUNDS) {
            let answer = question.ask(&mosso.server, turn).await.expect("mosso runs");
            let text = String::from_utf8_lossy(&answer.body);
            assert!(answer.status.is_success(), "{}: {} {text}", question.name, answer.status);
            times.push(answer.time);
        }
        all.push((question, Times::of(&times)));
    }
    println!("  peak while questions were asked: {} MiB", mosso.server.peak_mib());
    all
}
