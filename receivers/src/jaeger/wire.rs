//! Jaeger's thrift structs. The numbers of fields are those of its IDL, `jaeger.thrift` and `agent.thrift`.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use super::{Batch, Process, Reference, ReferenceKind, Span, translate};
use crate::attributes::attribute;
use crate::error::Error;
use crate::id::trace_id;
use crate::thrift::{Field, Input, Kind};
use crate::time::nanos_of_micros;

const EMIT_BATCH: &str = "emitBatch";

pub(super) fn emit_batch(input: &mut Input<'_>) -> Result<Batch, Error> {
    let name = input.call()?;
    if name != EMIT_BATCH {
        return Err(Error::new(format!("unknown call {name:?}, agents are sent {EMIT_BATCH}")));
    }
    let mut sent = None;
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::Struct) => sent = Some(batch(input).map_err(|error| error.within("batch"))?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    sent.ok_or_else(|| Error::new(format!("{EMIT_BATCH} without a batch")))
}

pub(super) fn batch(input: &mut Input<'_>) -> Result<Batch, Error> {
    let mut batch = Batch::default();
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::Struct) => batch.process = process(input).map_err(|error| error.within("process"))?,
            (2, Kind::List) => batch.spans = input.list(span).map_err(|error| error.within("spans"))?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(batch)
}

fn process(input: &mut Input<'_>) -> Result<Process, Error> {
    let mut process = Process::default();
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::Bytes) => process.service_name = input.text()?,
            (2, Kind::List) => process.tags = tags(input)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(process)
}

fn span(input: &mut Input<'_>) -> Result<(Option<Process>, Span), Error> {
    let mut span = Span::default();
    let (mut id_low, mut id_high, mut start_micros, mut duration_micros) = (0, 0, 0_i64, 0);
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => id_low = input.i64()?,
            (2, Kind::I64) => id_high = input.i64()?,
            (3, Kind::I64) => span.span_id = input.i64()?.cast_unsigned(),
            (4, Kind::I64) => span.parent_span_id = input.i64()?.cast_unsigned(),
            (5, Kind::Bytes) => span.operation_name = input.text()?,
            (6, Kind::List) => span.references = input.list(reference).map_err(|error| error.within("references"))?,
            (7, Kind::I32) => span.is_sampled = input.i32()? & 1 == 1,
            (8, Kind::I64) => start_micros = input.i64()?,
            (9, Kind::I64) => duration_micros = input.i64()?,
            (10, Kind::List) => span.tags = tags(input)?,
            (11, Kind::List) => span.logs = input.list(log).map_err(|error| error.within("logs"))?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    span.trace_id = trace_id(id_high.cast_unsigned(), id_low.cast_unsigned());
    span.start_nanos = nanos_of_micros(start_micros);
    span.end_nanos = nanos_of_micros(start_micros.saturating_add(duration_micros));
    Ok((None, span))
}

fn reference(input: &mut Input<'_>) -> Result<Reference, Error> {
    let (mut kind, mut id_low, mut id_high, mut span_id) = (ReferenceKind::ChildOf, 0, 0, 0);
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::I32) => kind = reference_kind(input.i32()?),
            (2, Kind::I64) => id_low = input.i64()?,
            (3, Kind::I64) => id_high = input.i64()?,
            (4, Kind::I64) => span_id = input.i64()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let trace_id = trace_id(i64::cast_unsigned(id_high), i64::cast_unsigned(id_low));
    Ok(Reference { kind, trace_id, span_id: i64::cast_unsigned(span_id) })
}

pub(super) fn reference_kind(number: i32) -> ReferenceKind {
    if number == 0 { ReferenceKind::ChildOf } else { ReferenceKind::FollowsFrom }
}

fn log(input: &mut Input<'_>) -> Result<Event, Error> {
    let (mut micros, mut fields) = (0, Vec::new());
    input.structure(|input, field| {
        match (field.id, field.kind) {
            (1, Kind::I64) => micros = input.i64()?,
            (2, Kind::List) => fields = tags(input)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(translate::event(nanos_of_micros(micros), fields))
}

fn tags(input: &mut Input<'_>) -> Result<Vec<KeyValue>, Error> {
    input.list(tag).map_err(|error| error.within("tags"))
}

/// The type says which of the values counts; one that is not there is the empty one.
fn tag(input: &mut Input<'_>) -> Result<KeyValue, Error> {
    let (mut key, mut kind) = (String::new(), 0);
    let (mut text, mut double, mut bool, mut long, mut binary) = (String::new(), 0.0, false, 0, Vec::new());
    input.structure(|input, field: Field| {
        match (field.id, field.kind) {
            (1, Kind::Bytes) => key = input.text()?,
            (2, Kind::I32) => kind = input.i32()?,
            (3, Kind::Bytes) => text = input.text()?,
            (4, Kind::Double) => double = input.double()?,
            (5, Kind::Bool) => bool = input.boolean(field)?,
            (6, Kind::I64) => long = input.i64()?,
            (7, Kind::Bytes) => binary = input.bytes()?.to_vec(),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let value = match kind {
        0 => Value::StringValue(text),
        1 => Value::DoubleValue(double),
        2 => Value::BoolValue(bool),
        3 => Value::IntValue(long),
        4 => Value::BytesValue(binary),
        kind => translate::unknown_tag_type(kind),
    };
    Ok(attribute(key, value))
}
