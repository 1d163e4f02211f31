//! Spans of version 2 in JSON.

use serde_json::Value;

use super::{Kind, Span};
use crate::error::Error;
use crate::fields::{self, Fields};
use crate::id::{span_id_of_hex, trace_id_of_hex};
use crate::zipkin::endpoint::Endpoint;

pub(in crate::zipkin) fn spans(body: &Value) -> Result<Vec<Span>, Error> {
    fields::list(body, span).map_err(|error| error.within("spans"))
}

fn span(fields: Fields<'_>) -> Result<Span, Error> {
    let missing = |name: &str| Error::new(format!("no {name}"));
    let endpoint = |name| fields.object(name, Endpoint::of_json).map(Option::unwrap_or_default);
    Ok(Span {
        trace_id: fields.parsed("traceId", trace_id_of_hex)?.ok_or_else(|| missing("traceId"))?,
        id: fields.parsed("id", span_id_of_hex)?.ok_or_else(|| missing("id"))?,
        parent_id: fields.parsed("parentId", optional_id)?.unwrap_or_default(),
        name: fields.text("name")?.unwrap_or_default().to_owned(),
        kind: fields.parsed("kind", kind)?,
        timestamp_micros: fields.integer("timestamp")?.unwrap_or_default(),
        duration_micros: fields.integer("duration")?.unwrap_or_default(),
        local: endpoint("localEndpoint")?,
        remote: endpoint("remoteEndpoint")?,
        annotations: fields.list("annotations", annotation)?,
        tags: fields.texts("tags")?,
    })
}

/// An empty text is none.
pub(in crate::zipkin) fn optional_id(digits: &str) -> Result<u64, Error> {
    if digits.is_empty() { Ok(0) } else { span_id_of_hex(digits) }
}

fn kind(name: &str) -> Result<Kind, Error> {
    Ok(match name {
        "CLIENT" => Kind::Client,
        "SERVER" => Kind::Server,
        "PRODUCER" => Kind::Producer,
        "CONSUMER" => Kind::Consumer,
        _ => {
            return Err(Error::new(format!(
                "{name:?} is no kind: write CLIENT, SERVER, PRODUCER, CONSUMER or nothing"
            )));
        }
    })
}

fn annotation(fields: Fields<'_>) -> Result<(i64, String), Error> {
    Ok((fields.integer("timestamp")?.unwrap_or_default(), fields.any_text("value")?.unwrap_or_default()))
}
