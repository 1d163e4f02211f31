//! What changed, span by span.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use serde::Serialize;
use serde_json::Value;

use super::matching;
use super::request::Form;
use super::tree::{Node, Tree};
use super::value::{self, is_close};
use super::warnings::{self, Warning};
use crate::tempo::plain;

/// Durations that differ by less are the same: a fifth of the longer, and a millisecond.
const DURATION_SHARE: f64 = 0.2;
const DURATION_BESIDES_NANOS: f64 = 1e6;

#[derive(Serialize)]
pub(super) struct Patch<'t> {
    version: &'static str,
    base: TraceMeta<'t>,
    compare: TraceMeta<'t>,
    pub stats: Stats,
    pub modified: Vec<ModifiedSpan<'t>>,
    pub added: Vec<SpanChange<'t>>,
    pub removed: Vec<SpanChange<'t>>,
    pub warnings: Vec<Warning>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceMeta<'t> {
    trace_id: &'t str,
    span_count: usize,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    pub span_count_a: usize,
    pub span_count_b: usize,
    pub matched_spans: usize,
    pub modified_spans: usize,
    pub added_spans: usize,
    pub removed_spans: usize,
    pub field_changes: usize,
    pub attribute_changes: usize,
    /// Events are not compared.
    event_changes: usize,
    /// Nothing is ever cut off.
    truncated: bool,
}

#[derive(Serialize)]
pub(super) struct ModifiedSpan<'t> {
    pub span: SpanRef<'t>,
    changes: Vec<Change<'t>>,
    /// Whether it became an error, or is none any more.
    #[serde(skip)]
    pub error: ErrorChange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorChange {
    None,
    New,
    Resolved,
}

#[derive(Serialize)]
pub(super) struct SpanRef<'t> {
    path: Vec<usize>,
    pub service: &'t str,
    name: &'t str,
    kind: &'static str,
}

#[derive(Serialize)]
struct Change<'t> {
    op: &'static str,
    target: Target<'t>,
    before: Value,
    after: Value,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Target<'t> {
    Field { name: &'static str },
    Attribute { scope: &'static str, key: &'t str },
}

#[derive(Serialize)]
pub(super) struct SpanChange<'t> {
    target: SpanTarget,
    pub span: SpanSnapshot<'t>,
}

/// Where a span was added or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanTarget {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    path: Vec<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parent_path: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct SpanSnapshot<'t> {
    #[serde(flatten)]
    pub span: SpanRef<'t>,
    duration_nanos: i64,
    status: &'static str,
    #[serde(skip)]
    pub is_error: bool,
}

impl<'t> Patch<'t> {
    pub fn of(base: &'t Tree<'t>, compare: &'t Tree<'t>) -> Self {
        let meta = |tree: &'t Tree<'t>| TraceMeta { trace_id: &tree.trace_id, span_count: tree.spans.len() };
        let stats = Stats { span_count_a: base.spans.len(), span_count_b: compare.spans.len(), ..Stats::default() };
        let mut patch = Self {
            version: Form::Patch.name(),
            base: meta(base),
            compare: meta(compare),
            stats,
            modified: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            warnings: warnings::of_both(base, compare),
        };
        patch.compare(base, compare);
        patch.count();
        patch
    }

    fn compare(&mut self, base: &'t Tree<'t>, compare: &'t Tree<'t>) {
        let mut is_matched = vec![false; base.nodes.len()];
        for (node, matched) in matching::matches(base, compare).into_iter().enumerate() {
            match matched {
                Some(before) => {
                    is_matched[before] = true;
                    self.stats.matched_spans += 1;
                    self.modified.extend(modified(compare, node, &base.nodes[before]));
                }
                None => self.added.push(added(compare, node)),
            }
        }
        let removed = (0..base.nodes.len()).filter(|&node| !is_matched[node]);
        self.removed.extend(removed.map(|node| self::removed(base, node)));
    }

    fn count(&mut self) {
        let changes = || self.modified.iter().flat_map(|span| &span.changes);
        let fields = changes().filter(|change| matches!(change.target, Target::Field { .. })).count();
        self.stats = Stats {
            modified_spans: self.modified.len(),
            added_spans: self.added.len(),
            removed_spans: self.removed.len(),
            field_changes: fields,
            attribute_changes: changes().count() - fields,
            ..std::mem::take(&mut self.stats)
        };
    }
}

