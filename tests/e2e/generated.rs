//! Metrics that are made from spans: what a scraper reads, and what a target of remote write is sent, against an obvious
//! count over what was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use conformance::Target;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Server, metric};
use crate::traffic::post_request;

pub(crate) const ON: &str = "
metrics_generator: {registry: {collection_interval: 200ms}}
overrides: {defaults: {metrics_generator: {processors: [span-metrics, service-graphs]}}}
";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// One call of `shop` to `stock` in a trace of its own: two requests, each as another service sends it.
pub(crate) fn halves(trace: u128) -> [Vec<u8>; 2] {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
    let span = |id: u64, parent: u64, kind, millis: u64| Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: parent.to_be_bytes().to_vec(),
        name: "take".to_owned(),
        kind,
        start_time_unix_nano: now,
        end_time_unix_nano: now + millis * 1_000_000,
        ..Default::default()
    };
    let request = |service: &str, span| {
        let value = Some(AnyValue { value: Some(Value::StringValue(service.to_owned())) });
        let name = KeyValue { key: "service.name".to_owned(), value, ..Default::default() };
        let resource = Some(Resource { attributes: vec![name], ..Default::default() });
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..Default::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    };
    [request("shop", span(2, 1, CLIENT, 30)), request("stock", span(3, 2, SERVER, 20))]
}

pub(crate) async fn post(target: &Target, request: &[u8]) -> Result<()> {
    let answer = post_request(target, request).await?;
    ensure!(answer.status == 200, "{}", answer.status);
    Ok(())
}

/// Sends calls in two streams at a time, the halves of one in any order, every fifth half twice.
pub(crate) async fn send_calls(target: &Target, traces: std::ops::Range<u128>) -> Result<()> {
    let stream = |first_half: usize| {
        let traces = traces.clone();
        async move {
            for trace in traces {
                let request = &halves(trace)[(first_half + trace as usize % 2) % 2];
                post(target, request).await?;
                if trace % 5 == 0 {
                    post(target, request).await?;
                }
            }
            Ok::<_, anyhow::Error>(())
        }
    };
    tokio::try_join!(stream(0), stream(1))?;
    Ok(())
}

/// The samples of a text that a scraper reads, by name and labels.
pub(crate) async fn scraped(server: &Server) -> Result<BTreeMap<String, f64>> {
    let answer = server.target().get("/metrics/generated").await?;
    let text = String::from_utf8(answer.body)?;
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples.map(|(series, value)| Ok((series.to_owned(), value.parse()?))).collect()
}

pub(crate) const CALLS: [&str; 2] = [
    r#"traces_spanmetrics_calls_total{service="shop",span_kind="SPAN_KIND_CLIENT",span_name="take",status_code="STATUS_CODE_UNSET"}"#,
    r#"traces_spanmetrics_calls_total{service="stock",span_kind="SPAN_KIND_SERVER",span_name="take",status_code="STATUS_CODE_UNSET"}"#,
];
pub(crate) const REQUESTS: &str = r#"traces_service_graph_request_total{client="shop",server="stock"}"#;
const CLIENT_SECONDS: &str = r#"traces_service_graph_request_client_seconds_sum{client="shop",server="stock"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_reads_every_call_once_whatever_way_its_halves_came() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), ON).await?;
    send_calls(&server.target(), 1..41).await?;
    server.wait_for_metrics(|text| metric(text, EDGES) == 40.0).await?;
    let samples = scraped(&server).await?;
    assert_eq!(CALLS.map(|series| samples.get(series).copied()), [Some(40.0); 2], "{samples:?}");
    assert_eq!(samples.get(REQUESTS), Some(&40.0));
    let seconds = samples.get(CLIENT_SECONDS).copied().unwrap_or_default();
    assert!((seconds - 1.2).abs() < 1e-9, "{seconds}");
    Ok(())
}

pub(crate) const EDGES: &str = "tempo_metrics_generator_processor_service_graphs_edges_total";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_generated_by_default() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), "").await?;
    send_calls(&server.target(), 1..3).await?;
    assert_eq!(scraped(&server).await?, BTreeMap::new());
    assert!(!dir.path().join("data/generator").exists());
    Ok(())
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A target of remote write that keeps what it is sent.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// Samples by series, in order of arrival.
    samples: BTreeMap<String, Vec<(i64, f64)>>,
    heads: Vec<String>,
    /// So many requests are answered with 503 first.
    refusals: usize,
}

