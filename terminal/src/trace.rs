//! A trace as a tree: spans in the order in which people read them, a parent above its children.

use std::collections::HashMap;

use model::critical_path::{self, Interval};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span as OtlpSpan};

/// A span and its place in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub span_id: String,
    /// The place of its parent.
    pub parent: Option<usize>,
    pub depth: usize,
    /// Whether it is the last child of its parent.
    pub is_last: bool,
    pub service: String,
    pub name: String,
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub is_error: bool,
    /// What the status or an exception says.
    pub message: String,
    pub events: usize,
    /// Ids of traces that it refers to.
    pub links: Vec<String>,
}

impl Span {
    pub(crate) fn duration_nanos(&self) -> u64 {
        self.end_nanos.saturating_sub(self.start_nanos)
    }
}

/// All spans of a trace, and which of them it waited for.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub spans: Vec<Span>,
    pub critical_path: Vec<critical_path::Segment>,
}

impl Trace {
    pub(crate) fn of(resource_spans: &[ResourceSpans]) -> Self {
        let spans = in_tree_order(unordered(resource_spans));
        let interval = |span: &Span| Interval {
            parent: span.parent,
            start_nanos: span.start_nanos,
            end_nanos: span.end_nanos.max(span.start_nanos),
        };
        let intervals: Vec<Interval> = spans.iter().map(interval).collect();
        Self { critical_path: critical_path::critical_path(&intervals), spans }
    }

    pub(crate) fn start_nanos(&self) -> u64 {
        self.spans.iter().map(|span| span.start_nanos).min().unwrap_or_default()
    }

    pub(crate) fn end_nanos(&self) -> u64 {
        self.spans.iter().map(|span| span.end_nanos).max().unwrap_or_default()
    }

    pub(crate) fn errors(&self) -> usize {
        self.spans.iter().filter(|span| span.is_error).count()
    }
}

/// Spans with their parents' ids, in any order.
fn unordered(resource_spans: &[ResourceSpans]) -> Vec<(Span, String)> {
    let mut spans = Vec::new();
    for resource in resource_spans {
        let attributes = resource.resource.as_ref().map(|resource| resource.attributes.as_slice()).unwrap_or_default();
        let service = text(attributes, "service.name");
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            spans.push((read(span, &service), hex(&span.parent_span_id)));
        }
    }
    spans
}

fn read(span: &OtlpSpan, service: &str) -> Span {
    let status = span.status.as_ref();
    let is_error = status.is_some_and(|status| status.code == StatusCode::Error as i32);
    Span {
        span_id: hex(&span.span_id),
        parent: None,
        depth: 0,
        is_last: true,
        service: service.to_owned(),
        name: span.name.clone(),
        start_nanos: span.start_time_unix_nano,
        end_nanos: span.end_time_unix_nano,
        is_error,
        message: if is_error { message(span) } else { String::new() },
        events: span.events.len(),
        links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
    }
}

/// What the status says, else the last exception.
fn message(span: &OtlpSpan) -> String {
    let status = span.status.as_ref().map(|status| status.message.clone()).unwrap_or_default();
    if !status.is_empty() {
        return status;
    }
    let exception = span.events.iter().rfind(|event| event.name == "exception");
    exception.map(|event| text(&event.attributes, "exception.message")).unwrap_or_default()
}

