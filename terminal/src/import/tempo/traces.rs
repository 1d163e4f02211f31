//! Rows of a block → resource spans. Columns are found by name, so that one reading serves vParquet3, 4 and 5.

use arrow::array::{Array, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, UInt64Array};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use storage::tempo::{DedicatedScope, Format, TempoBlockMeta};

use super::attributes::Attributes;
use super::columns::{Group, Lists};
use crate::args::Times;

/// Columns that Tempo computes from the others.
const COMPUTED: [&str; 11] = [
    "TraceIDText",
    "ServiceStats",
    "RootServiceName",
    "RootSpanName",
    "NestedSetLeft",
    "NestedSetRight",
    "ParentID",
    "ChildCount",
    "SpanCount",
    "ErrorCount",
    "IsRoot",
];

/// Whether a leaf of the schema says what the others do not.
pub(super) fn is_read(path: &str) -> bool {
    let mut names = path.split('.');
    !names.any(|name| COMPUTED.contains(&name) || name.starts_with("StartTimeRounded"))
}

/// The spans of the traces that overlap the range.
///
/// # Errors
/// A text that names the column that is not as Tempo writes it.
pub(super) fn read(
    batch: &RecordBatch,
    meta: &TempoBlockMeta,
    times: Option<Times>,
) -> Result<Vec<ResourceSpans>, String> {
    let rows = StructArray::from(batch.clone());
    let traces = Traces::of(Group(&rows), meta)?;
    let wanted = (0..rows.len()).filter(|&row| times.is_none_or(|times| traces.overlaps(row, times)));
    Ok(wanted.flat_map(|row| traces.at(row)).collect())
}

struct Traces<'a> {
    ids: &'a BinaryArray,
    starts: &'a UInt64Array,
    ends: &'a UInt64Array,
    resources: Lists<'a, Resources<'a>>,
}

impl<'a> Traces<'a> {
    fn of(group: Group<'a>, meta: &'a TempoBlockMeta) -> Result<Self, String> {
        Ok(Self {
            ids: group.one("TraceID")?,
            starts: group.one("StartTimeUnixNano")?,
            ends: group.one("EndTimeUnixNano")?,
            resources: group.groups("rs")?.try_map(|group| Resources::of(group, meta))?,
        })
    }

    fn overlaps(&self, row: usize, times: Times) -> bool {
        self.starts.value(row) < times.end_nanos && self.ends.value(row) >= times.start_nanos
    }

    fn at(&self, row: usize) -> impl Iterator<Item = ResourceSpans> {
        self.resources.at(row).map(move |resource| self.resources.items.at(resource, self.ids.value(row)))
    }
}

struct Resources<'a> {
    attributes: Attributes<'a>,
    scopes: Lists<'a, Scopes<'a>>,
}

impl<'a> Resources<'a> {
    fn of(group: Group<'a>, meta: &'a TempoBlockMeta) -> Result<Self, String> {
        Ok(Self {
            attributes: Attributes::of(group.group("Resource")?, DedicatedScope::Resource, &meta.dedicated_columns)?,
            scopes: group.groups("ss")?.try_map(|group| Scopes::of(group, meta))?,
        })
    }

    fn at(&self, row: usize, trace_id: &[u8]) -> ResourceSpans {
        let resource = Resource {
            attributes: self.attributes.at(row),
            dropped_attributes_count: self.attributes.dropped_at(row),
            entity_refs: Vec::new(),
        };
        ResourceSpans {
            resource: Some(resource),
            scope_spans: self.scopes.at(row).map(|scope| self.scopes.items.at(scope, trace_id)).collect(),
            schema_url: String::new(),
        }
    }
}

struct Scopes<'a> {
    names: &'a StringArray,
    versions: &'a StringArray,
    /// Since vParquet4.
    attributes: Option<Attributes<'a>>,
    spans: Lists<'a, Spans<'a>>,
}

impl<'a> Scopes<'a> {
    fn of(group: Group<'a>, meta: &'a TempoBlockMeta) -> Result<Self, String> {
        let scope = group.group("Scope")?;
        Ok(Self {
            names: scope.one("Name")?,
            versions: scope.one("Version")?,
            attributes: if scope.has("Attrs") { Some(Attributes::listed(scope)?) } else { None },
            spans: group.groups("Spans")?.try_map(|group| Spans::of(group, meta))?,
        })
    }

    fn at(&self, row: usize, trace_id: &[u8]) -> ScopeSpans {
        let attributes = self.attributes.as_ref();
        let scope = InstrumentationScope {
            name: self.names.value(row).to_owned(),
            version: self.versions.value(row).to_owned(),
            attributes: attributes.map(|attributes| attributes.at(row)).unwrap_or_default(),
            dropped_attributes_count: attributes.map(|attributes| attributes.dropped_at(row)).unwrap_or_default(),
        };
        ScopeSpans {
            scope: Some(scope),
            spans: self.spans.at(row).map(|span| self.spans.items.at(span, trace_id)).collect(),
            schema_url: String::new(),
        }
    }
}

struct Spans<'a> {
    ids: &'a BinaryArray,
    parent_ids: &'a BinaryArray,
    names: &'a StringArray,
    kinds: &'a Int64Array,
    trace_states: &'a StringArray,
    starts: &'a UInt64Array,
    durations: &'a UInt64Array,
    status_codes: &'a Int64Array,
    status_messages: &'a StringArray,
    attributes: Attributes<'a>,
    events: Lists<'a, Events<'a>>,
    dropped_events: &'a Int32Array,
    links: SpanLinks<'a>,
    dropped_links: &'a Int32Array,
}