impl Store {
    /// What all processes together have counted: a counter that fell began anew.
    fn total(&self, series: &str) -> f64 {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let values = kept.samples.get(series).map(|samples| samples.iter().map(|(_, value)| *value));
        let mut total = 0.0;
        values.into_iter().flatten().fold(0.0, |before, value| {
            total += if value < before { value } else { value - before };
            value
        });
        total
    }

    /// How often a counter fell, over all series of names that start so.
    fn resets(&self, prefix: &str) -> usize {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = kept.samples.iter().filter(|(series, _)| series.starts_with(prefix));
        counters.map(|(_, samples)| samples.windows(2).filter(|pair| pair[1].1 < pair[0].1).count()).sum()
    }

    fn is_in_order(&self) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.samples.values().all(|samples| samples.is_sorted_by(|one, next| one.0 < next.0))
    }

    /// Answers requests on a socket until the test ends.
    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let store = self.clone();
            tokio::spawn(async move { store.connection(stream).await });
        }
    }

    async fn connection(self, mut stream: TcpStream) -> Result<()> {
        let mut received = Vec::new();
        loop {
            let head_end = loop {
                if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    break end + 4;
                }
                if stream.read_buf(&mut received).await? == 0 {
                    return Ok(());
                }
            };
            let head = String::from_utf8_lossy(&received[..head_end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("a length")?;
            let length: usize = length.trim().parse()?;
            while received.len() < head_end + length {
                ensure!(stream.read_buf(&mut received).await? > 0, "the request ends early");
            }
            let body: Vec<u8> = received.drain(..head_end + length).skip(head_end).collect();
            let status = self.keep(head, &body)?;
            stream.write_all(format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
        }
    }

    fn keep(&self, head: String, body: &[u8]) -> Result<u16> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.heads.push(head);
        if kept.refusals > 0 {
            kept.refusals -= 1;
            return Ok(503);
        }
        let request = WriteRequest::decode(snap::raw::Decoder::new().decompress_vec(body)?.as_slice())?;
        for TimeSeries { labels, samples } in request.timeseries {
            let (name, labels): (Vec<_>, Vec<_>) = labels.into_iter().partition(|label| label.name == "__name__");
            let shown = labels.iter().filter(|label| !label.name.starts_with("__"));
            let shown: Vec<String> = shown.map(|label| format!("{}=\"{}\"", label.name, label.value)).collect();
            let series = format!("{}{{{}}}", name.first().context("a name")?.value, shown.join(","));
            let samples = samples.into_iter().map(|sample| (sample.timestamp, sample.value));
            kept.samples.entry(series).or_default().extend(samples);
        }
        Ok(204)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_gets_every_call_once_though_it_was_down_and_the_process_restarted() -> Result<()> {
    let (dir, store) = (tempfile::tempdir()?, Store::default());
    // nobody listens there before the process has stopped
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    drop(listener);
    let settings = format!(
        "
metrics_generator:
  registry: {{collection_interval: 200ms}}
  storage:
    remote_write:
      - {{url: 'http://{address}/api/v1/write', name: one, basic_auth: {{username: me, password: hush}}, headers: {{X-Team: blue}}}}
overrides: {{defaults: {{metrics_generator: {{processors: [span-metrics, service-graphs]}}}}}}
"
    );
    let server = Server::start(dir.path(), &settings).await?;
    send_calls(&server.target(), 1..21).await?;
    server.wait_for_metrics(|text| metric(text, "mosso_remote_write_queue_requests") > 0.0).await?;
    server.stop()?;

    let kept = store.0.clone();
    kept.lock().unwrap_or_else(PoisonError::into_inner).refusals = 2;
    tokio::spawn(store.clone().serve(TcpListener::bind(address).await?));
    let server = Server::start(dir.path(), &settings).await?;
    send_calls(&server.target(), 21..31).await?;
    server
        .wait_for_metrics(|_| store.total(REQUESTS) >= 30.0 && CALLS.iter().all(|series| store.total(series) >= 30.0))
        .await?;
    server.wait_for_metrics(|text| metric(text, "mosso_remote_write_retries_total") >= 2.0).await?;
    assert_eq!(CALLS.map(|series| store.total(series)), [30.0; 2]);
    assert_eq!(store.total(REQUESTS), 30.0);
    assert!(store.is_in_order());
    assert_eq!(store.resets("traces_"), 0, "counters go on where they were");
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    for header in [
        "post /api/v1/write http/1.1",
        "content-encoding: snappy",
        "content-type: application/x-protobuf\r\n",
        "x-prometheus-remote-write-version: 0.1.0",
        "authorization: basic bwu6ahvzaa==",
        "x-team: blue",
    ] {
        assert!(kept.heads.iter().all(|head| head.contains(header)), "{header}: {:?}", kept.heads.first());
    }
    Ok(())
}

const SECONDS_COUNTS: [&str; 2] = [
    r#"traces_spanmetrics_latency_count{service="shop",span_kind="SPAN_KIND_CLIENT",span_name="take",status_code="STATUS_CODE_UNSET"}"#,
    r#"traces_service_graph_request_server_seconds_count{client="shop",server="stock"}"#,
];

/// Sends requests two at a time, and kills the process while the middle ones are under way. Returns those that were not
/// acknowledged.
async fn send_and_kill(server: Server, requests: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let target = server.target();
    let (mut server, mut unacknowledged) = (Some(server), Vec::new());
    let middle = requests.len() / 4;
    for (number, pair) in requests.chunks(2).enumerate() {
        let sent = futures::future::join_all(pair.iter().map(|request| post(&target, request)));
        let kill = async { server.take_if(|_| number == middle).map_or(Ok(()), Server::kill) };
        let (sent, killed) = tokio::join!(sent, kill);
        killed?;
        let failed = pair.iter().zip(sent).filter(|(_, sent)| sent.is_err());
        unacknowledged.extend(failed.map(|(request, _)| request.clone()));
    }
    Ok(unacknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_those_of_all_calls_though_the_process_was_killed_and_the_target_was_down() -> Result<()> {
    const CALLS_SENT: usize = 90;
    let (dir, store) = (tempfile::tempdir()?, Store::default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    drop(listener);
    let settings = format!(
        "
metrics_generator:
  registry: {{collection_interval: 300ms}}
  storage: {{remote_write: [{{url: 'http://{address}/api/v1/write', name: one}}]}}
overrides: {{defaults: {{metrics_generator: {{processors: [span-metrics, service-graphs]}}}}}}
"
    );
    let halves: Vec<Vec<u8>> = (1..=CALLS_SENT as u128).flat_map(halves).collect();
    // halves of most calls lie in different lives of the process
    let requests: Vec<Vec<u8>> = (0..halves.len()).map(|at| halves[at * 77 % halves.len()].clone()).collect();
    let mut again: Vec<Vec<u8>> = Vec::new();
    for (life, part) in requests.chunks(halves.len() / 3).enumerate() {
        let server = Server::start(dir.path(), &settings).await?;
        if life == 1 {
            tokio::spawn(store.clone().serve(TcpListener::bind(address).await?));
        }
        // what was not acknowledged, and copies of what was
        let sent: Vec<Vec<u8>> = again.into_iter().chain(part.iter().cloned()).collect();
        again = send_and_kill(server, &sent).await?;
        ensure!(again.len() > part.len() / 4, "the process was killed too late");
        again.extend(sent.into_iter().take(3));
    }
    let server = Server::start(dir.path(), &settings).await?;
    for request in &again {
        post(&server.target(), request).await?;
    }
    let wanted: Vec<&str> = [REQUESTS].into_iter().chain(CALLS).chain(SECONDS_COUNTS).collect();
    let total = CALLS_SENT as f64;
    server.wait_for_metrics(|_| wanted.iter().all(|series| store.total(series) >= total)).await?;
    let totals = wanted.iter().map(|series| (*series, store.total(series)));
    assert_eq!(totals.collect::<Vec<_>>(), wanted.iter().map(|series| (*series, total)).collect::<Vec<_>>());
    assert!(store.is_in_order());
    assert_eq!(store.resets("traces_"), 0, "no counter began anew");
    let samples = scraped(&server).await?;
    assert!(wanted.iter().all(|series| samples.get(*series) == Some(&total)), "{samples:?}");
    Ok(())
}
