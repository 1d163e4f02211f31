//! The two forms of OTLP over HTTP, by content type.

use axum::http::{HeaderMap, header};

/// The two forms of a request; the answer has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Protobuf,
    Json,
}

impl Form {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let media_type = media_type(headers);
        [Self::Protobuf, Self::Json].into_iter().find(|form| media_type.eq_ignore_ascii_case(form.media_type()))
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// The content type without what follows it; empty without one.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim()
}
