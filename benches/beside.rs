//! mosso beside another server of Tempo's API: the same spans of eight minutes go to each, then both are asked in turn what people
//! ask every day. Each ratio beside what is wanted of it.
//!
//! ```sh
//! cargo build --release
//! cargo bench -p benches --bench beside -- target/release/mosso 2000000 PID 127.0.0.1:3200 127.0.0.1:4318
//! ```
//!
//! The other one runs already, with an empty store: its process, and the addresses of its API and of OTLP over HTTP. It should
//! have written what it took within seconds, for it is asked once it uses no CPU (of Tempo 3.0: `live_store.max_block_duration: 15s`). Without
//! arguments it does nothing, so that it runs beside the others.

use std::collections::BTreeMap;
use std::time::Duration;

use benches::everyday::{Times, millis, missed, questions};
use benches::process::{Mosso, Server, Traffic};
use benches::tokio_runtime;
use serde_json::Value;

const OVER: Duration = Duration::from_secs(480);
const ROUNDS: usize = 5;
const WANTED_RATIO: f64 = 10.0;
const WANTED_CPU_RATIO: f64 = 8.0;
/// What an HTTP request takes whatever it asks; faster need nothing be.
const FLOOR: Duration = Duration::from_millis(1);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [mosso, spans, pid, api, otlp] = &arguments[..] else {
        println!(
            "beside: needs the path of a mosso, a number of spans, and another server: its process, API and OTLP over HTTP"
        );
        return;
    };
    let other = Server::new(pid.parse().expect("the number of a process"), api, otlp);
    let spans = spans.parse().expect("a number of spans");
    tokio_runtime().block_on(compare(mosso, spans, &other)).expect("both answer");
}

async fn compare(binary: &str, spans: u64, other: &Server) -> Result<(), reqwest::Error> {
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    let binary = std::fs::canonicalize(binary).expect("there is a mosso");
    let traffic = Traffic::until_now(spans, OVER);
    other.ready().await;
    let of_other = way_in("the other", other, traffic).await?;
    let mosso = Mosso::start(&binary, folder.path()).await;
    let of_mosso = way_in("mosso", &mosso.server, traffic).await?;
    let ratio = of_other / of_mosso;
    println!("CPU time: 1/{ratio:.1}, wanted 1/{WANTED_CPU_RATIO}{}", missed(ratio < WANTED_CPU_RATIO));

    println!(
        "{:34}{:>10}{:>10}{:>10}{:>10}{:>8}{:>8}",
        "milliseconds", "first", "again", "other's", "again", "first", "again"
    );
    let mut logarithms = [0.0; 2];
    let asked = questions(&traffic);
    for question in &asked {
        let (mut ours, mut others, mut says) = (Vec::new(), Vec::new(), [String::new(), String::new()]);
        for turn in 0..question.turns(ROUNDS) {
            for (number, (server, times)) in [(&mosso.server, &mut ours), (other, &mut others)].into_iter().enumerate()
            {
                let answer = question.ask(server, turn).await?;
                says[number] = summary(&answer.body).unwrap_or_else(|| answer.status.to_string());
                times.push(answer.time);
            }
        }
        let (ours, others) = (Times::of(&ours), Times::of(&others));
        let pairs = [(ours.first, others.first), (ours.again, others.again)];
        let ratios = pairs.map(|(our, other)| other.as_secs_f64() / our.as_secs_f64());
        let is_missed = pairs.iter().zip(ratios).any(|((our, _), ratio)| *our > FLOOR && ratio < WANTED_RATIO);
        for (sum, ratio) in logarithms.iter_mut().zip(ratios) {
            *sum += ratio.ln();
        }
        let [a, b, c, d] = [ours.first, ours.again, others.first, others.again].map(millis);
        let differ = if says[0] == says[1] { String::new() } else { format!("   DIFFER: {} | {}", says[0], says[1]) };
        let [first, again] = ratios;
        println!(
            "{:34}{a:10.1}{b:10.1}{c:10.1}{d:10.1}{first:8.1}{again:8.1}{}{differ}",
            question.name,
            missed(is_missed)
        );
    }
    let [first, again] = logarithms.map(|sum| (sum / asked.len() as f64).exp());
    println!("geometric mean {first:.1} at first, {again:.1} again; wanted for each row {WANTED_RATIO}");
    Ok(())
}

/// CPU time of what a server does with these spans until they are merged.
async fn way_in(name: &str, server: &Server, traffic: Traffic) -> Result<f64, reqwest::Error> {
    let before = server.cpu();
    let sent = server.send(traffic).await?;
    server.settle().await?;
    let cpu = (server.cpu() - before).as_secs_f64();
    let (rate, of_million) = (sent.spans as f64 / sent.time.as_secs_f64(), cpu / sent.spans as f64 * 1e6);
    let (refused, peak_mib) = (sent.refused, server.peak_mib());
    println!(
        "{name}: {} spans, {rate:.0} a second, {refused} requests refused; {of_million:.1} CPU seconds a million, peak {peak_mib} MiB",
        sent.spans
    );
    Ok(cpu)
}

/// How much there is of each list of an answer, which tells a fast answer from a wrong one.
fn summary(body: &[u8]) -> Option<String> {
    let answer: BTreeMap<String, Value> = serde_json::from_slice(body).ok()?;
    let lists = ["traces", "series", "scopes", "tagValues"];
    let counts = lists.into_iter().filter_map(|name| Some(format!("{} {name}", answer.get(name)?.as_array()?.len())));
    Some(counts.collect())
}
