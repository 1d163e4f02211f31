//! Spans of version 1 in thrift. The numbers of fields are those of its IDL, `zipkincore.thrift`.

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::{Annotation, BinaryAnnotation, Span};
use crate::error::Error;
use crate::id::trace_id;
use crate::thrift::{Encoding, Input, Kind};
use crate::zipkin::endpoint::Endpoint;

/// A list of spans, which stands in no struct.
pub(in crate::zipkin) fn spans(body: &[u8]) -> Result<Vec<Span>, Error> {
    Input::new(body, Encoding::Binary).list(span).map_err(|error| error.within("spans"))
}

fn span(input: &mut Input<'_>) -> Result<Span, Error> {
    let mut span = Span::default();
    let (mut id_low, mut id_high) = (0, 0);
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => id_low = input.i64()?,
            (3, Kind::Bytes) => span.name = input.text()?,
            (4, Kind::I64) => span.id = input.i64()?.cast_unsigned(),
            (5, Kind::I64) => span.parent_id = input.i64()?.cast_unsigned(),
            (6, Kind::List) => {
                span.annotations = input.list(annotation).map_err(|error| error.within("annotations"))?;
            }
            (8, Kind::List) => {
                let annotations = input.list(binary_annotation);
                span.binary_annotations = annotations.map_err(|error| error.within("binary_annotations"))?;
            }
            (10, Kind::I64) => span.timestamp_micros = input.i64()?,
            (11, Kind::I64) => span.duration_micros = input.i64()?,
            (12, Kind::I64) => id_high = input.i64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    span.trace_id = trace_id(i64::cast_unsigned(id_high), i64::cast_unsigned(id_low));
    Ok(span)
}

fn annotation(input: &mut Input<'_>) -> Result<Annotation, Error> {
    let mut annotation = Annotation::default();
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => annotation.micros = input.i64()?,
            (2, Kind::Bytes) => annotation.value = input.text()?,
            (3, Kind::Struct) => annotation.endpoint = endpoint(input)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(annotation)
}

fn binary_annotation(input: &mut Input<'_>) -> Result<BinaryAnnotation, Error> {
    let (mut key, mut bytes, mut kind, mut host) = (String::new(), Vec::new(), 0, Endpoint::default());
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::Bytes) => key = input.text()?,
            (2, Kind::Bytes) => bytes = input.bytes()?.to_vec(),
            (3, Kind::I32) => kind = input.i32()?,
            (4, Kind::Struct) => host = endpoint(input)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(BinaryAnnotation { value: value(kind, &bytes).map_err(|error| error.within(&key))?, key, endpoint: host })
}

/// Numbers lie there as bytes, the highest first.
fn value(kind: i32, bytes: &[u8]) -> Result<Value, Error> {
    Ok(match kind {
        0 => Value::BoolValue(bytes == [1]),
        1 => Value::StringValue(STANDARD.encode(bytes)),
        2 => Value::IntValue(i16::from_be_bytes(first(bytes)?).into()),
        3 => Value::IntValue(i32::from_be_bytes(first(bytes)?).into()),
        4 => Value::IntValue(i64::from_be_bytes(first(bytes)?)),
        5 => Value::DoubleValue(f64::from_be_bytes(first(bytes)?)),
        6 => Value::StringValue(String::from_utf8_lossy(bytes).into_owned()),
        kind => return Err(Error::new(format!("{kind} is no type of a binary annotation"))),
    })
}

fn first<const LENGTH: usize>(bytes: &[u8]) -> Result<[u8; LENGTH], Error> {
    let found = bytes.first_chunk().copied();
    found.ok_or_else(|| Error::new(format!("a number of {LENGTH} bytes cannot be in {}", bytes.len())))
}

fn endpoint(input: &mut Input<'_>) -> Result<Endpoint, Error> {
    let mut endpoint = Endpoint::default();
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::I32) => endpoint.ipv4 = ipv4(input.i32()?.cast_unsigned()),
            // ports are unsigned, which thrift does not have
            (2, Kind::I16) => endpoint.port = input.i16()?.cast_unsigned().into(),
            (3, Kind::Bytes) => endpoint.service_name = input.text()?,
            (4, Kind::Bytes) => endpoint.ipv6 = ipv6(input.bytes()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(endpoint)
}

fn ipv4(address: u32) -> String {
    if address == 0 { String::new() } else { Ipv4Addr::from_bits(address).to_string() }
}

fn ipv6(address: &[u8]) -> String {
    <[u8; 16]>::try_from(address).map(|bytes| Ipv6Addr::from(bytes).to_string()).unwrap_or_default()
}
