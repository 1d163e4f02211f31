//! What is answered, without any wire format.

use std::collections::{BTreeMap, BTreeSet};

use model::{Scope, SpanId, TraceId};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use traceql::{Static, format_go_duration};

use crate::intervals::Intervals;
use crate::request::PageToken;

/// What answering cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryMetrics {
    pub inspected_traces: u64,
    pub inspected_spans: u64,
    /// Of blocks and of what is live, as they are in memory.
    pub inspected_bytes: u64,
    /// Parts of row groups that were read from blocks, and their bytes as stored; none of what is live or in memory.
    pub backend_reads: u64,
    pub backend_bytes: u64,
    /// Blocks in the time range.
    pub total_blocks: u64,
    pub total_block_bytes: u64,
    /// Sources dealt with, of those planned: read, or found needless. At the end fewer than planned are those that could
    /// not be read.
    pub completed_jobs: u64,
    pub total_jobs: u64,
}

impl QueryMetrics {
    /// What two queries over the same blocks cost.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            inspected_traces: self.inspected_traces + other.inspected_traces,
            inspected_spans: self.inspected_spans + other.inspected_spans,
            inspected_bytes: self.inspected_bytes + other.inspected_bytes,
            backend_reads: self.backend_reads + other.backend_reads,
            backend_bytes: self.backend_bytes + other.backend_bytes,
            total_blocks: self.total_blocks.max(other.total_blocks),
            total_block_bytes: self.total_block_bytes.max(other.total_block_bytes),
            completed_jobs: self.completed_jobs + other.completed_jobs,
            total_jobs: self.total_jobs + other.total_jobs,
        }
    }
}

/// Whether similar spans are one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pruned {
    #[default]
    No,
    /// The sender made them so: nothing else was ever stored.
    BeforeItCame,
    /// In this answer; the store has them all.
    Now,
}

/// A trace by id; `resource_spans` is empty when there is none.
#[derive(Debug, Clone, Default)]
pub struct TraceAnswer {
    pub resource_spans: Vec<ResourceSpans>,
    pub metrics: QueryMetrics,
    /// Why the trace may lack spans.
    pub partial: Option<TracePartial>,
    /// Whether spans were left out because they are not of the subset that was asked for.
    pub is_filtered: bool,
    pub pruned: Pruned,
    /// Whose live spans are missing, if so.
    pub lack: Option<String>,
}

/// Why a trace lacks spans.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TracePartial {
    #[error("{0} blocks could not be read")]
    UnreadableBlocks(usize),
    /// Spans that start last were left out. The text is Tempo's.
    #[error("Trace exceeds maximum size of {max_bytes} bytes, a partial trace is returned")]
    TooLarge { max_bytes: usize },
}

/// Traces that match a search, newest first.
#[derive(Debug, Clone, Default)]
pub struct SearchAnswer {
    pub traces: Vec<FoundTrace>,
    pub metrics: QueryMetrics,
    /// Whose live spans are missing, if so.
    pub lack: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FoundTrace {
    pub trace_id: TraceId,
    /// Name of the root span's service; `None` without a root or a name.
    pub root_service: Option<String>,
    pub root_name: Option<String>,
    pub start_nanos: u64,
    pub duration_nanos: u64,
    /// Empty in the answer to a tag search.
    pub services: BTreeMap<String, ServiceStats>,
    /// Empty in the answer to a tag search.
    pub span_sets: Vec<SpanSet>,
}

impl FoundTrace {
    /// Its place, from where the next page goes on.
    pub fn cursor(&self) -> PageToken {
        PageToken { start_nanos: self.start_nanos, trace_id: self.trace_id }
    }

