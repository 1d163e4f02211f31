//! `mosso import`: files of traces → an OTLP endpoint, with progress, and from where it stopped.
//!
//! ```text
//! read.rs      a file → records: which format, decompressed         (a thread)
//!    otlp_json.rs   values of JSON: OTLP, jaeger.rs, zipkin.rs
//!    framed.rs      OTLP protobuf
//! run()        records → requests, a few under way at a time        (bounded: a slow endpoint slows the reading)
//! state.rs     how far each file is sent
//! ```

mod framed;
mod jaeger;
mod read;
mod state;
mod values;
mod zipkin;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tokio::sync::mpsc;

use self::read::Record;
use self::state::State;
use crate::error::Error;
use crate::figures;
use crate::otlp::split::{MAX_REQUEST_BYTES, requests, span_count};
use crate::otlp::{EndpointArguments, Sender, Taken};
use crate::progress::Progress;

/// Requests that are sent at the same time.
const UNDER_WAY: usize = 4;
/// Records that are read ahead.
const READ_AHEAD: usize = 4;
/// How often it is written down how far the files are sent.
const STATE_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files: OTLP JSON (one document, or lines) or protobuf, Jaeger JSON, Zipkin JSON v2; also compressed (.gz, .zst).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where it is written down how far the files are sent. With this flag it stays there, and a file that has grown goes
    /// on where it ended [default: .mosso-import.json, until all are sent].
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    endpoint: EndpointArguments,
}

/// Where state is kept when nothing is said.
const DEFAULT_STATE: &str = ".mosso-import.json";

/// What has been done so far.
#[derive(Debug, Default)]
struct Totals {
    spans: u64,
    rejected_spans: u64,
    last_rejection: String,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let sender = Sender::new(&arguments.endpoint)?;
    let path = arguments.state.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_STATE));
    let mut state = State::open(&path)?;
    let (mut totals, mut progress, started) = (Totals::default(), Progress::new(), Instant::now());
    let stop = stop_at_interrupt();
    for file in &arguments.files {
        let sent = import(file, &sender, &mut state, &mut totals, &mut progress, &stop).await;
        state.save()?;
        if let Err(error) = sent {
            progress.say(&summary(&totals, started));
            progress.say(&format!("the same command goes on from here: {}", path.display()));
            return Err(error);
        }
        if stop.load(Ordering::Relaxed) {
            progress.say(&format!("{}; the same command goes on from here", summary(&totals, started)));
            return Ok(ExitCode::from(130));
        }
    }
    if arguments.state.is_none() {
        state.remove()?;
    }
    progress.say(&summary(&totals, started));
    Ok(if totals.rejected_spans == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Ctrl-C ends it after what is under way.
fn stop_at_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            told.store(true, Ordering::Relaxed);
        }
    });
    stop
}

fn summary(totals: &Totals, started: Instant) -> String {
    let (spans, seconds) = (figures::count(totals.spans), started.elapsed().as_secs_f64());
    match totals.rejected_spans {
        0 => format!("{spans} spans sent in {seconds:.1} s"),
        rejected => format!(
            "{spans} spans sent in {seconds:.1} s, {} of them not taken: {}",
            figures::count(rejected),
            totals.last_rejection
        ),
    }
}

/// A request on its way, and where in the file it ends.
struct Sent {
    taken: Taken,
    spans: u64,
    /// `None` in the middle of a record.
    place: Option<read::Place>,
}

async fn import(
    file: &Path,
    sender: &Sender,
    state: &mut State,
    totals: &mut Totals,
    progress: &mut Progress,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let (start, length) = (state.place(file)?, state.length(file));
    let (records, received) = mpsc::channel::<Result<Record, Error>>(READ_AHEAD);
    let path = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        for record in read::records(&path, start) {
            // the other side has gone when it failed
            if records.blocking_send(record).is_err() {
                return;
            }
        }
    });
    let mut sent = std::pin::pin!(under_way(received, sender));
    let mut saved = Instant::now();
    while let Some(done) = sent.next().await {
        let Sent { taken, spans, place } = done?;
        totals.add(&taken, spans);
        if let Some(place) = place {
            state.set(file, place);
            if saved.elapsed() >= STATE_PERIOD {
                state.save()?;
                saved = Instant::now();
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            progress.draw(|| line(file, place.offset, length, totals.spans));
        }
    }
    reading.await.map_err(|error| Error::Usage(format!("{}: reading ended: {error}", file.display())))
}

/// Records → requests, in order, some of them under way at the same time.
fn under_way(
    records: mpsc::Receiver<Result<Record, Error>>,
    sender: &Sender,
) -> impl futures::Stream<Item = Result<Sent, Error>> + '_ {
    let records = futures::stream::unfold(records, |mut records| async move {
        let record = records.recv().await?;
        Some((record, records))
    });
    records
        .flat_map(|record| futures::stream::iter(pieces(record)))
        .map(async move |piece| {
            let (request, place) = piece?;
            let spans = span_count(&request);
            let taken = if spans == 0 { Taken::default() } else { sender.send(request).await? };
            Ok(Sent { taken, spans, place })
        })
        .buffered(UNDER_WAY)
}

type Piece = Result<(ExportTraceServiceRequest, Option<read::Place>), Error>;

/// The last request of a record says where the file goes on.
fn pieces(record: Result<Record, Error>) -> Vec<Piece> {
    let Record { resource_spans, next } = match record {
        Ok(record) => record,
        Err(error) => return vec![Err(error)],
    };
    let mut requests = requests(resource_spans, MAX_REQUEST_BYTES);
    if requests.is_empty() {
        requests.push(ExportTraceServiceRequest::default());
    }
    let last = requests.len() - 1;
    requests.into_iter().enumerate().map(|(at, request)| Ok((request, (at == last).then_some(next)))).collect()
}

fn line(file: &Path, offset: u64, length: Option<u64>, spans: u64) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let percent = length.map(|length| format!("{:>3} %  ", offset.saturating_mul(100) / length.max(1)));
    format!("{}{} spans  {name}", percent.unwrap_or_default(), figures::count(spans))
}

impl Totals {
    fn add(&mut self, taken: &Taken, spans: u64) {
        self.spans += spans;
        self.rejected_spans += taken.rejected_spans;
        if taken.rejected_spans > 0 {
            self.last_rejection.clone_from(&taken.message);
        }
    }
}
