//! The dataset that every case asks about: what is sent, moved to a base time, and the ids of what is in it.
//!
//! The files in `dataset/` are made by `export_dataset.py`; ids and values never change, only times move.

mod deal;

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;

use crate::case::folder;
use crate::otlp;
use crate::proto::{self, Enums, messages};

pub const NANOS: u64 = 1_000_000_000;

/// The dataset at a base time.
pub struct Dataset {
    /// Unix seconds, a multiple of 60. Every span lies within `window` seconds after it.
    pub base: u64,
    pub window: u64,
    /// Number of spans sent.
    pub spans: usize,
    /// Names of the traces by id, without leading zeros, as searches print it.
    pub names: BTreeMap<String, String>,
    requests: Vec<Request>,
    traces: BTreeMap<String, TraceIds>,
    probes: BTreeMap<String, ProbeIds>,
}

/// One export request of the dataset.
pub struct Request {
    transport: Transport,
    message: ExportTraceServiceRequest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Proto,
    Json,
}

/// Ids in hex.
#[derive(Deserialize)]
struct TraceIds {
    id: String,
    spans: BTreeMap<String, String>,
}

/// Ids in hex of the single span of an ingest case.
#[derive(Deserialize)]
pub struct ProbeIds {
    pub id: String,
    pub span: String,
}

#[derive(Deserialize)]
struct Manifest {
    base: u64,
    window: u64,
    spans: usize,
    traces: BTreeMap<String, TraceIds>,
    probes: BTreeMap<String, ProbeIds>,
}

/// The base for a dataset that is sent now: its spans are between six and eleven minutes old.
pub fn base_for_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    now.saturating_sub(600) / 60 * 60
}

impl Dataset {
    /// Reads the dataset and moves it to `base`.
    pub fn load(base: u64) -> Result<Dataset> {
        let file = folder("dataset").join("traces.json");
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let manifest: Manifest = serde_json::from_str(&text).with_context(|| format!("read {}", file.display()))?;
        let mut requests = read_requests()?;
        for span in requests.iter_mut().flat_map(|r| spans_mut(&mut r.message)) {
            shift(span, manifest.base, base);
        }
        let name_of = |(name, ids): (&String, &TraceIds)| (ids.id.trim_start_matches('0').to_owned(), name.clone());
        Ok(Dataset {
            base,
            window: manifest.window,
            spans: manifest.spans,
            names: manifest.traces.iter().map(name_of).collect(),
            requests,
            traces: manifest.traces,
            probes: manifest.probes,
        })
    }

    /// The requests in the order in which they are sent.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Number of traces.
    pub fn traces(&self) -> usize {
        self.traces.len()
    }

    /// The id of a trace in hex.
    pub fn trace_id(&self, name: &str) -> Result<&str> {
        Ok(&self.traces.get(name).with_context(|| format!("no trace {name}"))?.id)
    }

    /// The id of a span in hex.
    pub fn span_id(&self, name: &str, label: &str) -> Result<&str> {
        let trace = self.traces.get(name).with_context(|| format!("no trace {name}"))?;
        Ok(trace.spans.get(label).with_context(|| format!("no span {name}/{label}"))?)
    }

    pub fn probe(&self, number: u64) -> Result<&ProbeIds> {
        self.probes.get(&number.to_string()).with_context(|| format!("no probe {number}"))
    }

    /// A trace as it was sent, in protobuf JSON.
    pub fn sent(&self, name: &str) -> Result<Value> {
        let id = otlp::unhex(self.trace_id(name)?)?;
        let parts = self.requests.iter().flat_map(|r| &r.message.resource_spans);
        let resource_spans = parts.filter_map(|part| only_trace(part, &id)).collect();
        let body = TracesData { resource_spans }.encode_to_vec();
        Ok(Value::Object(proto::decode(&messages::TRACE, &body, Enums::Names)?))
    }
}

impl Request {
    /// The body to post and its media type.
    pub fn body(&self) -> Result<(Vec<u8>, &'static str)> {
        Ok(match self.transport {
            Transport::Proto => (self.message.encode_to_vec(), "application/x-protobuf"),
            Transport::Json => (otlp::to_json(&self.message)?, "application/json"),
        })
    }
}

fn read_requests() -> Result<Vec<Request>> {
    let file = folder("dataset").join("requests.bin.gz");
    let packed = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let mut raw = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut raw).with_context(|| format!("unpack {}", file.display()))?;
    let (mut requests, mut left) = (Vec::new(), &raw[..]);
    while let Some((head, after)) = left.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (body, after) = after.split_at_checked(length).context("the last request is cut short")?;
        let transport = match head[0] {
            b'p' => Transport::Proto,
            b'j' => Transport::Json,
            other => bail!("transport {other} of a request is not known"),
        };
        requests.push(Request { transport, message: ExportTraceServiceRequest::decode(body)? });
        left = after;
    }
    ensure!(left.is_empty(), "the last request is cut short");
    Ok(requests)
}

fn spans_mut(message: &mut ExportTraceServiceRequest) -> impl Iterator<Item = &mut Span> {
    message.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans)
}

fn shift(span: &mut Span, from: u64, to: u64) {
    let times = [&mut span.start_time_unix_nano, &mut span.end_time_unix_nano];
    for time in times.into_iter().chain(span.events.iter_mut().map(|e| &mut e.time_unix_nano)) {
        *time = time.wrapping_sub(from * NANOS).wrapping_add(to * NANOS);
    }
}

fn only_trace(part: &ResourceSpans, id: &[u8]) -> Option<ResourceSpans> {
    let of_scope = |scope: &ScopeSpans| {
        let spans: Vec<_> = scope.spans.iter().filter(|s| s.trace_id == id).cloned().collect();
        (!spans.is_empty()).then(|| ScopeSpans { spans, ..scope.clone() })
    };
    let scope_spans: Vec<_> = part.scope_spans.iter().filter_map(of_scope).collect();
    (!scope_spans.is_empty()).then(|| ResourceSpans { scope_spans, ..part.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dataset_is_whole_and_within_its_window() {
        let base = 1_700_000_040;
        let mut data = Dataset::load(base).unwrap();
        assert_eq!((data.requests().len(), data.traces(), data.spans), (20, 389, 4455));
        let (low, high) = (base * NANOS, (base + data.window) * NANOS);
        let mut count = 0;
        for span in data.requests.iter_mut().flat_map(|r| spans_mut(&mut r.message)) {
            count += 1;
            assert!(low <= span.start_time_unix_nano && span.end_time_unix_nano <= high, "{}", span.name);
        }
        assert_eq!(count, data.spans);
    }

    #[test]
    fn a_trace_comes_back_as_it_was_sent() {
        let data = Dataset::load(1_800_000_000).unwrap();
        let sent = data.sent("two_roots").unwrap();
        let text = sent.to_string();
        assert!(text.contains("SPAN_KIND_") && text.contains("svc-two-roots"), "{text}");
    }
}