    /// About how much memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let names = [&self.root_service, &self.root_name].into_iter().flatten().chain(self.services.keys());
        let services = self.services.len() * size_of::<(String, ServiceStats)>();
        let names: usize = names.map(String::len).sum();
        size_of_val(self) + services + names + self.span_sets.iter().map(SpanSet::memory_bytes).sum::<usize>()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceStats {
    pub span_count: u32,
    pub error_count: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SpanSet {
    /// How many spans match; `spans` may list fewer.
    pub matched: u32,
    pub spans: Vec<FoundSpan>,
    /// Results of the pipeline (`by(name)`, `count()`).
    pub attributes: Vec<(String, Value)>,
}

impl SpanSet {
    fn memory_bytes(&self) -> usize {
        let of_span = |span: &FoundSpan| {
            size_of_val(span) + span.name.as_ref().map_or(0, String::len) + attributes_bytes(&span.attributes)
        };
        size_of_val(self) + attributes_bytes(&self.attributes) + self.spans.iter().map(of_span).sum::<usize>()
    }
}

fn attributes_bytes(attributes: &[(String, Value)]) -> usize {
    attributes.iter().map(|(key, value)| size_of::<String>() + key.len() + value.memory_bytes()).sum()
}

#[derive(Debug, Clone, PartialEq)]
pub struct FoundSpan {
    pub span_id: SpanId,
    /// Only when the query is about the name.
    pub name: Option<String>,
    pub start_nanos: u64,
    pub duration_nanos: u64,
    /// What the query compared or selected, under bare names.
    pub attributes: Vec<(String, Value)>,
}

/// A value in an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    String(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    Array(Vec<Value>),
}

impl Value {
    pub(crate) fn memory_bytes(&self) -> usize {
        let beside = match self {
            Self::String(text) => text.len(),
            Self::Array(values) => values.iter().map(Self::memory_bytes).sum(),
            Self::Int(_) | Self::Double(_) | Self::Bool(_) => 0,
        };
        size_of_val(self) + beside
    }
}

impl From<Static> for Value {
    /// Durations, statuses and kinds become texts.
    fn from(value: Static) -> Self {
        match value {
            Static::String(text) => Self::String(text),
            Static::Int(number) => Self::Int(number),
            Static::Float(number) => Self::Double(number),
            Static::Bool(value) => Self::Bool(value),
            Static::Duration(nanos) => Self::String(format_go_duration(nanos)),
            other @ (Static::Nil | Static::Status(_) | Static::Kind(_)) => Self::String(other.to_string()),
        }
    }
}

/// Results of a metrics query over its intervals.
#[derive(Debug, Clone)]
pub struct MetricsAnswer {
    pub intervals: Intervals,
    /// Fewer labels first, then in the order of the labels' texts.
    pub series: Vec<Series>,
    pub metrics: QueryMetrics,
    /// Why the answer is not whole.
    pub partial: Option<String>,
}

/// A number for each interval, under labels that no other series of the answer has.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: Vec<(String, Value)>,
    /// By interval; NaN where there is none.
    pub values: Vec<f64>,
    /// By time.
    pub exemplars: Vec<Exemplar>,
}

/// A span that stands for others of its series.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    pub trace_id: TraceId,
    /// When the span starts, in unix nanoseconds.
    pub start_nanos: u64,
    /// What was measured at the span, or for counts the value of the series at that time.
    pub value: f64,
    /// The measured field and its value.
    pub labels: Vec<(String, Value)>,
    /// Its number among those whose spans are read when all others are left out; none in an answer.
    pub(crate) unread: Option<usize>,
}

/// What was made of whole traces.
#[derive(Debug, Clone)]
pub struct SummaryAnswer<T> {
    pub summary: T,
    pub metrics: QueryMetrics,
    /// Why the answer is not whole.
    pub partial: Option<String>,
}

/// Names of tags by scope, sorted; a scope without names is left out, unless it is the one that was asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TagNames {
    pub scopes: BTreeMap<Scope, BTreeSet<String>>,
    /// Whether the fixed list [`model::attribute::LISTED_INTRINSICS`] belongs to the answer.
    pub intrinsics: bool,
    pub metrics: QueryMetrics,
    /// Whose live spans are missing, if so.
    pub lack: Option<String>,
}

/// Values of a tag, each once, sorted by type and then text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TagValues {
    pub values: BTreeSet<TagValue>,
    pub metrics: QueryMetrics,
    /// Whose live spans are missing, if so.
    pub lack: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagValue {
    pub kind: TagValueKind,
    pub text: String,
}

/// Type of a tag value; Grafana chooses operators and quoting by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagValueKind {
    String,
    Int,
    Float,
    Bool,
    Keyword,
}

/// What all answers have in common.
pub(crate) trait Answer {
    /// How many traces, spans, series, names or values it holds, whatever it is a list of.
    fn results(&self) -> usize;

    /// Says whose live spans are missing.
    fn lacks(&mut self, lack: String);
}

impl Answer for TraceAnswer {
    fn results(&self) -> usize {
        self.resource_spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
    }

    fn lacks(&mut self, lack: String) {
        self.lack = Some(lack);
    }
}

impl Answer for SearchAnswer {
    fn results(&self) -> usize {
        self.traces.len()
    }

    fn lacks(&mut self, lack: String) {
        self.lack = Some(lack);
    }
}

impl Answer for MetricsAnswer {
    fn results(&self) -> usize {
        self.series.len()
    }

    fn lacks(&mut self, lack: String) {
        self.partial = Some(also(self.partial.take(), lack));
    }
}

impl<T> Answer for SummaryAnswer<T> {
    fn results(&self) -> usize {
        1
    }

    fn lacks(&mut self, lack: String) {
        self.partial = Some(also(self.partial.take(), lack));
    }
}

/// One more reason why an answer is not whole.
fn also(partial: Option<String>, lack: String) -> String {
    match partial {
        Some(partial) => format!("{partial}; {lack}"),
        None => lack,
    }
}

impl Answer for TagNames {
    fn results(&self) -> usize {
        self.scopes.values().map(BTreeSet::len).sum()
    }

    fn lacks(&mut self, lack: String) {
        self.lack = Some(lack);
    }
}

impl Answer for TagValues {
    fn results(&self) -> usize {
        self.values.len()
    }

    fn lacks(&mut self, lack: String) {
        self.lack = Some(lack);
    }
}
