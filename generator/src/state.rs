//! What the generator knows, as a checkpoint has it: protobuf in which texts and sets of labels stand once in each tenant and
//! are referred to by number.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message;
use storage::wal::Position;

use crate::copies::Generations;
use crate::labels::LabelSet;

/// What an earlier process saved.
pub struct Checkpoint {
    pub position: Position,
    /// The collection that was to be made of it.
    pub collection: Collection,
    /// By target, the number of the first request of that collection.
    pub queues: Vec<(String, u64)>,
    pub(crate) state: State,
    pub(crate) recent: Generations,
}

/// When series are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collection {
    pub now_millis: i64,
    /// A series of which no collection told before was zero then.
    pub zero_millis: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct State {
    /// Where in the log counting has come.
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(int64, tag = "3")]
    pub saved_millis: i64,
    /// The collection that is made of this state, and the numbers of its first requests.
    #[prost(int64, tag = "4")]
    pub now_millis: i64,
    #[prost(int64, tag = "5")]
    pub zero_millis: i64,
    #[prost(message, repeated, tag = "6")]
    pub queues: Vec<QueueState>,
    #[prost(message, repeated, tag = "7")]
    pub tenants: Vec<TenantState>,
    #[prost(message, optional, tag = "8")]
    pub recent: Option<RecentState>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct QueueState {
    #[prost(string, tag = "1")]
    pub target: String,
    #[prost(uint64, tag = "2")]
    pub next_number: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TenantState {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, repeated, tag = "2")]
    pub texts: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub label_sets: Vec<LabelSetState>,
    #[prost(message, repeated, tag = "4")]
    pub families: Vec<FamilyState>,
    #[prost(message, optional, tag = "5")]
    pub graph: Option<GraphState>,
    /// A tree of names, every node before those below it.
    #[prost(message, repeated, tag = "6")]
    pub names: Vec<DrainNodeState>,
    /// Calls that were counted with halves of other processes, which are to be told of them (`generator/elsewhere.rs`).
    #[prost(bytes = "vec", tag = "7")]
    pub counted: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DrainNodeState {
    #[prost(uint32, tag = "1")]
    pub token: u32,
    #[prost(uint32, tag = "2")]
    pub children: u32,
    #[prost(bool, tag = "3")]
    pub is_folded: bool,
}

/// Names and values in turns.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelSetState {
    #[prost(uint32, repeated, tag = "1")]
    pub texts: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FamilyState {
    #[prost(string, tag = "1")]
    pub name: String,
    /// Of a histogram with classic buckets.
    #[prost(double, repeated, tag = "2")]
    pub bounds: Vec<f64>,
    #[prost(message, repeated, tag = "3")]
    pub series: Vec<SeriesState>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SeriesState {
    #[prost(uint32, tag = "1")]
    pub label_set: u32,
    /// The number, or the sum of a histogram.
    #[prost(double, tag = "2")]
    pub value: f64,
    #[prost(double, repeated, tag = "3")]
    pub counts: Vec<f64>,
    #[prost(int64, tag = "4")]
    pub start_millis: i64,
    #[prost(int64, tag = "5")]
    pub updated_millis: i64,
    #[prost(bool, tag = "6")]
    pub is_new: bool,
    #[prost(message, optional, tag = "7")]
    pub native: Option<NativeState>,
}

/// Buckets of a native histogram, and what each has counted.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NativeState {
    #[prost(sint32, tag = "1")]
    pub schema: i32,
    #[prost(double, tag = "2")]
    pub zero_count: f64,
    #[prost(sint32, repeated, tag = "3")]
    pub buckets: Vec<i32>,
    #[prost(double, repeated, tag = "4")]
    pub counts: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphState {
    /// What values of dimensions of halves are of.
    #[prost(string, repeated, tag = "1")]
    pub dimensions: Vec<String>,
    /// In the order in which they began to wait.
    #[prost(message, repeated, tag = "2")]
    pub halves: Vec<HalfState>,
}

/// A half that waits. Texts that may be missing are numbered from 1.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HalfState {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    pub client_span_id: u64,
    #[prost(int32, tag = "3")]
    pub kind: i32,
    #[prost(uint32, tag = "4")]
    pub service: u32,
    #[prost(double, tag = "5")]
    pub seconds: f64,
    #[prost(fixed64, tag = "6")]
    pub handover_nanos: u64,
    #[prost(bool, tag = "7")]
    pub failed: bool,
    #[prost(double, tag = "8")]
    pub weight: f64,
    #[prost(uint32, tag = "9")]
    pub peer: u32,
    #[prost(uint32, tag = "10")]
    pub database: u32,
    #[prost(uint32, repeated, tag = "11")]
    pub dimensions: Vec<u32>,
    #[prost(bool, tag = "12")]
    pub was_paired: bool,
    #[prost(int64, tag = "13")]
    pub deadline_millis: i64,
}

