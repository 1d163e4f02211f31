//! `mosso import`: files of traces, and blocks of a Tempo → an OTLP endpoint, with progress, and from where it stopped.
//!
//! ```text
//! input.rs     what there is to import
//! read.rs      a file → records (record.rs): which format, decompressed   (a thread)
//!    values.rs      values of JSON: OTLP, jaeger.rs, zipkin.rs
//!    framed.rs      OTLP protobuf
//! tempo.rs     a bucket → blocks → records
//! run()        records → requests, a few under way at a time        (bounded: a slow endpoint slows the reading)
//! state.rs     how far each is sent
//! ```

mod framed;
mod input;
mod jaeger;
mod read;
mod record;
mod state;
mod tempo;
mod values;
mod zipkin;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use storage::config::TraceConfig;
use tokio::sync::mpsc;

use self::input::Input;
use self::record::{Place, Record};
use self::state::State;
use self::tempo::{LeftOut, Location};
use crate::args::Range;
use crate::error::Error;
use crate::figures;
use crate::otlp::split::{MAX_REQUEST_BYTES, requests, span_count};
use crate::otlp::{EndpointArguments, Sender, Taken};
use crate::progress::Progress;

/// Requests that are sent at the same time.
const UNDER_WAY: usize = 4;
/// How often it is written down how far all is sent.
const STATE_PERIOD: Duration = Duration::from_secs(1);
/// What a Tempo's blocks have to be.
const READABLE: &str = "vParquet3, vParquet4 and vParquet5 can be read";
/// The tenant of a Tempo that has no tenants, and of a mosso.
const SINGLE_TENANT: &str = "single-tenant";

#[derive(Debug, Args)]
pub struct Arguments {
    /// Files: OTLP JSON (one document, or lines) or protobuf, Jaeger JSON, Zipkin JSON v2; also compressed (.gz, .zst). Or
    /// the blocks of a Tempo: tempo:///FOLDER, tempo://BUCKET/PREFIX (also tempo+s3, tempo+gs, tempo+azure), or tempo:// for
    /// the store that --config.file names, Tempo's own or ours; without it credentials come from the environment.
    #[arg(required = true, value_name = "FILE|tempo://…")]
    sources: Vec<PathBuf>,
    /// Of a Tempo's blocks, those of this tenant [default: all; each is sent as itself, unless --tenant is given].
    #[arg(long, value_name = "TENANT")]
    source_tenant: Option<String>,
    /// Of a Tempo's blocks, the traces of this time [default: all].
    #[command(flatten)]
    range: Range,
    /// Where it is written down how far all is sent. With this flag it stays there, and a file that has grown goes
    /// on where it ended [default: .mosso-import.json, until all are sent].
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    endpoint: EndpointArguments,
}

/// Where state is kept when nothing is said.
const DEFAULT_STATE: &str = ".mosso-import.json";

/// What has been done so far.
#[derive(Default)]
struct Totals {
    spans: u64,
    rejected_spans: u64,
    last_rejection: String,
    left_out: Vec<LeftOut>,
}

