//! OTLP bytes → calls on a [`Sink`], in one walk and without an object per span or attribute.
//!
//! The same walk serves two sinks: [`check`] counts and refuses what cannot be stored, before the bytes reach the log;
//! [`TableBuilder`](crate::TableBuilder) stores. So what was checked can be stored.
//!
//! Field numbers are those of `opentelemetry/proto/trace/v1/trace.proto`. Unknown fields are skipped.

use model::TimeRange;

use crate::error::Error;
use crate::wire::{Reader, Value};

/// What one request holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestSummary {
    pub spans: usize,
    /// From the earliest start to the latest end; `None` without spans.
    pub time_range: Option<TimeRange>,
}

/// Walks a serialized `ExportTraceServiceRequest` (or `TracesData`) to its end and says what it holds.
///
/// # Errors
/// [`Error::Malformed`] when the bytes are not such a message; the id errors when an id has the wrong length or a trace
/// or span id is all zero. A request that passes here can be stored.
pub fn check(request: &[u8]) -> Result<RequestSummary, Error> {
    let mut counter = Counter::default();
    walk(request, &mut counter)?;
    Ok(counter.0)
}

/// One span without its lists.
#[derive(Default)]
pub(crate) struct SpanFields<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_span_id: &'a [u8],
    pub trace_state: &'a [u8],
    pub name: &'a [u8],
    pub kind: i32,
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub dropped_attributes_count: u32,
    pub dropped_events_count: u32,
    pub dropped_links_count: u32,
    pub status_code: i32,
    pub status_message: &'a [u8],
    pub flags: u32,
}

/// One event without its attributes.
#[derive(Default)]
pub(crate) struct EventFields<'a> {
    pub time_nanos: u64,
    pub name: &'a [u8],
    pub dropped_attributes_count: u32,
}

/// One link without its attributes.
#[derive(Default)]
pub(crate) struct LinkFields<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub trace_state: &'a [u8],
    pub flags: u32,
    pub dropped_attributes_count: u32,
}

