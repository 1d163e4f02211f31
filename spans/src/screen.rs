//! Taking traces out of a request, and cutting its long attributes, before it is stored.
//!
//! Works on the bytes: what stays is as it was, fields that nobody knows among them.

use model::TraceId;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::error::Error;
use crate::wire::{Reader, Value};

/// A trace of a request: its spans, and the bytes that they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceShare {
    pub id: TraceId,
    pub spans: usize,
    pub bytes: usize,
}

/// How many keys and values were cut, by where they stood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Truncated {
    pub resource: u64,
    pub scope: u64,
    pub span: u64,
    pub event: u64,
    pub link: u64,
}

/// What becomes of a field that holds bytes.
enum Change {
    Keep,
    LeaveOut,
    Replace(Vec<u8>),
}

/// The traces of a request that [`check`](crate::check) has passed, in the order in which they begin.
///
/// # Errors
/// [`Error::Malformed`] when the bytes are not such a message.
pub fn traces(request: &[u8]) -> Result<Vec<TraceShare>, Error> {
    let mut shares: Vec<TraceShare> = Vec::new();
    let mut places = hashbrown::HashMap::new();
    each_span(request, &mut |span| {
        let id = trace_id(span)?;
        let place = *places.entry(id).or_insert(shares.len());
        if place == shares.len() {
            shares.push(TraceShare { id, spans: 0, bytes: 0 });
        }
        shares[place].spans += 1;
        shares[place].bytes += span.len();
        Ok(())
    })?;
    Ok(shares)
}

/// The request without the spans of some traces.
///
/// # Errors
/// As [`traces`].
pub fn without_traces(request: &[u8], is_left_out: impl Fn(&TraceId) -> bool) -> Result<Vec<u8>, Error> {
    let of_scope = |number, span: &[u8]| {
        let leave_out = number == 2 && is_left_out(&trace_id(span)?);
        Ok(if leave_out { Change::LeaveOut } else { Change::Keep })
    };
    let of_resource = |number, scope_spans: &[u8]| match number {
        2 => Ok(Change::Replace(rewrite(scope_spans, of_scope)?)),
        _ => Ok(Change::Keep),
    };
    rewrite(request, |number, resource_spans| match number {
        1 => Ok(Change::Replace(rewrite(resource_spans, of_resource)?)),
        _ => Ok(Change::Keep),
    })
}

/// Cuts keys and texts of attributes to a length, between two characters; `None` when none is longer.
///
/// # Errors
/// As [`traces`].
pub fn truncate_attributes(request: &[u8], max_bytes: usize) -> Result<Option<(Vec<u8>, Truncated)>, Error> {
    let mut cutter = Cutter { max_bytes, truncated: Truncated::default() };
    let request = rewrite(request, |number, message| match number {
        1 => cutter.resource_spans(message),
        _ => Ok(Change::Keep),
    })?;
    Ok((cutter.truncated.total() > 0).then_some((request, cutter.truncated)))
}

impl Truncated {
    pub fn total(&self) -> u64 {
        self.resource + self.scope + self.span + self.event + self.link
    }
}

struct Cutter {
    max_bytes: usize,
    truncated: Truncated,
}

impl Cutter {
    fn resource_spans(&mut self, message: &[u8]) -> Result<Change, Error> {
        within(self.max_bytes, message, |number, part| match number {
            1 => self.attributes_of(1, part, |truncated| &mut truncated.resource),
            2 => self.scope_spans(part),
            _ => Ok(Change::Keep),
        })
    }

    fn scope_spans(&mut self, message: &[u8]) -> Result<Change, Error> {
        within(self.max_bytes, message, |number, part| match number {
            1 => self.attributes_of(3, part, |truncated| &mut truncated.scope),
            2 => self.span(part),
            _ => Ok(Change::Keep),
        })
    }

    fn span(&mut self, message: &[u8]) -> Result<Change, Error> {
        within(self.max_bytes, message, |number, part| match number {
            9 => self.attribute(part, |truncated| &mut truncated.span),
            11 => self.attributes_of(3, part, |truncated| &mut truncated.event),
            13 => self.attributes_of(4, part, |truncated| &mut truncated.link),
            _ => Ok(Change::Keep),
        })
    }

    /// Those of a message that has them in the field `field`.
    fn attributes_of(
        &mut self,
        field: u32,
        message: &[u8],
        count: impl Fn(&mut Truncated) -> &mut u64 + Copy,
    ) -> Result<Change, Error> {
        within(self.max_bytes, message, |number, part| match number == field {
            true => self.attribute(part, count),
            false => Ok(Change::Keep),
        })
    }

    /// A `KeyValue`: the key is field 1, and a text is field 1 of the value.
    fn attribute(&mut self, message: &[u8], count: impl Fn(&mut Truncated) -> &mut u64) -> Result<Change, Error> {
        let (max_bytes, mut cut) = (self.max_bytes, 0);
        let changed = within(max_bytes, message, |number, part| match number {
            1 => Ok(truncated(part, max_bytes, &mut cut)),
            2 => within(max_bytes, part, |number, text| {
                Ok(if number == 1 { truncated(text, max_bytes, &mut cut) } else { Change::Keep })
            }),
            _ => Ok(Change::Keep),
        });
        *count(&mut self.truncated) += cut;
        changed
    }
}

