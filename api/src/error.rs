//! Errors of the edge, and the only mapping from an [`ErrorKind`] to HTTP and gRPC status codes.

use std::io;

use axum::http::StatusCode;
use model::ErrorKind;
use tonic::Code;

use crate::{CorsError, CredentialError, Listener, TlsError};

/// Why the servers could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listen on {address} for {service}: {source}")]
    Listen { service: &'static str, address: String, source: io::Error },
    #[error("TLS of {listener}: {source}")]
    Tls { listener: Listener, source: TlsError },
    #[error("credentials: {0}")]
    Credentials(#[from] CredentialError),
    #[error("TLS to the brokers of Kafka: {0}")]
    Kafka(#[from] ::kafka::TlsError),
    #[error("cors: {0}")]
    Cors(#[from] CorsError),
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } => ErrorKind::Unavailable,
            Self::Tls { .. } | Self::Credentials(_) | Self::Kafka(_) | Self::Cors(_) => ErrorKind::InvalidInput,
        }
    }
}

/// The status of a failed query.
pub(crate) fn http_status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::LimitExceeded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Corrupt | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The status of a failed gRPC call. OTLP exporters retry all but `InvalidArgument`, `NotFound` and `Internal`.
pub(crate) fn grpc_code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::LimitExceeded => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Corrupt | ErrorKind::Internal => Code::Internal,
    }
}

/// The status of a failed streaming query, which Tempo derives from the one that it would have over HTTP.
pub(crate) fn streaming_code(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        status if status.is_server_error() => Code::Internal,
        _ => Code::Unknown,
    }
}

/// The status of a refused OTLP request over HTTP: of the two families that exporters tell apart, retry (429, 503) or drop.
pub(crate) fn otlp_http_status(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unimplemented => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
