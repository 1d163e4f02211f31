//! A trace as a tree: every span with its parent and its place among its siblings, parents before their children.
//!
//! A span whose parent is not there stands on top, and so does the first of a circle. Siblings stand in the order of
//! start. Of several spans with one id the first is taken.

use std::collections::{HashMap, HashSet};

use axum::http::StatusCode;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};

use crate::tempo::plain::hex;
use crate::tempo::reply::QueryError;

/// Deeper trees are not compared: the places of their spans would be larger than the spans.
const MAX_DEPTH: usize = 1_000;

pub(super) struct Tree<'t> {
    pub trace_id: String,
    /// With those that have no place.
    pub spans: Vec<(&'t Span, Operation<'t>)>,
    pub nodes: Vec<Node<'t>>,
}

pub(super) struct Node<'t> {
    pub span: &'t Span,
    pub operation: Operation<'t>,
    /// Where the parent stands in the list of nodes.
    pub parent: Option<usize>,
    /// Place among its siblings.
    pub index: usize,
    depth: usize,
}

/// What a span does: spans of two traces that do the same may be each other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Operation<'t> {
    pub service: &'t str,
    pub name: &'t str,
    pub kind: &'static str,
}

impl<'t> Tree<'t> {
    /// # Errors
    /// For a trace that is too deep.
    pub fn of(trace: &'t [ResourceSpans], side: &str) -> Result<Self, QueryError> {
        let spans = flattened(trace);
        let trace_id = spans.first().map(|(span, _)| hex(&span.trace_id)).unwrap_or_default();
        let mut tree = Self { trace_id, spans: Vec::new(), nodes: Vec::new() };
        tree.place_all(&spans);
        if tree.nodes.iter().any(|node| node.depth > MAX_DEPTH) {
            let text = format!("the {side} trace has more than {MAX_DEPTH} levels of spans, which cannot be diffed");
            return Err(QueryError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        }
        Ok(Self { spans, ..tree })
    }

    fn place_all(&mut self, spans: &[(&'t Span, Operation<'t>)]) {
        let ids: HashSet<&[u8]> = spans.iter().map(|(span, _)| span.span_id.as_slice()).collect();
        let mut children: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (number, (span, _)) in spans.iter().enumerate() {
            let parent = span.parent_span_id.as_slice();
            children.entry(if ids.contains(parent) { parent } else { &[] }).or_default().push(number);
        }
        let by_start = |number: &usize| (spans[*number].0.start_time_unix_nano, &spans[*number].0.span_id);
        children.values_mut().for_each(|numbers| numbers.sort_by_key(by_start));
        let mut all: Vec<usize> = (0..spans.len()).collect();
        all.sort_by_key(by_start);
        let tops = children.get(&[][..]).cloned().unwrap_or_default();
        let (mut placed, mut index) = (HashSet::new(), 0);
        for top in tops.into_iter().chain(all) {
            let was = self.nodes.len();
            self.place(spans, &children, top, index, &mut placed);
            index += usize::from(self.nodes.len() > was);
        }
    }

    /// Places a span and what is below it, unless it has its place.
    fn place(
        &mut self,
        spans: &[(&'t Span, Operation<'t>)],
        children: &HashMap<&[u8], Vec<usize>>,
        top: usize,
        index: usize,
        placed: &mut HashSet<&'t [u8]>,
    ) {
        // the last is the next; the index of a child is known when it is placed, because copies take no place
        let mut pending: Vec<(usize, Option<usize>)> = vec![(top, None)];
        let mut child_counts: HashMap<usize, usize> = HashMap::new();
        while let Some((number, parent)) = pending.pop() {
            let (span, operation) = spans[number];
            if !placed.insert(&span.span_id) {
                continue;
            }
            let index = parent.map_or(index, |parent| {
                let count = child_counts.entry(parent).or_default();
                *count += 1;
                *count - 1
            });
            let depth = parent.map_or(0, |parent| self.nodes[parent].depth + 1);
            let at = self.nodes.len();
            self.nodes.push(Node { span, operation, parent, index, depth });
            if !span.span_id.is_empty() {
                let below = children.get(span.span_id.as_slice()).into_iter().flatten();
                pending.extend(below.rev().map(|&child| (child, Some(at))));
            }
        }
    }

    /// Places from the top down to a span.
    pub fn path(&self, node: usize) -> Vec<usize> {
        let up = std::iter::successors(Some(node), |&node| self.nodes[node].parent);
        let mut path: Vec<usize> = up.map(|node| self.nodes[node].index).collect();
        path.reverse();
        path
    }

    pub fn parent_operation(&self, node: usize) -> Option<Operation<'t>> {
        self.nodes[node].parent.map(|parent| self.nodes[parent].operation)
    }
}

impl Node<'_> {
    pub fn duration_nanos(&self) -> Option<i64> {
        duration_nanos(self.span)
    }

    pub fn status(&self) -> &'static str {
        match self.span.status.as_ref().map_or(SpanStatus::Unset, |status| status.code()) {
            SpanStatus::Unset => "unset",
            SpanStatus::Ok => "ok",
            SpanStatus::Error => "error",
        }
    }

    pub fn is_error(&self) -> bool {
        self.status() == "error"
    }
}

/// `None` without a start, or for an end before it.
pub(super) fn duration_nanos(span: &Span) -> Option<i64> {
    let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
    (start > 0).then(|| end.checked_sub(start)).flatten().and_then(|nanos| i64::try_from(nanos).ok())
}

fn flattened(trace: &[ResourceSpans]) -> Vec<(&Span, Operation<'_>)> {
    let mut spans = Vec::new();
    for resource_spans in trace {
        let of_resource = resource_spans.resource.as_ref().and_then(|resource| service_name(&resource.attributes));
        for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
            let service = service_name(&span.attributes).or(of_resource).unwrap_or_default();
            spans.push((span, Operation { service, name: &span.name, kind: kind(span) }));
        }
    }
    spans
}

fn service_name(attributes: &[KeyValue]) -> Option<&str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == "service.name")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(name) if !name.is_empty() => Some(name),
        _ => None,
    }
}

fn kind(span: &Span) -> &'static str {
    match span.kind() {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}