/// `store` are the settings of the configuration that the command line names.
pub(crate) async fn run(arguments: &Arguments, store: &TraceConfig) -> Result<ExitCode, Error> {
    let mut sender = Sender::new(&arguments.endpoint)?;
    let path = arguments.state.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_STATE));
    let mut state = State::open(&path)?;
    let (mut totals, mut progress, started) = (Totals::default(), Progress::new(), Instant::now());
    let stop = stop_at_interrupt();
    let mut tenant = None;
    let (inputs, left_out) = inputs(arguments, store).await?;
    left_out.iter().for_each(|block| progress.say(&block.to_string()));
    totals.left_out = left_out;
    for input in inputs {
        if input.tenant != tenant {
            tenant.clone_from(&input.tenant);
            sender = Sender::new(&arguments.endpoint_of(tenant.as_deref()))?;
        }
        let sent = import(&input, &sender, &mut state, &mut totals, &mut progress, &stop).await;
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
    Ok(if totals.is_all() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    /// Where what belonged to a tenant is sent: as that tenant, unless another is named.
    fn endpoint_of(&self, tenant: Option<&str>) -> EndpointArguments {
        let mut endpoint = self.endpoint.clone();
        if endpoint.identity.tenant.is_none() {
            endpoint.identity.tenant = tenant.filter(|&tenant| tenant != SINGLE_TENANT).map(str::to_owned);
        }
        endpoint
    }
}

/// All that is to be imported, in the order of the command line, and what cannot be.
async fn inputs(arguments: &Arguments, store: &TraceConfig) -> Result<(Vec<Input>, Vec<LeftOut>), Error> {
    let times = arguments.range.times_if_said()?;
    let tenant = arguments.source_tenant.as_deref();
    let (mut inputs, mut left_out) = (Vec::new(), Vec::new());
    for source in &arguments.sources {
        match source.to_str().and_then(|url| Location::parse(url, store)) {
            Some(location) => {
                let (blocks, unknown) = location.map_err(Error::Usage)?.find(tenant, times).await?;
                inputs.extend(Input::blocks(blocks));
                left_out.extend(unknown);
            }
            None if times.is_some() || tenant.is_some() => {
                let choose = "--since, --from, --to and --source-tenant choose among a Tempo's blocks";
                return Err(Error::Usage(format!("{}: a file is imported whole; {choose}", source.display())));
            }
            None => inputs.push(Input::file(source)?),
        }
    }
    Ok((inputs, left_out))
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
    let mut text = format!("{spans} spans sent in {seconds:.1} s");
    if totals.rejected_spans > 0 {
        let rejected = figures::count(totals.rejected_spans);
        text += &format!(", {rejected} of them not taken: {}", totals.last_rejection);
    }
    if !totals.left_out.is_empty() {
        let (blocks, traces) = (totals.left_out.len() as u64, totals.left_out.iter().map(LeftOut::traces).sum());
        let encodings: BTreeSet<&str> = totals.left_out.iter().map(LeftOut::encoding).collect();
        text += &format!(
            "; left out: {} blocks with {} traces, of encodings that are not known ({}); {READABLE}",
            figures::count(blocks),
            figures::count(traces),
            encodings.into_iter().collect::<Vec<_>>().join(", "),
        );
    }
    text
}

/// A request on its way, and where in the file it ends.
struct Sent {
    taken: Taken,
    spans: u64,
    /// `None` in the middle of a record.
    place: Option<Place>,
}

async fn import(
    input: &Input,
    sender: &Sender,
    state: &mut State,
    totals: &mut Totals,
    progress: &mut Progress,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let key = input.key();
    let (received, reading) = input.records(state.place(&key, input.size()?));
    let mut sent = std::pin::pin!(under_way(received, sender));
    let mut saved = Instant::now();
    while let Some(done) = sent.next().await {
        let Sent { taken, spans, place } = done?;
        totals.add(&taken, spans);
        if let Some(place) = place {
            state.set(key.clone(), input.size()?, place);
            if saved.elapsed() >= STATE_PERIOD {
                state.save()?;
                saved = Instant::now();
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            progress.draw(|| line(input, place.offset, totals.spans));
        }
    }
    reading.await.map_err(|error| Error::Usage(format!("{}: reading ended: {error}", input.name)))
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

type Piece = Result<(ExportTraceServiceRequest, Option<Place>), Error>;

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

fn line(input: &Input, offset: u64, spans: u64) -> String {
    let percent = input.extent.map(|extent| {
        let done = extent.before.saturating_add(offset).saturating_mul(100) / extent.total.max(1);
        format!("{:>3} %  ", done.min(100))
    });
    format!("{}{} spans  {}", percent.unwrap_or_default(), figures::count(spans), input.name)
}

impl Totals {
    /// Whether all that there was has been taken.
    fn is_all(&self) -> bool {
        self.rejected_spans == 0 && self.left_out.is_empty()
    }

    fn add(&mut self, taken: &Taken, spans: u64) {
        self.spans += spans;
        self.rejected_spans += taken.rejected_spans;
        if taken.rejected_spans > 0 {
            self.last_rejection.clone_from(&taken.message);
        }
    }
}
