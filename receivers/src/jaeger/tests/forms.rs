//! What clients send, in each form: `fixtures/make.py` wrote the files with their code.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};

use super::super::*;
use crate::attributes::{attribute, text_attribute};

const COMPACT: &[u8] = include_bytes!("../../../fixtures/emit_batch.compact");
const BINARY: &[u8] = include_bytes!("../../../fixtures/emit_batch.binary");
const BATCH: &[u8] = include_bytes!("../../../fixtures/batch.thrift");
const POST_SPANS: &[u8] = include_bytes!("../../../fixtures/post_spans.pb");

const START_NANOS: u64 = 1_700_000_000_123_456_000;

fn expected() -> otlp::Span {
    let trace_id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128;
    otlp::Span {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: 0x11_u64.to_be_bytes().to_vec(),
        parent_span_id: 0x22_u64.to_be_bytes().to_vec(),
        flags: 1,
        name: "charge card".to_owned(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: START_NANOS,
        end_time_unix_nano: START_NANOS + 2_500_000,
        attributes: vec![
            text_attribute("peer", "größe"),
            attribute("retries", Value::IntValue(-3)),
            attribute("ratio", Value::DoubleValue(0.25)),
            attribute("cached", Value::BoolValue(true)),
            attribute("raw", Value::BytesValue(vec![0, 0xff])),
        ],
        events: vec![Event {
            time_unix_nano: START_NANOS + 1_000,
            name: "retry".to_owned(),
            attributes: vec![attribute("n", Value::IntValue(1))],
            ..Event::default()
        }],
        links: vec![Link {
            trace_id: 0x8448_eb21_1c80_319c_u128.to_be_bytes().to_vec(),
            span_id: 0x33_u64.to_be_bytes().to_vec(),
            attributes: vec![text_attribute("opentracing.ref_type", "follows_from")],
            ..Link::default()
        }],
        status: Some(Status { code: 2, message: String::new() }),
        ..otlp::Span::default()
    }
}

#[test]
fn a_batch_is_the_same_in_every_form() {
    for (form, request) in [
        ("compact packet", packet(COMPACT, Encoding::Compact)),
        ("binary packet", packet(BINARY, Encoding::Binary)),
        ("HTTP", batch(BATCH)),
        ("gRPC", post_spans(Bytes::from_static(POST_SPANS))),
    ] {
        let request = request.unwrap_or_else(|error| panic!("{form}: {error}"));
        let [resource_spans] = request.resource_spans.as_slice() else { panic!("{form}: one resource") };
        let resource = [text_attribute("service.name", "checkout"), text_attribute("host.name", "node-1")];
        assert_eq!(resource_spans.resource.as_ref().unwrap().attributes, resource, "{form}");
        assert_eq!(resource_spans.scope_spans[0].spans, [expected()], "{form}");
    }
}

#[test]
fn damaged_input_is_named() {
    for (error, expected) in [
        (
            packet(&COMPACT[..COMPACT.len() - 20], Encoding::Compact),
            "batch.spans[0].logs[0].tags[0]: the data ends early",
        ),
        (packet(BINARY, Encoding::Compact), "the request: not a call in thrift's compact encoding"),
        (packet(&[&[0x82, 0x81, 1, 4][..], b"ping", &[0]].concat(), Encoding::Compact), "unknown call \"ping\""),
        (packet(&[&[0x82, 0x81, 1, 9][..], b"emitBatch", &[0]].concat(), Encoding::Compact), "without a batch"),
        (batch(&BATCH[..100]), "ends early"),
        (batch(b"{}"), "kind of value in thrift"),
        (post_spans(Bytes::from_static(b"\x0a\x04\x0a\x02\x0a\x09")), "batch.spans[0]: "),
        (
            post_spans(Bytes::from_static(b"\x0a\x05\x0a\x03\x0a\x01x")),
            "batch.spans[0]: a trace id has 16 bytes, not 1",
        ),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn text_that_is_no_utf_8_is_mended() {
    let damaged: Vec<u8> = POST_SPANS.to_vec();
    let at = damaged.windows(8).position(|window| window == b"checkout").unwrap();
    let mut message = damaged;
    message[at] = 0xff;
    let request = post_spans(Bytes::from(message)).unwrap();
    let resource = request.resource_spans[0].resource.clone().unwrap();
    assert_eq!(resource.attributes[0], text_attribute("service.name", "\u{fffd}heckout"));

    let at = COMPACT.windows(8).position(|window| window == b"checkout").unwrap();
    let mut message = COMPACT.to_vec();
    message[at] = 0xff;
    let request = packet(&message, Encoding::Compact).unwrap();
    let resource = request.resource_spans[0].resource.clone().unwrap();
    assert_eq!(resource.attributes[0], text_attribute("service.name", "\u{fffd}heckout"));
}
