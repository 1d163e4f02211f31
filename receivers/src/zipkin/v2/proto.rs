//! Spans of version 2 in protobuf, `zipkin.proto3`. Texts are bytes here, so that damaged ones can be mended.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use prost::Message;

use super::{Kind, Span};
use crate::error::Error;
use crate::id::{span_id_of_bytes, trace_id_of_bytes};
use crate::zipkin::endpoint::Endpoint;

/// `zipkin.proto3.ListOfSpans`
#[derive(Clone, PartialEq, Message)]
pub(in crate::zipkin) struct ListOfSpans {
    /// Each is decoded by itself: an error then has its number, and empty ones take no memory.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(in crate::zipkin) spans: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::zipkin) struct SpanMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in crate::zipkin) trace_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in crate::zipkin) parent_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(in crate::zipkin) id: Bytes,
    #[prost(int32, tag = "4")]
    pub(in crate::zipkin) kind: i32,
    #[prost(bytes = "bytes", tag = "5")]
    pub(in crate::zipkin) name: Bytes,
    #[prost(fixed64, tag = "6")]
    pub(in crate::zipkin) timestamp: u64,
    #[prost(uint64, tag = "7")]
    pub(in crate::zipkin) duration: u64,
    #[prost(message, optional, tag = "8")]
    pub(in crate::zipkin) local_endpoint: Option<EndpointMessage>,
    #[prost(message, optional, tag = "9")]
    pub(in crate::zipkin) remote_endpoint: Option<EndpointMessage>,
    #[prost(message, repeated, tag = "10")]
    pub(in crate::zipkin) annotations: Vec<AnnotationMessage>,
    #[prost(message, repeated, tag = "11")]
    pub(in crate::zipkin) tags: Vec<TagMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::zipkin) struct EndpointMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in crate::zipkin) service_name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in crate::zipkin) ipv4: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(in crate::zipkin) ipv6: Bytes,
    #[prost(int32, tag = "4")]
    pub(in crate::zipkin) port: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::zipkin) struct AnnotationMessage {
    #[prost(fixed64, tag = "1")]
    pub(in crate::zipkin) timestamp: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in crate::zipkin) value: Bytes,
}

/// An entry of the map of tags.
#[derive(Clone, PartialEq, Message)]
pub(in crate::zipkin) struct TagMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in crate::zipkin) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in crate::zipkin) value: Bytes,
}

pub(in crate::zipkin) fn spans(body: Bytes) -> Result<Vec<Span>, Error> {
    let list = ListOfSpans::decode(body).map_err(no_message)?;
    let numbered = list.spans.into_iter().enumerate();
    numbered.map(|(index, bytes)| span(bytes).map_err(|error| error.at(index).within("spans"))).collect()
}

fn no_message(error: prost::DecodeError) -> Error {
    Error::new(error.to_string())
}

fn span(bytes: Bytes) -> Result<Span, Error> {
    let message = SpanMessage::decode(bytes).map_err(no_message)?;
    if message.trace_id.is_empty() || message.id.is_empty() {
        return Err(Error::new("a span has a trace id and an id"));
    }
    Ok(Span {
        trace_id: trace_id_of_bytes(&message.trace_id)?,
        id: span_id_of_bytes(&message.id)?,
        parent_id: span_id_of_bytes(&message.parent_id).map_err(|error| error.within("parent_id"))?,
        name: text(&message.name),
        kind: kind(message.kind),
        timestamp_micros: micros(message.timestamp),
        duration_micros: micros(message.duration),
        local: message.local_endpoint.map(endpoint).unwrap_or_default(),
        remote: message.remote_endpoint.map(endpoint).unwrap_or_default(),
        annotations: message.annotations.iter().map(|sent| (micros(sent.timestamp), text(&sent.value))).collect(),
        tags: message.tags.iter().map(|tag| (text(&tag.key), text(&tag.value))).collect(),
    })
}

fn endpoint(message: EndpointMessage) -> Endpoint {
    let ipv4 = <[u8; 4]>::try_from(message.ipv4.as_ref()).map(|bytes| Ipv4Addr::from(bytes).to_string());
    let ipv6 = <[u8; 16]>::try_from(message.ipv6.as_ref()).map(|bytes| Ipv6Addr::from(bytes).to_string());
    Endpoint {
        service_name: text(&message.service_name),
        ipv4: ipv4.unwrap_or_default(),
        ipv6: ipv6.unwrap_or_default(),
        port: message.port.into(),
    }
}

fn kind(number: i32) -> Option<Kind> {
    match number {
        1 => Some(Kind::Client),
        2 => Some(Kind::Server),
        3 => Some(Kind::Producer),
        4 => Some(Kind::Consumer),
        _ => None,
    }
}

fn micros(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