/// Each subtree as one run, siblings by their start. A span whose parent is not there is a root; so is one of each circle.
fn in_tree_order(spans: Vec<(Span, String)>) -> Vec<Span> {
    let place_of: HashMap<&str, usize> =
        spans.iter().enumerate().map(|(place, (span, _))| (span.span_id.as_str(), place)).collect();
    let parent_of = |place: usize| place_of.get(spans[place].1.as_str()).copied().filter(|parent| *parent != place);
    let mut children = vec![Vec::new(); spans.len()];
    let mut roots = Vec::new();
    for place in 0..spans.len() {
        match parent_of(place) {
            Some(parent) => children[parent].push(place),
            None => roots.push(place),
        }
    }
    let by_start = |places: &mut Vec<usize>| places.sort_by_key(|place| (spans[*place].0.start_nanos, *place));
    children.iter_mut().for_each(by_start);
    by_start(&mut roots);
    let mut ordered: Vec<Span> = Vec::with_capacity(spans.len());
    let mut is_placed = vec![false; spans.len()];
    let mut place_roots = |roots: &[usize], ordered: &mut Vec<Span>| {
        let mut open: Vec<(usize, Option<usize>, bool)> =
            roots.iter().rev().enumerate().map(|(behind, root)| (*root, None, behind == 0)).collect();
        while let Some((place, parent, is_last)) = open.pop() {
            if std::mem::replace(&mut is_placed[place], true) {
                continue;
            }
            let depth = parent.map_or(0, |parent: usize| ordered[parent].depth + 1);
            ordered.push(Span { parent, depth, is_last, ..spans[place].0.clone() });
            let here = ordered.len() - 1;
            open.extend(
                children[place].iter().rev().enumerate().map(|(behind, child)| (*child, Some(here), behind == 0)),
            );
        }
    };
    place_roots(&roots, &mut ordered);
    if ordered.len() < spans.len() {
        place_roots(&(0..spans.len()).collect::<Vec<_>>(), &mut ordered);
    }
    ordered
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_ref());
    match value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text.clone(),
        _ => String::new(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod testing {
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Status};

    use super::*;

    /// Spans of one service: id, parent, name, start and end in milliseconds, whether it failed.
    pub(crate) fn resource_spans(service: &str, spans: &[(u8, u8, &str, u64, u64, bool)]) -> ResourceSpans {
        let id = |id: u8| if id == 0 { Vec::new() } else { vec![0, 0, 0, 0, 0, 0, 0, id] };
        let span = |&(own, parent, name, start, end, is_error): &(u8, u8, &str, u64, u64, bool)| OtlpSpan {
            trace_id: vec![7; 16],
            span_id: id(own),
            parent_span_id: id(parent),
            name: name.to_owned(),
            start_time_unix_nano: start * 1_000_000,
            end_time_unix_nano: end * 1_000_000,
            status: is_error.then(|| Status { code: StatusCode::Error as i32, message: "broken".to_owned() }),
            ..OtlpSpan::default()
        };
        let value = Some(AnyValue { value: Some(Value::StringValue(service.to_owned())) });
        let name = KeyValue { key: "service.name".to_owned(), value, ..KeyValue::default() };
        ResourceSpans {
            resource: Some(Resource { attributes: vec![name], ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: spans.iter().map(span).collect(), ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::resource_spans;
    use super::*;

    fn order(trace: &Trace) -> Vec<(&str, usize, bool)> {
        trace.spans.iter().map(|span| (span.name.as_str(), span.depth, span.is_last)).collect()
    }

    #[test]
    fn a_parent_stands_above_its_children_and_siblings_by_their_start() {
        let shop = resource_spans("shop", &[(3, 1, "late", 50, 60, false), (1, 0, "root", 0, 100, false)]);
        let stock = resource_spans("stock", &[(2, 1, "early", 10, 40, true), (4, 2, "leaf", 20, 30, false)]);
        let trace = Trace::of(&[shop, stock]);
        assert_eq!(order(&trace), [("root", 0, true), ("early", 1, false), ("leaf", 2, true), ("late", 1, true)]);
        assert_eq!((trace.spans[1].service.as_str(), trace.spans[1].message.as_str()), ("stock", "broken"));
        assert_eq!((trace.start_nanos(), trace.end_nanos(), trace.errors()), (0, 100_000_000, 1));
    }

    #[test]
    fn no_span_is_lost_whatever_its_parent() {
        let spans = [
            (1, 9, "orphan", 5, 6, false),
            (2, 2, "own parent", 1, 2, false),
            (3, 4, "circle", 1, 9, false),
            (4, 3, "circle too", 2, 3, false),
        ];
        let trace = Trace::of(&[resource_spans("shop", &spans)]);
        let expected = [("own parent", 0, false), ("orphan", 0, true), ("circle", 0, false), ("circle too", 1, true)];
        assert_eq!(order(&trace), expected);
    }
}
