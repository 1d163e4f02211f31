//! Jaeger's four ways in. What comes is translated by `receivers::jaeger` and stored as OTLP is.
//!
//! Clients that ask for sampling strategies are told that there are none: their defaults hold then.

pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod udp;

use bytes::Bytes;
use prost::Message;
use receivers::ExportTraceServiceRequest;

use crate::otlp::refusal::Refusal;

fn encoded(read: Result<ExportTraceServiceRequest, receivers::Error>) -> Result<Bytes, Refusal> {
    Ok(read?.encode_to_vec().into())
}

#[cfg(test)]
mod tests;
