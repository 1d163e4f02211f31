//! Jobs and what they give, as they are sent. Fields may be added; what an older program would answer wrongly is another
//! [`JOB_VERSION`](super::JOB_VERSION).

use prost::{Message, Oneof};

/// Look at these blocks.
#[derive(Clone, PartialEq, Message)]
pub struct Job {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(message, repeated, tag = "2")]
    pub blocks: Vec<BlockToRead>,
    /// One of these is there.
    #[prost(message, optional, tag = "3")]
    pub search: Option<SearchJob>,
    #[prost(message, optional, tag = "4")]
    pub metrics: Option<MetricsJob>,
}

/// A block, with all that is needed to read it.
#[derive(Clone, PartialEq, Message)]
pub struct BlockToRead {
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// As it stands in the manifest of whoever asks.
    #[prost(bytes = "vec", tag = "2")]
    pub entry: Vec<u8>,
    /// Ids of traces that were deleted, 16 bytes each.
    #[prost(bytes = "vec", tag = "3")]
    pub deleted: Vec<u8>,
    /// Ids of traces that whoever asks looks at, because others have parts of them, too; 16 bytes each.
    #[prost(bytes = "vec", tag = "4")]
    pub without: Vec<u8>,
}

/// The newest matches, with what is shown of them.
#[derive(Clone, PartialEq, Message)]
pub struct SearchJob {
    /// TraceQL, unless it is a search by tags.
    #[prost(string, tag = "1")]
    pub query: String,
    #[prost(message, optional, tag = "2")]
    pub tags: Option<TagFilters>,
    #[prost(uint64, tag = "3")]
    pub start_nanos: u64,
    #[prost(uint64, tag = "4")]
    pub end_nanos: u64,
    /// Most matches that are needed.
    #[prost(uint64, tag = "5")]
    pub keep: u64,
    /// Matches that start before are not needed.
    #[prost(uint64, tag = "6")]
    pub not_before_nanos: u64,
    #[prost(uint64, tag = "7")]
    pub spans_per_span_set: u64,
    #[prost(message, optional, tag = "8")]
    pub after: Option<Place>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TagFilters {
    #[prost(message, repeated, tag = "1")]
    pub tags: Vec<TagFilter>,
    #[prost(uint64, optional, tag = "2")]
    pub min_duration_nanos: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub max_duration_nanos: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TagFilter {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Of a trace among all.
#[derive(Clone, PartialEq, Message)]
pub struct Place {
    #[prost(uint64, tag = "1")]
    pub start_nanos: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub trace_id: Vec<u8>,
}

/// Numbers by series and interval.
#[derive(Clone, PartialEq, Message)]
pub struct MetricsJob {
    #[prost(string, tag = "1")]
    pub query: String,
    #[prost(uint64, tag = "2")]
    pub first_end_nanos: u64,
    #[prost(uint64, tag = "3")]
    pub step_nanos: u64,
    #[prost(uint64, tag = "4")]
    pub intervals: u64,
    #[prost(uint64, tag = "5")]
    pub max_exemplars: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct JobAnswer {
    #[prost(uint64, tag = "1")]
    pub inspected_traces: u64,
    #[prost(uint64, tag = "2")]
    pub inspected_spans: u64,
    #[prost(uint64, tag = "3")]
    pub inspected_bytes: u64,
    #[prost(uint64, tag = "4")]
    pub backend_reads: u64,
    #[prost(uint64, tag = "5")]
    pub backend_bytes: u64,
    /// Blocks, by their place in the job, of which something could not be read.
    #[prost(uint32, repeated, tag = "6")]
    pub left_out: Vec<u32>,
    #[prost(message, repeated, tag = "7")]
    pub found: Vec<Found>,
    #[prost(message, repeated, tag = "8")]
    pub measured: Vec<Measured>,
}

/// A match of a search.
#[derive(Clone, PartialEq, Message)]
pub struct Found {
    /// Its block, by its place in the job.
    #[prost(uint32, tag = "1")]
    pub block: u32,
    #[prost(uint32, tag = "2")]
    pub group: u32,
    /// Row of the group's `traces`.
    #[prost(uint32, tag = "3")]
    pub trace: u32,
    #[prost(message, optional, tag = "4")]
    pub entry: Option<FoundTrace>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FoundTrace {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(string, optional, tag = "2")]
    pub root_service: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub root_name: Option<String>,
    #[prost(uint64, tag = "4")]
    pub start_nanos: u64,
    #[prost(uint64, tag = "5")]
    pub duration_nanos: u64,
    #[prost(message, repeated, tag = "6")]
    pub services: Vec<Service>,
    #[prost(message, repeated, tag = "7")]
    pub span_sets: Vec<SpanSet>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Service {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub span_count: u32,
    #[prost(uint32, tag = "3")]
    pub error_count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct SpanSet {
    #[prost(uint32, tag = "1")]
    pub matched: u32,
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<FoundSpan>,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FoundSpan {
    #[prost(bytes = "vec", tag = "1")]
    pub span_id: Vec<u8>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(uint64, tag = "3")]
    pub start_nanos: u64,
    #[prost(uint64, tag = "4")]
    pub duration_nanos: u64,
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Named>,
}

/// A value under a name.
#[derive(Clone, PartialEq, Message)]
pub struct Named {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(oneof = "value::Of", tags = "1, 2, 3, 4, 5")]
    pub of: Option<value::Of>,
}

pub mod value {
    #[derive(Clone, PartialEq, super::Oneof)]
    pub enum Of {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(sint64, tag = "2")]
        Int(i64),
        #[prost(double, tag = "3")]
        Double(f64),
        #[prost(bool, tag = "4")]
        Bool(bool),
        #[prost(message, tag = "5")]
        Array(super::Values),
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Values {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// What one block gave, or all of a job together where the order of blocks tells nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Measured {
    /// By its place in the job.
    #[prost(uint32, tag = "1")]
    pub block: u32,
    /// Of the query's intervals the one that is the first here.
    #[prost(uint64, tag = "2")]
    pub first_interval: u64,
    #[prost(message, optional, tag = "3")]
    pub series: Option<PartialSeries>,
    #[prost(message, optional, tag = "4")]
    pub comparison: Option<PartialComparison>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartialSeries {
    #[prost(uint64, tag = "1")]
    pub intervals: u64,
    /// The first of the intervals of which there are numbers, and the one behind the last.
    #[prost(uint64, tag = "2")]
    pub held_start: u64,
    #[prost(uint64, tag = "3")]
    pub held_end: u64,
    #[prost(message, repeated, tag = "4")]
    pub keys: Vec<SeriesKey>,
    /// By series, then by interval.
    #[prost(double, repeated, tag = "5")]
    pub cells: Vec<f64>,
    /// Of an average: how many values each cell has.
    #[prost(double, repeated, tag = "6")]
    pub counts: Vec<f64>,
    /// By series; none behind the last that has any.
    #[prost(message, repeated, tag = "7")]
    pub exemplars: Vec<Candidates>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SeriesKey {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Key>,
    #[prost(uint32, optional, tag = "2")]
    pub bucket: Option<u32>,
}

/// A label; without a value where there is none.
#[derive(Clone, PartialEq, Message)]
pub struct Key {
    #[prost(oneof = "key::Of", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub of: Option<key::Of>,
}

pub mod key {
    #[derive(Clone, PartialEq, super::Oneof)]
    pub enum Of {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(sint64, tag = "2")]
        Int(i64),
        /// The bits of a float.
        #[prost(fixed64, tag = "3")]
        Float(u64),
        #[prost(bool, tag = "4")]
        Bool(bool),
        #[prost(sint64, tag = "5")]
        DurationNanos(i64),
        /// By its name in the language.
        #[prost(string, tag = "6")]
        Status(String),
        #[prost(string, tag = "7")]
        Kind(String),
    }
}

/// Spans of a series that may become exemplars.
#[derive(Clone, PartialEq, Message)]
pub struct Candidates {
    #[prost(message, repeated, tag = "1")]
    pub candidates: Vec<Candidate>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Candidate {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub start_nanos: u64,
    #[prost(uint32, tag = "3")]
    pub interval: u32,
    #[prost(double, tag = "4")]
    pub value: f64,
    #[prost(message, repeated, tag = "5")]
    pub labels: Vec<Named>,
    /// Where its trace lies, if nothing else is known of the span.
    #[prost(message, optional, tag = "6")]
    pub unread: Option<TraceInBlock>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TraceInBlock {
    #[prost(bytes = "vec", tag = "1")]
    pub block_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub group: u32,
    /// Row of the group's traces.
    #[prost(uint32, tag = "3")]
    pub trace: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartialComparison {
    #[prost(message, repeated, tag = "1")]
    pub fields: Vec<ComparedField>,
    /// By side.
    #[prost(message, repeated, tag = "2")]
    pub exemplars: Vec<Candidates>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ComparedField {
    /// Empty for an intrinsic.
    #[prost(string, tag = "1")]
    pub scope: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, optional, tag = "3")]
    pub totals: Option<SlotCounts>,
    #[prost(bool, tag = "4")]
    pub has_too_many_values: bool,
    #[prost(message, repeated, tag = "5")]
    pub values: Vec<ComparedValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ComparedValue {
    #[prost(message, optional, tag = "1")]
    pub key: Option<Key>,
    #[prost(message, optional, tag = "2")]
    pub counts: Option<SlotCounts>,
}

/// Spans by slot, ascending.
#[derive(Clone, PartialEq, Message)]
pub struct SlotCounts {
    #[prost(uint32, repeated, tag = "1")]
    pub slots: Vec<u32>,
    #[prost(double, repeated, tag = "2")]
    pub spans: Vec<f64>,
}
