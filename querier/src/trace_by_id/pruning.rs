//! Similar spans of a trace as one: leaves that nothing tells apart but when they ran, and then their parents, become a
//! span that says how many they were and how long they took.
//!
//! The rules and the names of attributes are those of the OpenTelemetry collector's span pruning processor, which others
//! know how to read. Ids of the new spans come from those of the spans that they stand for, so that a trace that is asked
//! for again looks the same.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

use crate::answer::Pruned;
use crate::request::SpanPruning;

const IS_SUMMARY: &str = "aggregation.is_summary";

/// Upper ends of the buckets of durations, in seconds.
const BUCKET_ENDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Fewest parents of spans that became one that become one themselves.
const MIN_PARENTS: usize = 2;

/// A span of the trace.
struct Node {
    /// The places of its resource, scope and span.
    place: (usize, usize, usize),
    parent: Option<usize>,
    children: Vec<usize>,
    /// The group that it became part of.
    group: Option<usize>,
}

/// Spans that become one, in the order of their start.
struct Group {
    nodes: Vec<usize>,
    span_id: Vec<u8>,
}

/// What spans of a group have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    parent_name: Option<String>,
    name: String,
    kind: i32,
    status: i32,
    /// Spans of different sampling stand for different numbers of others.
    trace_state: String,
    /// Encoded, by key.
    attributes: BTreeMap<String, Vec<u8>>,
}

/// Puts similar spans together, unless they are that already.
pub(super) fn prune(resource_spans: &mut [ResourceSpans], pruning: &SpanPruning) -> Pruned {
    let is_summary = |span: &Span| {
        let is_true = |value: &Option<AnyValue>| {
            value.as_ref().and_then(|value| value.value.as_ref()) == Some(&Value::BoolValue(true))
        };
        span.attributes.iter().any(|pair| pair.key == IS_SUMMARY && is_true(&pair.value))
    };
    if spans_of(resource_spans).any(|(_, span)| is_summary(span)) {
        return Pruned::BeforeItCame;
    }
    let mut tree = Tree::of(resource_spans);
    let leaves = tree.group_leaves(resource_spans, pruning);
    if leaves.is_empty() {
        return Pruned::No;
    }
    tree.group_parents(resource_spans, pruning, leaves);
    tree.replace(resource_spans);
    Pruned::Now
}

fn spans_of(resource_spans: &[ResourceSpans]) -> impl Iterator<Item = ((usize, usize, usize), &Span)> {
    resource_spans.iter().enumerate().flat_map(|(resource, of_resource)| {
        of_resource.scope_spans.iter().enumerate().flat_map(move |(scope, of_scope)| {
            of_scope.spans.iter().enumerate().map(move |(span, of_span)| ((resource, scope, span), of_span))
        })
    })
}

struct Tree {
    nodes: Vec<Node>,
    /// Leaves first, then parents, level by level.
    groups: Vec<Group>,
    ids: HashSet<Vec<u8>>,
}

impl Tree {
    fn of(resource_spans: &[ResourceSpans]) -> Self {
        let mut by_id: HashMap<&[u8], usize> = HashMap::new();
        let mut nodes = Vec::new();
        for (place, span) in spans_of(resource_spans) {
            by_id.entry(&span.span_id).or_insert(nodes.len());
            nodes.push(Node { place, parent: None, children: Vec::new(), group: None });
        }
        for (number, (_, span)) in spans_of(resource_spans).enumerate() {
            let parent = by_id.get(span.parent_span_id.as_slice()).copied().filter(|parent| *parent != number);
            nodes[number].parent = parent;
            if let Some(parent) = parent {
                nodes[parent].children.push(number);
            }
        }
        let ids = by_id.into_keys().map(<[u8]>::to_vec).collect();
        Self { nodes, groups: Vec::new(), ids }
    }

