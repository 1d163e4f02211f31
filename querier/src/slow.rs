//! The slow and obvious evaluator: what TraceQL says, read span by span from the messages as they were sent. Tests hold the
//! evaluator of `eval` and the answers of `search` and `metrics` against it.
//!
//! ```text
//! Sent spans ─▶ Trace ─▶ rows: the value of an expression at a span
//!                 └─ tree: who stands how to whom ─▶ pipeline: span sets ─▶ series: numbers by interval
//! ```
//!
//! It knows no columns, no sources and no shortcuts. Where the language leaves something open (which of several roots names
//! the trace), it says what mosso chose. `generate` makes spans and queries for both.

pub(crate) mod generate;
pub(crate) mod pipeline;
pub(crate) mod rows;
pub(crate) mod series;
pub(crate) mod tree;

use std::collections::BTreeMap;

use model::{TimeRange, TraceId};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use self::rows::{Value, attribute};
use self::tree::Tree;

/// A span as it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub resource: Resource,
    pub scope: InstrumentationScope,
    pub span: Span,
}

impl Sent {
    pub fn otlp(&self) -> ResourceSpans {
        let scope_spans =
            ScopeSpans { scope: Some(self.scope.clone()), spans: vec![self.span.clone()], ..Default::default() };
        ResourceSpans { resource: Some(self.resource.clone()), scope_spans: vec![scope_spans], ..Default::default() }
    }

    pub fn service(&self) -> Option<String> {
        match attribute(&self.resource.attributes, "service.name") {
            Value::One(traceql::Static::String(name)) => Some(name),
            _ => None,
        }
    }

    pub fn start_nanos(&self) -> u64 {
        self.span.start_time_unix_nano
    }
}

/// All spans of a trace, in the order in which they arrived.
#[derive(Debug)]
pub(crate) struct Trace {
    pub id: TraceId,
    pub spans: Vec<Sent>,
    pub tree: Tree,
}

impl Trace {
    /// The traces of these spans, by id.
    pub fn all_of(spans: &[Sent]) -> Vec<Self> {
        let mut by_id: BTreeMap<&[u8], Vec<Sent>> = BTreeMap::new();
        for sent in spans {
            by_id.entry(&sent.span.trace_id).or_default().push(sent.clone());
        }
        let trace = |(id, spans): (&[u8], Vec<Sent>)| {
            let (id, tree) = (TraceId(id.try_into().unwrap()), Tree::of(&spans));
            Self { id, spans, tree }
        };
        by_id.into_iter().map(trace).collect()
    }

    pub fn time_range(&self) -> TimeRange {
        let starts = self.spans.iter().map(Sent::start_nanos);
        let ends = self.spans.iter().map(|sent| sent.span.end_time_unix_nano);
        TimeRange::new(starts.min().unwrap(), ends.max().unwrap())
    }

    /// The root that starts first, and of those the first to arrive. Tempo takes the last that it happens to have stored.
    pub fn root(&self) -> Option<&Sent> {
        let roots = (0..self.spans.len()).filter(|&span| self.tree.is_root(span)).map(|span| &self.spans[span]);
        roots.min_by_key(|root| root.start_nanos())
    }
}
