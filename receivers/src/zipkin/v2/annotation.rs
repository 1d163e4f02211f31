//! Attributes in a text: how the OpenTelemetry Collector writes events and links for Zipkin, which has neither.
//!
//! `name|{"key": "value"}|dropped attributes`, where the middle may have `|` in it.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

use crate::attributes::{attribute, text_attribute};
use crate::id::{span_id_of_hex, trace_id_of_hex};
use crate::time::nanos_of_micros;

/// An annotation that somebody else wrote has its text as its name.
pub(super) fn event(micros: i64, text: &str) -> Event {
    let event = Event { time_unix_nano: nanos_of_micros(micros), ..Event::default() };
    let packed = text.split_once('|').and_then(|(name, rest)| Some((name, attributes(rest)?)));
    match packed {
        Some((name, (attributes, dropped_attributes_count))) => {
            Event { name: name.to_owned(), attributes, dropped_attributes_count, ..event }
        }
        None => Event { name: text.to_owned(), ..event },
    }
}

/// `trace id|span id|trace state|{…}|dropped`; `None` if it is no link.
pub(super) fn link(text: &str) -> Option<Link> {
    let mut parts = text.splitn(4, '|');
    let (trace_id, span_id) = (trace_id_of_hex(parts.next()?).ok()?, span_id_of_hex(parts.next()?).ok()?);
    let trace_state = parts.next()?.to_owned();
    let (attributes, dropped_attributes_count) = attributes(parts.next()?)?;
    Some(Link {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        trace_state,
        attributes,
        dropped_attributes_count,
        ..Link::default()
    })
}

/// `{…}|dropped`
fn attributes(text: &str) -> Option<(Vec<KeyValue>, u32)> {
    let (json, dropped) = text.rsplit_once('|')?;
    let attributes: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    let attributes = attributes.into_iter().map(|(key, value)| match value {
        serde_json::Value::String(text) => text_attribute(key, text),
        serde_json::Value::Bool(value) => attribute(key, Value::BoolValue(value)),
        serde_json::Value::Number(number) => attribute(key, number_value(&number)),
        other => text_attribute(key, other.to_string()),
    });
    Some((attributes.collect(), dropped.parse().ok()?))
}

fn number_value(number: &serde_json::Number) -> Value {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => Value::IntValue(whole),
        (None, number) => Value::DoubleValue(number.unwrap_or_default()),
    }
}
