//! `mosso demo`: the traffic of a small shop → an OTLP endpoint.
//!
//! ```text
//! shop.rs        the services: what each operation does and calls
//! visit.rs       one visitor's request → the spans of its trace     visit/assistant.rs   where a model is asked
//! random.rs      numbers from a seed
//! run()          a clock: traces of the time that has passed, then one after the other as time goes on
//! ```

mod random;
mod shop;
mod visit;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use self::random::Random;
use self::visit::Visits;
use crate::error::Error;
use crate::figures;
use crate::otlp::split::{MAX_REQUEST_BYTES, requests, span_count};
use crate::otlp::{EndpointArguments, Sender, Taken};
use crate::progress::Progress;
use crate::time::{nanos, now_nanos};

/// Traces that are sent together.
const BATCH: usize = 50;
/// How long a batch waits for more.
const BATCH_PERIOD: Duration = Duration::from_millis(200);
/// Requests under way at the same time.
const UNDER_WAY: usize = 4;
const MAX_RATE: f64 = 100_000.0;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    endpoint: EndpointArguments,
    /// Visitors' requests a second, of some 20 spans each.
    #[arg(long, default_value_t = 5.0, value_name = "TRACES", value_parser = parse_rate)]
    rate: f64,
    /// Begin with the traffic of so long ago, so that curves have a past. 0s for none.
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration, value_name = "DURATION")]
    past: Duration,
    /// End after so long; 0s after the past is sent [default: at Ctrl-C].
    #[arg(long = "for", value_parser = humantime::parse_duration, value_name = "DURATION")]
    length: Option<Duration>,
    /// The same seed sends the same visitors with the same trace ids [default: another every time].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Where the traces can be looked at afterwards.
    #[arg(long, env = "MOSSO_URL", default_value = "http://127.0.0.1:3200", value_name = "URL")]
    url: String,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    let is_usable = rate > 0.0 && rate <= MAX_RATE;
    if is_usable { Ok(rate) } else { Err(format!("write a number above 0, {MAX_RATE} at most")) }
}

/// What has been sent.
#[derive(Debug, Default)]
struct Totals {
    traces: u64,
    spans: u64,
    rejected_spans: u64,
    last_rejection: String,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let sender = Sender::new(&arguments.endpoint)?;
    let mut progress = Progress::new();
    let end = arguments
        .length
        .map_or("Ctrl-C ends it".to_owned(), |length| format!("for {}", humantime::format_duration(length)));
    progress.say(&format!("the traffic of a small shop goes to {}, {end}", sender.endpoint()));
    let mut totals = Totals::default();
    tokio::select! {
        sent = traffic(arguments, &sender, &mut totals, &mut progress) => sent?,
        _ = tokio::signal::ctrl_c() => {}
    }
    progress.say(&summary(&totals));
    progress.say(&what_to_look_at(arguments));
    Ok(if totals.rejected_spans == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Visitors come at equal distances from the past on; those of the past are sent at once, the others when their time has
/// come. A trace has ended when it is sent.
async fn traffic(
    arguments: &Arguments,
    sender: &Sender,
    totals: &mut Totals,
    progress: &mut Progress,
) -> Result<(), Error> {
    let (started, begin_nanos) = (Instant::now(), now_nanos());
    let first_nanos = begin_nanos.saturating_sub(nanos(arguments.past));
    let end_nanos = arguments.length.map_or(u64::MAX, |length| begin_nanos.saturating_add(nanos(length)));
    let distance_nanos = (1e9 / arguments.rate) as u64;
    let mut visits = Visits::new(Random::new(arguments.seed.unwrap_or_else(now_nanos)));
    let mut under_way = FuturesUnordered::new();
    let mut next_nanos = first_nanos;
    while next_nanos < end_nanos {
        wait_until(next_nanos + nanos(BATCH_PERIOD), begin_nanos, started).await;
        let mut batch = Vec::<ResourceSpans>::new();
        let (now, mut traces) = (now_nanos(), 0);
        while traces < BATCH && next_nanos < end_nanos.min(now) {
            batch.extend(visits.next_ending_at(next_nanos));
            next_nanos += distance_nanos;
            traces += 1;
        }
        totals.traces += traces as u64;
        for request in requests(batch, MAX_REQUEST_BYTES) {
            let spans = span_count(&request);
            under_way.push(async move { Ok::<_, Error>((sender.send(request).await?, spans)) });
            // nothing stays on its way while the clock is waited for
            let is_behind = next_nanos + nanos(BATCH_PERIOD) < now_nanos();
            while under_way.len() >= if is_behind { UNDER_WAY } else { 1 } {
                totals.add(under_way.next().await.transpose()?);
            }
        }
        progress.draw(|| line(totals, next_nanos));
    }
    while let Some(sent) = under_way.next().await {
        totals.add(Some(sent?));
    }
    Ok(())
}

/// The clock of the wall may be set; the one that only goes on says when it is time.
async fn wait_until(time_nanos: u64, begin_nanos: u64, started: Instant) {
    let since_begin = Duration::from_nanos(time_nanos.saturating_sub(begin_nanos));
    if let Some(left) = since_begin.checked_sub(started.elapsed()) {
        tokio::time::sleep(left).await;
    }
}

impl Totals {
    fn add(&mut self, sent: Option<(Taken, u64)>) {
        let Some((taken, spans)) = sent else { return };
        self.spans += spans;
        self.rejected_spans += taken.rejected_spans;
        if taken.rejected_spans > 0 {
            self.last_rejection = taken.message;
        }
    }
}

fn line(totals: &Totals, next_nanos: u64) -> String {
    let behind = Duration::from_nanos(now_nanos().saturating_sub(next_nanos)).as_secs();
    let behind = if behind > 1 { format!(", {behind} s of the past to go") } else { String::new() };
    format!("{} traces, {} spans sent{behind}", figures::count(totals.traces), figures::count(totals.spans))
}

fn summary(totals: &Totals) -> String {
    let sent = format!("{} traces of {} spans sent", figures::count(totals.traces), figures::count(totals.spans));
    match totals.rejected_spans {
        0 => sent,
        rejected => format!("{sent}, {} spans not taken: {}", figures::count(rejected), totals.last_rejection),
    }
}

/// Commands and pages that show something of this traffic.
fn what_to_look_at(arguments: &Arguments) -> String {
    let (url, identity) = (arguments.url.trim_end_matches('/'), &arguments.endpoint.identity);
    let mut flags = if url == "http://127.0.0.1:3200" { String::new() } else { format!(" --url {url}") };
    if let Some(tenant) = &identity.tenant {
        flags.push_str(&format!(" --tenant {tenant}"));
    }
    format!(
        "look:
  {url}/ui/search    the page, served by mosso
  mosso services{flags}
  mosso query{flags} '{{ resource.service.name = \"storefront\" && duration > 1s }}'
  mosso query{flags} '{{ status = error }} | rate() by (resource.service.name)'
  mosso query{flags} '{{ span.gen_ai.operation.name = \"chat\" }} | select(span.gen_ai.request.model, span.gen_ai.usage.input_tokens)'
  mosso tail{flags} '{{ status = error }}'
  mosso trace{flags} ID    an id that one of these shows"
    )
}