impl<'a> Spans<'a> {
    fn of(group: Group<'a>, meta: &'a TempoBlockMeta) -> Result<Self, String> {
        Ok(Self {
            ids: group.one("SpanID")?,
            parent_ids: group.one("ParentSpanID")?,
            names: group.one("Name")?,
            kinds: group.one("Kind")?,
            trace_states: group.one("TraceState")?,
            starts: group.one("StartTimeUnixNano")?,
            durations: group.one("DurationNano")?,
            status_codes: group.one("StatusCode")?,
            status_messages: group.one("StatusMessage")?,
            attributes: Attributes::of(group, DedicatedScope::Span, &meta.dedicated_columns)?,
            events: group.groups("Events")?.try_map(|group| Events::of(group, meta))?,
            dropped_events: group.one("DroppedEventsCount")?,
            links: SpanLinks::of(group, meta.format)?,
            dropped_links: group.one("DroppedLinksCount")?,
        })
    }

    fn at(&self, row: usize, trace_id: &[u8]) -> Span {
        let start_time_unix_nano = self.starts.value(row);
        let (message, code) = (self.status_messages.value(row).to_owned(), small(self.status_codes.value(row)));
        Span {
            trace_id: trace_id.to_owned(),
            span_id: self.ids.value(row).to_owned(),
            parent_span_id: self.parent_ids.value(row).to_owned(),
            trace_state: self.trace_states.value(row).to_owned(),
            name: self.names.value(row).to_owned(),
            kind: small(self.kinds.value(row)),
            start_time_unix_nano,
            // of a span that ends before it starts, Tempo wrote the difference modulo 2^64
            end_time_unix_nano: start_time_unix_nano.wrapping_add(self.durations.value(row)),
            attributes: self.attributes.at(row),
            dropped_attributes_count: self.attributes.dropped_at(row),
            events: self.events.at(row).map(|event| self.events.items.at(event, start_time_unix_nano)).collect(),
            dropped_events_count: count(self.dropped_events.value(row)),
            links: self.links.at(row),
            dropped_links_count: count(self.dropped_links.value(row)),
            status: Some(Status { message, code }).filter(|status| *status != Status::default()),
            // Tempo stores none
            flags: 0,
        }
    }
}

/// An enum of OTLP; no number that fits into none is written.
fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or_default()
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

struct Events<'a> {
    times: EventTimes<'a>,
    names: &'a StringArray,
    attributes: Attributes<'a>,
}

enum EventTimes<'a> {
    SinceStart(&'a UInt64Array),
    /// Of vParquet3.
    Unix(&'a UInt64Array),
}

impl<'a> Events<'a> {
    fn of(group: Group<'a>, meta: &'a TempoBlockMeta) -> Result<Self, String> {
        let times = match meta.format {
            Format::VParquet3 => EventTimes::Unix(group.one("TimeUnixNano")?),
            Format::VParquet4 | Format::VParquet5 => EventTimes::SinceStart(group.one("TimeSinceStartNano")?),
        };
        let attributes = Attributes::of(group, DedicatedScope::Event, &meta.dedicated_columns)?;
        Ok(Self { times, names: group.one("Name")?, attributes })
    }

    fn at(&self, row: usize, span_start: u64) -> Event {
        Event {
            time_unix_nano: match self.times {
                EventTimes::SinceStart(times) => span_start.wrapping_add(times.value(row)),
                EventTimes::Unix(times) => times.value(row),
            },
            name: self.names.value(row).to_owned(),
            attributes: self.attributes.at(row),
            dropped_attributes_count: self.attributes.dropped_at(row),
        }
    }
}

enum SpanLinks<'a> {
    Columns(Lists<'a, Links<'a>>),
    /// All links of a span in one message: of vParquet3.
    Messages(&'a BinaryArray),
}

struct Links<'a> {
    trace_ids: &'a BinaryArray,
    span_ids: &'a BinaryArray,
    trace_states: &'a StringArray,
    attributes: Attributes<'a>,
}

/// What vParquet3 has links in.
#[derive(Clone, PartialEq, Message)]
struct LinkList {
    #[prost(message, repeated, tag = "1")]
    links: Vec<Link>,
}

impl<'a> SpanLinks<'a> {
    fn of(span: Group<'a>, format: Format) -> Result<Self, String> {
        Ok(match format {
            Format::VParquet3 => Self::Messages(span.one("Links")?),
            Format::VParquet4 | Format::VParquet5 => Self::Columns(span.groups("Links")?.try_map(Links::of)?),
        })
    }

    fn at(&self, span: usize) -> Vec<Link> {
        match self {
            Self::Columns(links) => links.at(span).map(|link| links.items.at(link)).collect(),
            Self::Messages(messages) => LinkList::decode(messages.value(span)).unwrap_or_default().links,
        }
    }
}

impl<'a> Links<'a> {
    fn of(group: Group<'a>) -> Result<Self, String> {
        Ok(Self {
            trace_ids: group.one("TraceID")?,
            span_ids: group.one("SpanID")?,
            trace_states: group.one("TraceState")?,
            attributes: Attributes::listed(group)?,
        })
    }

    fn at(&self, row: usize) -> Link {
        Link {
            trace_id: self.trace_ids.value(row).to_owned(),
            span_id: self.span_ids.value(row).to_owned(),
            trace_state: self.trace_states.value(row).to_owned(),
            attributes: self.attributes.at(row),
            dropped_attributes_count: self.attributes.dropped_at(row),
            flags: 0,
        }
    }
}
