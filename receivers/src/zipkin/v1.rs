//! Version 1: a span is its annotations. Who sent and who received, and when, is in those named `cs`, `sr`, `ss`, `cr`.

pub(super) mod json;
pub(super) mod wire;

pub(super) mod translate;

mod status;

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::endpoint::Endpoint;

/// A span of version 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Span {
    pub(super) trace_id: u128,
    pub(super) id: u64,
    /// 0 for none.
    pub(super) parent_id: u64,
    pub(super) name: String,
    /// 0 for none.
    pub(super) timestamp_micros: i64,
    pub(super) duration_micros: i64,
    pub(super) annotations: Vec<Annotation>,
    pub(super) binary_annotations: Vec<BinaryAnnotation>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Annotation {
    pub(super) micros: i64,
    pub(super) value: String,
    pub(super) endpoint: Endpoint,
}

/// A tag, or with the keys `ca`, `sa` and `ma` the address of the other side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BinaryAnnotation {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) endpoint: Endpoint,
}