fn span_ref<'t>(tree: &Tree<'t>, node: usize) -> SpanRef<'t> {
    let operation = tree.nodes[node].operation;
    SpanRef { path: tree.path(node), service: operation.service, name: operation.name, kind: operation.kind }
}

fn snapshot<'t>(tree: &Tree<'t>, number: usize) -> SpanSnapshot<'t> {
    let node = &tree.nodes[number];
    SpanSnapshot {
        span: span_ref(tree, number),
        duration_nanos: node.duration_nanos().unwrap_or(0),
        status: node.status(),
        is_error: node.is_error(),
    }
}

fn added<'t>(compare: &Tree<'t>, node: usize) -> SpanChange<'t> {
    let mut parent_path = compare.path(node);
    let index = parent_path.pop();
    SpanChange {
        target: SpanTarget { r#type: "span", path: Vec::new(), parent_path, index },
        span: snapshot(compare, node),
    }
}

fn removed<'t>(base: &Tree<'t>, node: usize) -> SpanChange<'t> {
    let target = SpanTarget { r#type: "span", path: base.path(node), parent_path: Vec::new(), index: None };
    SpanChange { target, span: snapshot(base, node) }
}

/// `None` when nothing changed.
fn modified<'t>(compare: &Tree<'t>, number: usize, before: &Node<'t>) -> Option<ModifiedSpan<'t>> {
    let after = &compare.nodes[number];
    let fields = duration_change(before, after).into_iter().chain(status_change(before, after));
    let changes: Vec<Change<'_>> = fields.chain(attribute_changes(before, after)).collect();
    let error = match (before.is_error(), after.is_error()) {
        (false, true) => ErrorChange::New,
        (true, false) => ErrorChange::Resolved,
        _ => ErrorChange::None,
    };
    (!changes.is_empty()).then(|| ModifiedSpan { span: span_ref(compare, number), changes, error })
}

fn duration_change<'t>(before: &Node<'t>, after: &Node<'t>) -> Option<Change<'t>> {
    let [before, after] = [before, after].map(Node::duration_nanos);
    let is_same = match (before, after) {
        (Some(before), Some(after)) => is_close(before as f64, after as f64, DURATION_SHARE, DURATION_BESIDES_NANOS),
        _ => before == after,
    };
    let [before, after] = [before, after].map(Value::from);
    (!is_same).then_some(Change { op: "modify", target: Target::Field { name: "duration_nanos" }, before, after })
}

fn status_change<'t>(before: &Node<'t>, after: &Node<'t>) -> Option<Change<'t>> {
    let [before, after] = [before, after].map(Node::status);
    let change = || Change {
        op: "modify",
        target: Target::Field { name: "status" },
        before: before.into(),
        after: after.into(),
    };
    (before != after).then(change)
}

type Attributes<'t> = BTreeMap<&'t str, Option<&'t Any>>;

fn attributes<'t>(node: &Node<'t>) -> Attributes<'t> {
    node.span.attributes.iter().map(|attribute| (attribute.key.as_str(), plain::content(attribute))).collect()
}

fn attribute_changes<'t>(before: &Node<'t>, after: &Node<'t>) -> Vec<Change<'t>> {
    let (before, after) = (attributes(before), attributes(after));
    let mut keys: Vec<&str> = before.keys().chain(after.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().filter_map(|key| attribute_change(key, before.get(key), after.get(key))).collect()
}

fn attribute_change<'t>(
    key: &'t str,
    before: Option<&Option<&'t Any>>,
    after: Option<&Option<&'t Any>>,
) -> Option<Change<'t>> {
    let op = match (before, after) {
        (None, _) => "add",
        (_, None) => "remove",
        (Some(before), Some(after)) if value::differs(key, *before, *after) => "modify",
        _ => return None,
    };
    let [before, after] = [before, after].map(|value| plain::value(value.copied().flatten(), base64));
    Some(Change { op, target: Target::Attribute { scope: "span", key }, before, after })
}

fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}