/// A value as it stands on the wire. `Other` is a whole serialized `AnyValue`: array, key/value list or bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum AnyValue<'a> {
    Empty,
    String(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Other(&'a [u8]),
}

/// Receives a request piece by piece: lists of a thing come before the thing itself.
pub(crate) trait Sink {
    /// Whether it wants to see resources and scopes to which no span belongs.
    const TAKES_UNUSED: bool;

    /// What follows belongs to this resource: a serialized `Resource` and its schema URL.
    fn resource(&mut self, message: &[u8], schema_url: &[u8]) -> Result<(), Error>;
    /// What follows belongs to this scope: a serialized `InstrumentationScope` and its schema URL.
    fn scope(&mut self, message: &[u8], schema_url: &[u8]) -> Result<(), Error>;
    fn span_attribute(&mut self, key: &[u8], value: AnyValue<'_>);
    fn event_attribute(&mut self, key: &[u8], value: AnyValue<'_>);
    fn event(&mut self, event: &EventFields<'_>);
    fn link_attribute(&mut self, key: &[u8], value: AnyValue<'_>);
    fn link(&mut self, link: &LinkFields<'_>);
    fn span(&mut self, span: &SpanFields<'_>);
}

#[derive(Default)]
struct Counter(RequestSummary);

impl Sink for Counter {
    const TAKES_UNUSED: bool = true;

    fn resource(&mut self, message: &[u8], _: &[u8]) -> Result<(), Error> {
        walk_resource(message, |_, _| ()).map(|_| ())
    }
    fn scope(&mut self, message: &[u8], _: &[u8]) -> Result<(), Error> {
        walk_scope(message, |_, _| ()).map(|_| ())
    }
    fn span_attribute(&mut self, _: &[u8], _: AnyValue<'_>) {}
    fn event_attribute(&mut self, _: &[u8], _: AnyValue<'_>) {}
    fn event(&mut self, _: &EventFields<'_>) {}
    fn link_attribute(&mut self, _: &[u8], _: AnyValue<'_>) {}
    fn link(&mut self, _: &LinkFields<'_>) {}
    fn span(&mut self, span: &SpanFields<'_>) {
        self.0.spans += 1;
        let range = TimeRange::new(span.start_nanos, span.end_nanos.max(span.start_nanos));
        self.0.time_range = Some(self.0.time_range.map_or(range, |all| all.union(&range)));
    }
}

/// Feeds every span of a serialized request to `sink`.
pub(crate) fn walk(request: &[u8], sink: &mut impl Sink) -> Result<(), Error> {
    let mut reader = Reader::new(request);
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            walk_resource_spans(value.bytes()?, sink)?;
        }
    }
    Ok(())
}

fn walk_resource_spans<S: Sink>(message: &[u8], sink: &mut S) -> Result<(), Error> {
    if S::TAKES_UNUSED || has_item(message, |scope_spans| has_item(scope_spans, |_| Ok(true)))? {
        let (resource, schema_url) = head(message)?;
        sink.resource(&resource, schema_url)?;
    }
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        if number == 2 {
            walk_scope_spans(value.bytes()?, sink)?;
        }
    }
    Ok(())
}

fn walk_scope_spans<S: Sink>(message: &[u8], sink: &mut S) -> Result<(), Error> {
    if S::TAKES_UNUSED || has_item(message, |_| Ok(true))? {
        let (scope, schema_url) = head(message)?;
        sink.scope(&scope, schema_url)?;
    }
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        if number == 2 {
            walk_span(value.bytes()?, sink)?;
        }
    }
    Ok(())
}

/// Whether some field 2 (scope spans of a resource, spans of a scope) is as asked.
fn has_item(message: &[u8], is_it: impl Fn(&[u8]) -> Result<bool, Error>) -> Result<bool, Error> {
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        if number == 2 && is_it(value.bytes()?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Field 1 (resource or scope; a message that appears twice is merged by joining its bytes) and field 3 (schema URL),
/// which may stand anywhere among the repeated field 2.
fn head(message: &[u8]) -> Result<(std::borrow::Cow<'_, [u8]>, &[u8]), Error> {
    let (mut dimension, mut schema_url) = (std::borrow::Cow::Borrowed(&[][..]), &[][..]);
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 if dimension.is_empty() => dimension = value.bytes()?.into(),
            1 => dimension.to_mut().extend_from_slice(value.bytes()?),
            3 => schema_url = value.bytes()?,
            _ => {}
        }
    }
    Ok((dimension, schema_url))
}

fn walk_span(message: &[u8], sink: &mut impl Sink) -> Result<(), Error> {
    let mut span = SpanFields::default();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => span.trace_id = value.bytes()?,
            2 => span.span_id = value.bytes()?,
            3 => span.trace_state = value.bytes()?,
            4 => span.parent_span_id = value.bytes()?,
            5 => span.name = value.bytes()?,
            6 => span.kind = value.varint()? as i32,
            7 => span.start_nanos = value.fixed64()?,
            8 => span.end_nanos = value.fixed64()?,
            9 => walk_attribute(value.bytes()?, &mut |key, value| sink.span_attribute(key, value))?,
            10 => span.dropped_attributes_count = value.varint()? as u32,
            11 => walk_event(value.bytes()?, sink)?,
            12 => span.dropped_events_count = value.varint()? as u32,
            13 => walk_link(value.bytes()?, sink)?,
            14 => span.dropped_links_count = value.varint()? as u32,
            15 => walk_status(value.bytes()?, &mut span)?,
            16 => span.flags = value.fixed32()?,
            _ => {}
        }
    }
    check_ids(&span)?;
    sink.span(&span);
    Ok(())
}

fn check_ids(span: &SpanFields<'_>) -> Result<(), Error> {
    if span.trace_id.len() != 16 {
        return Err(Error::TraceIdLength { bits: span.trace_id.len() * 8 });
    }
    if span.trace_id.iter().all(|&byte| byte == 0) {
        return Err(Error::TraceIdZero);
    }
    if span.span_id.len() != 8 || span.span_id.iter().all(|&byte| byte == 0) {
        return Err(Error::SpanId { bits: span.span_id.len() * 8 });
    }
    match span.parent_span_id.len() {
        0 | 8 => Ok(()),
        bytes => Err(Error::ParentSpanId { bits: bytes * 8 }),
    }
}

fn walk_status<'a>(message: &'a [u8], span: &mut SpanFields<'a>) -> Result<(), Error> {
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            2 => span.status_message = value.bytes()?,
            3 => span.status_code = value.varint()? as i32,
            _ => {}
        }
    }
    Ok(())
}

fn walk_event(message: &[u8], sink: &mut impl Sink) -> Result<(), Error> {
    let mut event = EventFields::default();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => event.time_nanos = value.fixed64()?,
            2 => event.name = value.bytes()?,
            3 => walk_attribute(value.bytes()?, &mut |key, value| sink.event_attribute(key, value))?,
            4 => event.dropped_attributes_count = value.varint()? as u32,
            _ => {}
        }
    }
    sink.event(&event);
    Ok(())
}

fn walk_link(message: &[u8], sink: &mut impl Sink) -> Result<(), Error> {
    let mut link = LinkFields::default();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => link.trace_id = value.bytes()?,
            2 => link.span_id = value.bytes()?,
            3 => link.trace_state = value.bytes()?,
            4 => walk_attribute(value.bytes()?, &mut |key, value| sink.link_attribute(key, value))?,
            5 => link.dropped_attributes_count = value.varint()? as u32,
            6 => link.flags = value.fixed32()?,
            _ => {}
        }
    }
    sink.link(&link);
    Ok(())
}