    fn span<'a>(&self, resource_spans: &'a [ResourceSpans], node: usize) -> &'a Span {
        let (resource, scope, span) = self.nodes[node].place;
        &resource_spans[resource].scope_spans[scope].spans[span]
    }

    /// Groups leaves that are alike, and returns those that are in a group.
    fn group_leaves(&mut self, resource_spans: &[ResourceSpans], pruning: &SpanPruning) -> Vec<usize> {
        let mut alike: BTreeMap<Likeness, Vec<usize>> = BTreeMap::new();
        for (number, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.children.is_empty()) {
            let span = self.span(resource_spans, number);
            let named = span.attributes.iter().filter(|pair| pruning.is_grouped_by(&pair.key));
            let encoded = |pair: &KeyValue| (pair.key.clone(), pair.value.clone().unwrap_or_default().encode_to_vec());
            let likeness = Likeness {
                parent_name: node.parent.map(|parent| self.span(resource_spans, parent).name.clone()),
                attributes: named.map(encoded).collect(),
                ..Likeness::of_parent(span)
            };
            alike.entry(likeness).or_default().push(number);
        }
        self.add_groups(resource_spans, alike, pruning.min_spans)
    }

    /// Groups parents all of whose children are in groups, level by level.
    fn group_parents(&mut self, resource_spans: &[ResourceSpans], pruning: &SpanPruning, mut grouped: Vec<usize>) {
        let mut level = 0;
        while !grouped.is_empty() && pruning.max_parent_depth.is_none_or(|max| level < max) {
            level += 1;
            let is_ripe = |&parent: &usize| {
                let node = &self.nodes[parent];
                let are_grouped = || node.children.iter().all(|&child| self.nodes[child].group.is_some());
                node.parent.is_some() && node.group.is_none() && are_grouped()
            };
            let parents: HashSet<usize> = grouped.iter().filter_map(|&node| self.nodes[node].parent).collect();
            let mut ripe: Vec<usize> = parents.into_iter().filter(is_ripe).collect();
            ripe.sort_unstable();
            let mut alike: BTreeMap<Likeness, Vec<usize>> = BTreeMap::new();
            for parent in ripe {
                alike.entry(Likeness::of_parent(self.span(resource_spans, parent))).or_default().push(parent);
            }
            grouped = self.add_groups(resource_spans, alike, MIN_PARENTS);
        }
    }

    /// Makes groups of spans that are enough, and returns them.
    fn add_groups(
        &mut self,
        resource_spans: &[ResourceSpans],
        alike: BTreeMap<Likeness, Vec<usize>>,
        min_spans: usize,
    ) -> Vec<usize> {
        let mut grouped = Vec::new();
        for mut nodes in alike.into_values().filter(|nodes| nodes.len() >= min_spans) {
            nodes.sort_by_key(|&node| {
                let span = self.span(resource_spans, node);
                (span.start_time_unix_nano, &span.span_id)
            });
            for &node in &nodes {
                self.nodes[node].group = Some(self.groups.len());
            }
            grouped.extend(&nodes);
            let span_id = self.unused_id(resource_spans, &nodes);
            self.groups.push(Group { nodes, span_id });
        }
        grouped
    }

    fn unused_id(&mut self, resource_spans: &[ResourceSpans], nodes: &[usize]) -> Vec<u8> {
        let number = |node: &usize| {
            let id = &self.span(resource_spans, *node).span_id;
            id.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let mut id = nodes.iter().map(number).fold(nodes.len() as u64, u64::wrapping_add);
        while id == 0 || self.ids.contains(id.to_be_bytes().as_slice()) {
            id = id.wrapping_add(1);
        }
        self.ids.insert(id.to_be_bytes().to_vec());
        id.to_be_bytes().to_vec()
    }

    /// Puts the span of each group where the longest of its spans is, and takes those out.
    fn replace(&self, resource_spans: &mut [ResourceSpans]) {
        let summaries: Vec<((usize, usize, usize), Span)> =
            self.groups.iter().map(|group| self.summary(resource_spans, group)).collect();
        let mut is_grouped = self.nodes.iter().map(|node| node.group.is_some());
        for scope in resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
            scope.spans.retain(|_| !is_grouped.next().unwrap_or_default());
        }
        for ((resource, scope, _), span) in summaries {
            resource_spans[resource].scope_spans[scope].spans.push(span);
        }
        for resource in resource_spans.iter_mut() {
            resource.scope_spans.retain(|scope| !scope.spans.is_empty());
        }
    }

    /// The span that stands for a group, and the place of the longest of its spans, of which it has what is not counted.
    fn summary(&self, resource_spans: &[ResourceSpans], group: &Group) -> ((usize, usize, usize), Span) {
        let spans: Vec<&Span> = group.nodes.iter().map(|&node| self.span(resource_spans, node)).collect();
        let (mut longest, mut durations) = (0, Vec::with_capacity(spans.len()));
        for (number, span) in spans.iter().enumerate() {
            durations.push(span.end_time_unix_nano.wrapping_sub(span.start_time_unix_nano) as i64);
            if durations[number] > durations[longest] {
                longest = number;
            }
        }
        let first = &self.nodes[group.nodes[0]];
        let new_parent = first.parent.and_then(|parent| self.nodes[parent].group);
        let parent_span_id = match new_parent {
            Some(parent) => self.groups[parent].span_id.clone(),
            None => spans[0].parent_span_id.clone(),
        };
        let span = Span {
            span_id: group.span_id.clone(),
            parent_span_id,
            start_time_unix_nano: spans.iter().map(|span| span.start_time_unix_nano).min().unwrap_or_default(),
            end_time_unix_nano: spans.iter().map(|span| span.end_time_unix_nano).max().unwrap_or_default(),
            attributes: with_numbers(spans[longest].attributes.clone(), &durations),
            ..spans[longest].clone()
        };
        (self.nodes[group.nodes[longest]].place, span)
    }
}

