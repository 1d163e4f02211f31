//! OTLP/JSON → OTLP protobuf. Lenient where exporters differ: hex ids of any case, enums by number or name, 64-bit
//! integers as text or number, unknown fields, `null`, snake_case names, damaged text. A wrong type is an error that names the field.

mod fields;
pub(crate) mod text;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use serde_json::Value;

use self::fields::{FieldError, Object};

/// Why a text is not OTLP/JSON.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("invalid JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("invalid OTLP: {0}")]
    Field(#[from] FieldError),
}

/// A serialized `ExportTraceServiceRequest`. Whether ids make sense is not looked at.
pub(crate) fn to_protobuf(text: &[u8]) -> Result<Bytes, Error> {
    let value: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(_) => serde_json::from_slice(&text::mended(text))?,
    };
    let resource_spans = Object::of(&value)?.list("resourceSpans", resource_spans)?;
    Ok(Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec()))
}

fn resource_spans(value: &Value) -> Result<ResourceSpans, FieldError> {
    let object = Object::of(value)?;
    Ok(ResourceSpans {
        resource: object.message("resource", resource)?,
        scope_spans: object.list("scopeSpans", scope_spans)?,
        schema_url: object.string("schemaUrl")?,
    })
}

fn resource(value: &Value) -> Result<Resource, FieldError> {
    let object = Object::of(value)?;
    Ok(Resource {
        attributes: object.list("attributes", key_value)?,
        dropped_attributes_count: object.integer("droppedAttributesCount")?,
        entity_refs: Vec::new(),
    })
}

fn scope_spans(value: &Value) -> Result<ScopeSpans, FieldError> {
    let object = Object::of(value)?;
    Ok(ScopeSpans {
        scope: object.message("scope", scope)?,
        spans: object.list("spans", span)?,
        schema_url: object.string("schemaUrl")?,
    })
}

fn scope(value: &Value) -> Result<InstrumentationScope, FieldError> {
    let object = Object::of(value)?;
    Ok(InstrumentationScope {
        name: object.string("name")?,
        version: object.string("version")?,
        attributes: object.list("attributes", key_value)?,
        dropped_attributes_count: object.integer("droppedAttributesCount")?,
    })
}

fn span(value: &Value) -> Result<Span, FieldError> {
    let object = Object::of(value)?;
    Ok(Span {
        trace_id: object.hex("traceId")?,
        span_id: object.hex("spanId")?,
        trace_state: object.string("traceState")?,
        parent_span_id: object.hex("parentSpanId")?,
        flags: object.integer("flags")?,
        name: object.string("name")?,
        kind: object.enumeration("kind", |name| SpanKind::from_str_name(name).map(i32::from))?,
        start_time_unix_nano: object.integer("startTimeUnixNano")?,
        end_time_unix_nano: object.integer("endTimeUnixNano")?,
        attributes: object.list("attributes", key_value)?,
        dropped_attributes_count: object.integer("droppedAttributesCount")?,
        events: object.list("events", event)?,
        dropped_events_count: object.integer("droppedEventsCount")?,
        links: object.list("links", link)?,
        dropped_links_count: object.integer("droppedLinksCount")?,
        status: object.message("status", status)?,
    })
}

fn event(value: &Value) -> Result<Event, FieldError> {
    let object = Object::of(value)?;
    Ok(Event {
        time_unix_nano: object.integer("timeUnixNano")?,
        name: object.string("name")?,
        attributes: object.list("attributes", key_value)?,
        dropped_attributes_count: object.integer("droppedAttributesCount")?,
    })
}

fn link(value: &Value) -> Result<Link, FieldError> {
    let object = Object::of(value)?;
    Ok(Link {
        trace_id: object.hex("traceId")?,
        span_id: object.hex("spanId")?,
        trace_state: object.string("traceState")?,
        attributes: object.list("attributes", key_value)?,
        dropped_attributes_count: object.integer("droppedAttributesCount")?,
        flags: object.integer("flags")?,
    })
}

fn status(value: &Value) -> Result<Status, FieldError> {
    let object = Object::of(value)?;
    Ok(Status {
        message: object.string("message")?,
        code: object.enumeration("code", |name| StatusCode::from_str_name(name).map(i32::from))?,
    })
}

fn key_value(value: &Value) -> Result<KeyValue, FieldError> {
    let object = Object::of(value)?;
    Ok(KeyValue { key: object.string("key")?, value: object.message("value", any_value)?, ..KeyValue::default() })
}

/// The first member that is there; `{}` is a value of no type.
fn any_value(value: &Value) -> Result<AnyValue, FieldError> {
    let object = Object::of(value)?;
    let value = if object.has("stringValue") {
        Some(Any::StringValue(object.string("stringValue")?))
    } else if object.has("boolValue") {
        Some(Any::BoolValue(object.boolean("boolValue")?))
    } else if object.has("intValue") {
        Some(Any::IntValue(object.integer("intValue")?))
    } else if object.has("doubleValue") {
        Some(Any::DoubleValue(object.double("doubleValue")?))
    } else if object.has("bytesValue") {
        Some(Any::BytesValue(object.base64("bytesValue")?))
    } else if let Some(array) = object.message("arrayValue", array_value)? {
        Some(Any::ArrayValue(array))
    } else {
        object.message("kvlistValue", kvlist_value)?.map(Any::KvlistValue)
    };
    Ok(AnyValue { value })
}

fn array_value(value: &Value) -> Result<ArrayValue, FieldError> {
    Ok(ArrayValue { values: Object::of(value)?.list("values", any_value)? })
}

fn kvlist_value(value: &Value) -> Result<KeyValueList, FieldError> {
    Ok(KeyValueList { values: Object::of(value)?.list("values", key_value)? })
}

#[cfg(test)]
mod tests;