/// Changes a message, unless it is as short as a text may be: then there is none in it that is longer.
fn within(
    max_bytes: usize,
    message: &[u8],
    change: impl FnMut(u32, &[u8]) -> Result<Change, Error>,
) -> Result<Change, Error> {
    if message.len() <= max_bytes { Ok(Change::Keep) } else { Ok(Change::Replace(rewrite(message, change)?)) }
}

fn truncated(text: &[u8], max_bytes: usize, cut: &mut u64) -> Change {
    if text.len() <= max_bytes {
        return Change::Keep;
    }
    *cut += 1;
    let is_inside_character = |end: &usize| text[*end] & 0xc0 == 0x80;
    let end = (0..=max_bytes).rev().find(|end| !is_inside_character(end)).unwrap_or(0);
    Change::Replace(text[..end].to_vec())
}

/// Copies a message; fields that hold bytes are changed as `change` says.
fn rewrite(message: &[u8], mut change: impl FnMut(u32, &[u8]) -> Result<Change, Error>) -> Result<Vec<u8>, Error> {
    let mut rewritten = Vec::with_capacity(message.len());
    let mut reader = Reader::new(message);
    loop {
        let before = reader.rest();
        let Some((number, value)) = reader.next()? else { return Ok(rewritten) };
        let change = if let Value::Bytes(bytes) = value { change(number, bytes)? } else { Change::Keep };
        match change {
            Change::Keep => rewritten.extend_from_slice(&before[..before.len() - reader.rest().len()]),
            Change::LeaveOut => {}
            Change::Replace(bytes) => {
                encode_key(number, WireType::LengthDelimited, &mut rewritten);
                encode_varint(bytes.len() as u64, &mut rewritten);
                rewritten.extend_from_slice(&bytes);
            }
        }
    }
}

fn each_span(request: &[u8], visit: &mut impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    each(request, 1, &mut |resource_spans| {
        each(resource_spans, 2, &mut |scope_spans| each(scope_spans, 2, &mut *visit))
    })
}

/// Each value of a field that holds messages.
fn each(message: &[u8], field: u32, visit: &mut impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.next()? {
        if number == field {
            visit(value.bytes()?)?;
        }
    }
    Ok(())
}

fn trace_id(span: &[u8]) -> Result<TraceId, Error> {
    let mut id = &[][..];
    let mut reader = Reader::new(span);
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            id = value.bytes()?;
        }
    }
    let id = <[u8; 16]>::try_from(id).map_err(|_| Error::TraceIdLength { bits: id.len() * 8 })?;
    Ok(TraceId(id))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    use super::*;

    fn attribute(key: &str, text: &str) -> KeyValue {
        let value = Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) });
        KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
    }

    fn span(trace: u8, name: &str) -> Span {
        Span { trace_id: vec![trace; 16], span_id: vec![1; 8], name: name.to_owned(), ..Span::default() }
    }

    fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
    }

    #[test]
    fn traces_are_counted_and_taken_out_and_the_rest_is_as_it_was() {
        let bytes = request(vec![span(1, "a"), span(2, "b"), span(1, "c")]).encode_to_vec();
        let shares = traces(&bytes).unwrap();
        let of_one = span(1, "a").encoded_len();
        assert_eq!(
            shares.iter().map(|share| (share.id.0[0], share.spans, share.bytes)).collect::<Vec<_>>(),
            [(1, 2, 2 * of_one), (2, 1, of_one)]
        );
        let rest = without_traces(&bytes, |id| id.0[0] == 1).unwrap();
        assert_eq!(rest, request(vec![span(2, "b")]).encode_to_vec());
        assert_eq!(without_traces(&bytes, |_| false).unwrap(), bytes);
    }

    #[test]
    fn long_keys_and_texts_are_cut_wherever_they_stand() {
        let of = |length: usize| {
            let attributes = || vec![attribute("key", &"x".repeat(length)), attribute("short", "y")];
            let event = Event { attributes: attributes(), ..Event::default() };
            let link = Link { attributes: attributes(), ..Link::default() };
            let attributes_of_span = vec![attribute(&"k".repeat(length), &"é".repeat(length / 2))];
            let span = Span { attributes: attributes_of_span, events: vec![event], links: vec![link], ..span(1, "a") };
            let scope = Some(InstrumentationScope { attributes: attributes(), ..InstrumentationScope::default() });
            let resource = Some(Resource { attributes: attributes(), ..Resource::default() });
            let scope_spans = vec![ScopeSpans { scope, spans: vec![span], ..ScopeSpans::default() }];
            ExportTraceServiceRequest {
                resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
            }
        };
        let (cut, truncated) = truncate_attributes(&of(1_000).encode_to_vec(), 100).unwrap().unwrap();
        assert_eq!(ExportTraceServiceRequest::decode(cut.as_slice()).unwrap(), of(100));
        assert_eq!(truncated, Truncated { resource: 1, scope: 1, span: 2, event: 1, link: 1 });
        assert_eq!(truncate_attributes(&of(1_000).encode_to_vec(), 1_000).unwrap(), None);
        // between characters
        let text = |text: &str| request(vec![Span { attributes: vec![attribute("k", text)], ..span(1, "a") }]);
        let (cut, _) = truncate_attributes(&text("aéé").encode_to_vec(), 4).unwrap().unwrap();
        assert_eq!(ExportTraceServiceRequest::decode(cut.as_slice()).unwrap(), text("aé"));
    }
}