/// Files of hashes, by number.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RecentState {
    #[prost(int64, tag = "1")]
    pub since_millis: i64,
    #[prost(uint64, repeated, tag = "2")]
    pub previous: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    pub current: Vec<u64>,
}

/// Numbers texts and sets of labels while a tenant is written.
#[derive(Default)]
pub(crate) struct Numbering {
    texts: HashMap<Arc<str>, u32>,
    in_order: Vec<String>,
    /// Sets by where they lie: those that are shared are the same.
    label_sets: HashMap<*const (Arc<str>, Arc<str>), u32>,
    sets_in_order: Vec<LabelSetState>,
}

impl Numbering {
    pub(crate) fn text(&mut self, text: &Arc<str>) -> u32 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = self.in_order.len() as u32;
        self.in_order.push(text.to_string());
        self.texts.insert(text.clone(), number);
        number
    }

    pub(crate) fn text_or_none(&mut self, text: Option<&Arc<str>>) -> u32 {
        text.map_or(0, |text| self.text(text) + 1)
    }

    pub(crate) fn label_set(&mut self, labels: &LabelSet) -> u32 {
        let place = labels.as_ptr();
        if let Some(number) = self.label_sets.get(&place) {
            return *number;
        }
        let texts = labels.iter().flat_map(|(name, value)| [self.text(name), self.text(value)]).collect();
        let number = self.sets_in_order.len() as u32;
        self.sets_in_order.push(LabelSetState { texts });
        self.label_sets.insert(place, number);
        number
    }

    pub(crate) fn finish(self) -> (Vec<String>, Vec<LabelSetState>) {
        (self.in_order, self.sets_in_order)
    }
}

/// Texts and sets of labels by number, while a tenant is read back. A number that is none gives nothing.
pub(crate) struct Numbered {
    texts: Vec<Arc<str>>,
    label_sets: Vec<LabelSet>,
}

impl Numbered {
    pub(crate) fn new(texts: Vec<String>, label_sets: &[LabelSetState]) -> Self {
        let texts: Vec<Arc<str>> = texts.into_iter().map(Arc::from).collect();
        let text = |number: u32| texts.get(number as usize).cloned().unwrap_or_default();
        let label_set =
            |set: &LabelSetState| set.texts.chunks_exact(2).map(|pair| (text(pair[0]), text(pair[1]))).collect();
        let label_sets = label_sets.iter().map(label_set).collect();
        Self { texts, label_sets }
    }

    pub(crate) fn text(&self, number: u32) -> Option<Arc<str>> {
        self.texts.get(number as usize).cloned()
    }

    pub(crate) fn text_or_none(&self, number: u32) -> Option<Arc<str>> {
        self.text(number.checked_sub(1)?)
    }

    pub(crate) fn label_set(&self, number: u32) -> Option<LabelSet> {
        self.label_sets.get(number as usize).cloned()
    }
}