/// What a `Resource` holds beside its attributes; `entity_refs` are its fields number 3, tags included.
#[derive(Default)]
pub(crate) struct ResourceFields {
    pub dropped_attributes_count: u32,
    pub entity_refs: Vec<u8>,
}

pub(crate) fn walk_resource(
    message: &[u8],
    mut attribute: impl FnMut(&[u8], AnyValue<'_>),
) -> Result<ResourceFields, Error> {
    let mut fields = ResourceFields::default();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => walk_attribute(value.bytes()?, &mut attribute)?,
            2 => fields.dropped_attributes_count = value.varint()? as u32,
            3 => {
                let bytes = value.bytes()?;
                prost::encoding::encode_key(3, prost::encoding::WireType::LengthDelimited, &mut fields.entity_refs);
                prost::encoding::encode_varint(bytes.len() as u64, &mut fields.entity_refs);
                fields.entity_refs.extend_from_slice(bytes);
            }
            _ => {}
        }
    }
    Ok(fields)
}

/// What an `InstrumentationScope` holds beside its attributes.
#[derive(Default)]
pub(crate) struct ScopeFields<'a> {
    pub name: &'a [u8],
    pub version: &'a [u8],
    pub dropped_attributes_count: u32,
}

pub(crate) fn walk_scope<'a>(
    message: &'a [u8],
    mut attribute: impl FnMut(&[u8], AnyValue<'_>),
) -> Result<ScopeFields<'a>, Error> {
    let mut fields = ScopeFields::default();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => fields.name = value.bytes()?,
            2 => fields.version = value.bytes()?,
            3 => walk_attribute(value.bytes()?, &mut attribute)?,
            4 => fields.dropped_attributes_count = value.varint()? as u32,
            _ => {}
        }
    }
    Ok(fields)
}

#[inline]
fn walk_attribute(message: &[u8], attribute: &mut impl FnMut(&[u8], AnyValue<'_>)) -> Result<(), Error> {
    let (mut key, mut any_value) = (&[][..], AnyValue::Empty);
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => key = value.bytes()?,
            2 => any_value = parse_any_value(value.bytes()?)?,
            _ => {}
        }
    }
    attribute(key, any_value);
    Ok(())
}

/// How deep arrays and key/value lists may lie in each other; below prost's bound of 100 messages, three of which make a level, so that every value that
/// was accepted can be decoded again.
const MAX_VALUE_DEPTH: usize = 32;

#[inline]
pub(crate) fn parse_any_value(message: &[u8]) -> Result<AnyValue<'_>, Error> {
    let mut any_value = AnyValue::Empty;
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        any_value = match number {
            1 => AnyValue::String(value.bytes()?),
            2 => AnyValue::Bool(value.varint()? != 0),
            3 => AnyValue::Int(value.varint()? as i64),
            4 => AnyValue::Double(f64::from_bits(value.fixed64()?)),
            5 | 6 => {
                check_nested(value, number, MAX_VALUE_DEPTH)?;
                AnyValue::Other(message)
            }
            7 => {
                value.bytes()?;
                AnyValue::Other(message)
            }
            _ => any_value,
        };
    }
    Ok(any_value)
}

/// Checks an `ArrayValue` (number 5) or `KeyValueList` (number 6) to its leaves.
fn check_nested(value: Value<'_>, number: u32, depth: usize) -> Result<(), Error> {
    if depth == 0 {
        return Err(Error::malformed("attribute value nested too deeply"));
    }
    let mut items = Reader::new(value.bytes()?);
    while let Some((field, item)) = items.next()? {
        if field != 1 {
            continue;
        }
        if number == 5 {
            check_any_value(item.bytes()?, depth)?;
            continue;
        }
        let mut pair = Reader::new(item.bytes()?);
        while let Some((field, part)) = pair.next()? {
            match field {
                1 => {
                    part.bytes()?;
                }
                2 => check_any_value(part.bytes()?, depth)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn check_any_value(message: &[u8], depth: usize) -> Result<(), Error> {
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 | 7 => {
                value.bytes()?;
            }
            2 | 3 => {
                value.varint()?;
            }
            4 => {
                value.fixed64()?;
            }
            5 | 6 => check_nested(value, number, depth - 1)?,
            _ => {}
        }
    }
    Ok(())
}