impl Likeness {
    /// Of spans that are not leaves.
    fn of_parent(span: &Span) -> Self {
        Self {
            parent_name: None,
            name: span.name.clone(),
            kind: span.kind,
            status: span.status.as_ref().map(|status| status.code).unwrap_or_default(),
            trace_state: span.trace_state.clone(),
            attributes: BTreeMap::new(),
        }
    }
}

/// The attributes, and how many spans there were and how long they took.
fn with_numbers(mut attributes: Vec<KeyValue>, durations: &[i64]) -> Vec<KeyValue> {
    let total = durations.iter().fold(0_i64, |total, duration| total.saturating_add(*duration));
    let count = durations.len() as i64;
    let within =
        |end: f64| Value::IntValue(durations.iter().filter(|nanos| **nanos as f64 <= end * 1e9).count() as i64);
    let list = |values: Vec<Value>| {
        let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
        Value::ArrayValue(ArrayValue { values })
    };
    let counts = BUCKET_ENDS.into_iter().map(within).chain([Value::IntValue(count)]).collect();
    for (key, value) in [
        (IS_SUMMARY, Value::BoolValue(true)),
        ("aggregation.span_count", Value::IntValue(count)),
        ("aggregation.duration_min_ns", Value::IntValue(durations.iter().copied().min().unwrap_or_default())),
        ("aggregation.duration_max_ns", Value::IntValue(durations.iter().copied().max().unwrap_or_default())),
        ("aggregation.duration_total_ns", Value::IntValue(total)),
        ("aggregation.duration_avg_ns", Value::IntValue(total / count.max(1))),
        ("aggregation.histogram_bucket_bounds_s", list(BUCKET_ENDS.map(Value::DoubleValue).to_vec())),
        ("aggregation.histogram_bucket_counts", list(counts)),
    ] {
        attributes.retain(|pair| pair.key != key);
        attributes.push(KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..Default::default()
        });
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attributes, service, span, status, text};

    fn pruning(group_by: &[&str], min_spans: i64, max_parent_depth: i64) -> SpanPruning {
        SpanPruning::new(group_by.iter().copied(), min_spans, max_parent_depth).unwrap()
    }

    fn select(id: u64, parent: u64, millis: u64, op: &str) -> Span {
        Span { attributes: attributes(&[("db.op", text(op))]), ..span(1, id, parent, "SELECT", id, millis) }
    }

    /// Name, parent's name and how many spans it stands for, of each span.
    fn outline(resource_spans: &[ResourceSpans]) -> Vec<String> {
        let names: HashMap<&[u8], &str> =
            spans_of(resource_spans).map(|(_, span)| (span.span_id.as_slice(), span.name.as_str())).collect();
        let count = |span: &Span| {
            let pair = span.attributes.iter().find(|pair| pair.key == "aggregation.span_count")?;
            match pair.value.as_ref()?.value.as_ref()? {
                Value::IntValue(count) => Some(format!(" x{count}")),
                _ => None,
            }
        };
        let line = |span: &Span| {
            let parent = names.get(span.parent_span_id.as_slice()).copied().unwrap_or("-");
            format!("{} < {parent}{}", span.name, count(span).unwrap_or_default())
        };
        let mut lines: Vec<String> = spans_of(resource_spans).map(|(_, span)| line(span)).collect();
        lines.sort();
        lines
    }

    #[test]
    fn leaves_that_are_alike_become_one() {
        let failed = |id| Span { status: status(2, ""), ..select(id, 1, 45, "select") };
        let spans = vec![
            span(1, 1, 0, "root", 0, 100),
            select(2, 1, 10, "select"),
            select(3, 1, 50, "select"),
            select(4, 1, 12, "select"),
            failed(5),
            failed(6),
            select(7, 1, 20, "insert"),
        ];
        let mut trace = vec![service("s", spans)];
        assert_eq!(prune(&mut trace, &pruning(&["db.*"], 2, 1)), Pruned::Now);
        assert_eq!(
            outline(&trace),
            ["SELECT < root", "SELECT < root x2", "SELECT < root x3", "root < -"],
            "those that failed, and the one that does something else, stay apart"
        );
        let is_of_three = |span: &Span| {
            let count = span.attributes.iter().find(|pair| pair.key == "aggregation.span_count");
            count.and_then(|pair| pair.value.clone()?.value) == Some(Value::IntValue(3))
        };
        let (_, summary) = spans_of(&trace).find(|(_, span)| is_of_three(span)).unwrap();
        let number = |key: &str| {
            let pair = summary.attributes.iter().find(|pair| pair.key == format!("aggregation.{key}"));
            pair.and_then(|pair| pair.value.clone()).and_then(|value| value.value)
        };
        for (key, millis) in
            [("duration_min_ns", 10), ("duration_max_ns", 50), ("duration_avg_ns", 24), ("duration_total_ns", 72)]
        {
            assert_eq!(number(key), Some(Value::IntValue(millis * 1_000_000)), "{key}");
        }
        let Some(Value::ArrayValue(counts)) = number("histogram_bucket_counts") else { panic!("no counts") };
        let counts: Vec<_> = counts.values.into_iter().map(|count| count.value.unwrap()).collect();
        assert_eq!(counts, [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3].map(Value::IntValue));
    }

    #[test]
    fn parents_become_one_when_all_of_their_children_did() {
        let spans = || {
            let mut spans =
                vec![span(1, 1, 0, "root", 0, 100), span(1, 2, 1, "outer", 1, 90), span(1, 3, 1, "outer", 1, 90)];
            for (handler, outer) in [(4, 2), (5, 2), (6, 3), (7, 3)] {
                spans.push(span(1, handler, outer, "handler", 2, 40));
                spans.push(select(handler + 10, handler, 5, "select"));
            }
            vec![service("s", spans)]
        };
        for (depth, expected) in [
            (
                0,
                vec![
                    "SELECT < handler x4",
                    "handler < outer",
                    "handler < outer",
                    "handler < outer",
                    "handler < outer",
                    "outer < root",
                    "outer < root",
                    "root < -",
                ],
            ),
            (1, vec!["SELECT < handler x4", "handler < outer x4", "outer < root", "outer < root", "root < -"]),
            (2, vec!["SELECT < handler x4", "handler < outer x4", "outer < root x2", "root < -"]),
            (-1, vec!["SELECT < handler x4", "handler < outer x4", "outer < root x2", "root < -"]),
        ] {
            let mut trace = spans();
            prune(&mut trace, &pruning(&[], 2, depth));
            assert_eq!(outline(&trace), expected, "{depth}");
        }
    }

    #[test]
    fn what_is_one_already_is_left_alone() {
        let spans: Vec<Span> = (2..8).map(|id| select(id, 1, 5, "select")).collect();
        let mut trace = vec![service("s", spans)];
        let asked = pruning(&[], 5, 1);
        assert_eq!(prune(&mut trace.clone(), &pruning(&[], 7, 1)), Pruned::No);
        assert_eq!(prune(&mut trace, &asked), Pruned::Now);
        let before = trace.clone();
        assert_eq!(prune(&mut trace, &asked), Pruned::BeforeItCame);
        assert_eq!(trace, before);
    }
}
