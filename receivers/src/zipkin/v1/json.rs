//! Spans of version 1 in JSON.

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::{Annotation, BinaryAnnotation, Span};
use crate::error::Error;
use crate::fields::{self, Fields};
use crate::id::{span_id_of_hex, trace_id_of_hex};
use crate::zipkin::endpoint::Endpoint;
use crate::zipkin::v2::json::optional_id;
use crate::zipkin::{Reading, numbers};

pub(in crate::zipkin) fn spans(body: &serde_json::Value, reading: Reading) -> Result<Vec<Span>, Error> {
    fields::list(body, |fields| span(fields, reading)).map_err(|error| error.within("spans"))
}

fn span(fields: Fields<'_>, reading: Reading) -> Result<Span, Error> {
    let missing = |name: &str| Error::new(format!("no {name}"));
    Ok(Span {
        trace_id: fields.parsed("traceId", trace_id_of_hex)?.ok_or_else(|| missing("traceId"))?,
        id: fields.parsed("id", span_id_of_hex)?.ok_or_else(|| missing("id"))?,
        parent_id: fields.parsed("parentId", optional_id)?.unwrap_or_default(),
        name: fields.text("name")?.unwrap_or_default().to_owned(),
        timestamp_micros: fields.integer("timestamp")?.unwrap_or_default(),
        duration_micros: fields.integer("duration")?.unwrap_or_default(),
        annotations: fields.list("annotations", annotation)?,
        binary_annotations: fields.list("binaryAnnotations", |fields| binary_annotation(fields, reading))?,
    })
}

fn annotation(fields: Fields<'_>) -> Result<Annotation, Error> {
    Ok(Annotation {
        micros: fields.integer("timestamp")?.unwrap_or_default(),
        value: fields.any_text("value")?.unwrap_or_default(),
        endpoint: endpoint(fields)?,
    })
}

/// A value is a text; whoever writes a boolean or a number there means one.
fn binary_annotation(fields: Fields<'_>, reading: Reading) -> Result<BinaryAnnotation, Error> {
    let value = match fields.boolean("value") {
        Some(value) => Value::BoolValue(value),
        None => numbers::value(fields.any_text("value")?.unwrap_or_default(), reading),
    };
    let key = fields.text("key")?.unwrap_or_default().to_owned();
    Ok(BinaryAnnotation { key, value, endpoint: endpoint(fields)? })
}

fn endpoint(fields: Fields<'_>) -> Result<Endpoint, Error> {
    fields.object("endpoint", Endpoint::of_json).map(Option::unwrap_or_default)
}
