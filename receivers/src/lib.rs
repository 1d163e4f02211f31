//! Jaeger and Zipkin on the wire → OTLP, by the translation rules of the OpenTelemetry Collector. Pure: sockets, limits and
//! answers are the matter of `api`.
//!
//! ```text
//! jaeger.rs   thrift: batch, packet ─ jaeger/wire.rs ─┐
//!             protobuf: PostSpans ─ jaeger/proto.rs ──┴▶ Batch ─ translate.rs, status.rs ─┐
//! zipkin.rs   v1: JSON, thrift ─▶ v1::Span ─ v1/translate.rs, v1/status.rs ───────────────┼▶ grouping.rs ─▶ request
//!             v2: JSON, protobuf ─▶ v2::Span ─ v2/translate.rs ───────────────────────────┘
//! thrift.rs   what thrift is: structs, lists, numbers       fields.rs   the same for JSON
//! attributes.rs   keys and values of OTLP                   error.rs    what is wrong, and where
//! ```
//!
//! Where the rules lose something that a sender said, it is kept here: `docs/decisions/0024-jaeger-and-zipkin.md`.
//! Text that is no UTF-8 becomes U+FFFD.

pub mod jaeger;
pub mod zipkin;

mod fields;
mod thrift;

mod attributes;
mod grouping;
mod id;
mod time;

mod error;

pub use error::Error;
pub use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
