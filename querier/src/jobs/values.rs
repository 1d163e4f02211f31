//! Ids, values and entries of answers in messages, and back. What comes from another process is looked at before it is used.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use model::{SpanId, TraceId};
use traceql::{Kind, Status};

use super::message::{self, JobAnswer};
use crate::answer::{FoundSpan, FoundTrace, QueryMetrics, ServiceStats, SpanSet, Value};
use crate::error::Error;
use crate::eval::Key;

const ID_BYTES: usize = 16;
/// Values in values, of an answer; the language makes lists of scalars.
const MOST_NESTED: usize = 4;

pub(crate) fn unreadable() -> Error {
    Error::damaged("of a message")
}

/// Ids one after another.
pub(crate) fn ids<'i>(ids: impl Iterator<Item = &'i TraceId>) -> Vec<u8> {
    ids.flat_map(|id| id.0).collect()
}

/// The inverse of [`ids`].
pub(crate) fn ids_of(bytes: &[u8]) -> Result<HashSet<TraceId>, Error> {
    let (ids, rest) = bytes.as_chunks::<ID_BYTES>();
    if rest.is_empty() { Ok(ids.iter().copied().map(TraceId).collect()) } else { Err(unreadable()) }
}

pub(crate) fn trace_id(bytes: &[u8]) -> Result<TraceId, Error> {
    bytes.try_into().map(TraceId).map_err(|_| unreadable())
}

impl JobAnswer {
    pub(crate) fn spent(&self) -> QueryMetrics {
        QueryMetrics {
            inspected_traces: self.inspected_traces,
            inspected_spans: self.inspected_spans,
            inspected_bytes: self.inspected_bytes,
            backend_reads: self.backend_reads,
            backend_bytes: self.backend_bytes,
            ..QueryMetrics::default()
        }
    }

    pub(crate) fn of(spent: &QueryMetrics, left_out: Vec<u32>) -> Self {
        Self {
            inspected_traces: spent.inspected_traces,
            inspected_spans: spent.inspected_spans,
            inspected_bytes: spent.inspected_bytes,
            backend_reads: spent.backend_reads,
            backend_bytes: spent.backend_bytes,
            left_out,
            ..Self::default()
        }
    }
}

impl From<Value> for message::Value {
    fn from(value: Value) -> Self {
        use message::value::Of;
        let of = match value {
            Value::String(text) => Of::Text(text),
            Value::Int(number) => Of::Int(number),
            Value::Double(number) => Of::Double(number),
            Value::Bool(value) => Of::Bool(value),
            Value::Array(values) => Of::Array(message::Values { values: values.into_iter().map(Self::from).collect() }),
        };
        Self { of: Some(of) }
    }
}

fn value(value: Option<message::Value>, nested: usize) -> Result<Value, Error> {
    use message::value::Of;
    Ok(match value.and_then(|value| value.of).ok_or_else(unreadable)? {
        Of::Text(text) => Value::String(text),
        Of::Int(number) => Value::Int(number),
        Of::Double(number) => Value::Double(number),
        Of::Bool(value) => Value::Bool(value),
        Of::Array(_) if nested == MOST_NESTED => return Err(unreadable()),
        Of::Array(message::Values { values }) => {
            let values = values.into_iter().map(|one| self::value(Some(one), nested + 1));
            Value::Array(values.collect::<Result<_, Error>>()?)
        }
    })
}

pub(crate) fn named(attributes: Vec<(String, Value)>) -> Vec<message::Named> {
    attributes.into_iter().map(|(name, value)| message::Named { name, value: Some(value.into()) }).collect()
}

/// The inverse of [`named`].
pub(crate) fn attributes(named: Vec<message::Named>) -> Result<Vec<(String, Value)>, Error> {
    named.into_iter().map(|named| Ok((named.name, value(named.value, 0)?))).collect()
}

impl From<Option<Key>> for message::Key {
    fn from(key: Option<Key>) -> Self {
        use message::key::Of;
        let of = |key| match key {
            Key::Text(text) => Of::Text(text),
            Key::Int(number) => Of::Int(number),
            Key::Float(bits) => Of::Float(bits),
            Key::Bool(value) => Of::Bool(value),
            Key::Duration(nanos) => Of::DurationNanos(nanos),
            Key::Status(status) => Of::Status(status.name().to_owned()),
            Key::Kind(kind) => Of::Kind(kind.name().to_owned()),
        };
        Self { of: key.map(of) }
    }
}

impl message::Key {
    pub(crate) fn key(self) -> Result<Option<Key>, Error> {
        use message::key::Of;
        let Some(of) = self.of else { return Ok(None) };
        let status = |name: &str| Status::ALL.into_iter().find(|status| status.name() == name);
        let kind = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
        Ok(Some(match of {
            Of::Text(text) => Key::Text(text),
            Of::Int(number) => Key::Int(number),
            Of::Float(bits) => Key::Float(bits),
            Of::Bool(value) => Key::Bool(value),
            Of::DurationNanos(nanos) => Key::Duration(nanos),
            Of::Status(name) => Key::Status(status(&name).ok_or_else(unreadable)?),
            Of::Kind(name) => Key::Kind(kind(&name).ok_or_else(unreadable)?),
        }))
    }
}

impl From<FoundTrace> for message::FoundTrace {
    fn from(trace: FoundTrace) -> Self {
        let service = |(name, stats): (String, ServiceStats)| message::Service {
            name,
            span_count: stats.span_count,
            error_count: stats.error_count,
        };
        let span = |span: FoundSpan| message::FoundSpan {
            span_id: span.span_id.0.to_vec(),
            name: span.name,
            start_nanos: span.start_nanos,
            duration_nanos: span.duration_nanos,
            attributes: named(span.attributes),
        };
        let span_set = |set: SpanSet| message::SpanSet {
            matched: set.matched,
            spans: set.spans.into_iter().map(span).collect(),
            attributes: named(set.attributes),
        };
        Self {
            trace_id: trace.trace_id.0.to_vec(),
            root_service: trace.root_service,
            root_name: trace.root_name,
            start_nanos: trace.start_nanos,
            duration_nanos: trace.duration_nanos,
            services: trace.services.into_iter().map(service).collect(),
            span_sets: trace.span_sets.into_iter().map(span_set).collect(),
        }
    }
}

impl message::FoundTrace {
    pub(crate) fn entry(self) -> Result<FoundTrace, Error> {
        let span = |span: message::FoundSpan| {
            Ok(FoundSpan {
                span_id: span.span_id.as_slice().try_into().map(SpanId).map_err(|_| unreadable())?,
                name: span.name,
                start_nanos: span.start_nanos,
                duration_nanos: span.duration_nanos,
                attributes: attributes(span.attributes)?,
            })
        };
        let span_set = |set: message::SpanSet| {
            Ok(SpanSet {
                matched: set.matched,
                spans: set.spans.into_iter().map(span).collect::<Result<_, Error>>()?,
                attributes: attributes(set.attributes)?,
            })
        };
        let service = |service: message::Service| {
            let stats = ServiceStats { span_count: service.span_count, error_count: service.error_count };
            (service.name, stats)
        };
        let services: BTreeMap<String, ServiceStats> = self.services.into_iter().map(service).collect();
        Ok(FoundTrace {
            trace_id: trace_id(&self.trace_id)?,
            root_service: self.root_service,
            root_name: self.root_name,
            start_nanos: self.start_nanos,
            duration_nanos: self.duration_nanos,
            services,
            span_sets: self.span_sets.into_iter().map(span_set).collect::<Result<_, Error>>()?,
        })
    }
}
