//! Why OTLP bytes cannot become rows, or rows OTLP.

use model::ErrorKind;

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not an OTLP `ExportTraceServiceRequest`.
    #[error("malformed OTLP request: {reason}")]
    Malformed { reason: &'static str },
    /// Text is Tempo's: clients and tests look for it.
    #[error("trace ids must be 128 bit, received {bits} bits")]
    TraceIdLength { bits: usize },
    #[error("trace ids must be 128 bit and not all zero")]
    TraceIdZero,
    /// Text is Tempo's.
    #[error("span ids must be 64 bit and not all zero, received {bits} bits")]
    SpanId { bits: usize },
    #[error("parent span ids must be 64 bit or empty, received {bits} bits")]
    ParentSpanId { bits: usize },
    /// A table read from storage does not have the shape that `schema` describes.
    #[error("span table is damaged: {reason}")]
    Damaged { reason: String },
    /// Nobody waits for the result any more.
    #[error("the work was given up")]
    GivenUp,
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Error {
    pub(crate) fn malformed(reason: &'static str) -> Self {
        Self::Malformed { reason }
    }

    /// Stored spans that are not as they were written.
    pub fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged { reason: reason.into() }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Arrow(_) => ErrorKind::Internal,
            Self::GivenUp => ErrorKind::Timeout,
            _ => ErrorKind::InvalidInput,
        }
    }
}
