//! How an answer leaves: the form that `Accept` asks for, plain-text errors, compression.

use std::io::Write;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::json::{Json, ToJson};
use super::llm::{self, ToLlm};
use crate::error::{http_status, streaming_code};
use crate::negotiation::{accepts, accepts_gzip};
use crate::plain_text::TEXT;

/// Bodies from this size on are compressed for clients that understand it.
const MIN_GZIP_BYTES: usize = 1024;

/// Where the next page of results begins, for the parameter `cursor`.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-mosso-next-cursor");

/// Why spans may be missing in an answer whose body has no place for that.
const PARTIAL: HeaderName = HeaderName::from_static("x-mosso-partial");

/// Bodies above this size are compressed away from the request's thread, so that they do not hold up other requests.
const MAX_INLINE_BYTES: usize = 128 << 10;

/// What a client can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Protobuf,
    /// The form for language models, which a few answers have; the others are JSON.
    Llm,
}

impl Format {
    /// Protobuf if `Accept` names it anywhere, as Tempo decides; so with the form for language models.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match () {
            () if accepts(headers, "application/protobuf") => Self::Protobuf,
            () if accepts(headers, llm::MEDIA_TYPE) => Self::Llm,
            () => Self::Json,
        }
    }
}

/// An answer, whole and uncompressed.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    content_type: Option<&'static str>,
    body: Bytes,
    /// `X-Content-Type-Options: nosniff`
    nosniff: bool,
    next_cursor: Option<HeaderValue>,
    lack: Option<HeaderValue>,
}

impl Reply {
    pub(super) fn of(message: &(impl ToJson + prost::Message), format: Format) -> Self {
        match format {
            Format::Json | Format::Llm => Self::json(Json::of(message)),
            Format::Protobuf => Self::new(StatusCode::OK, Some("application/protobuf"), message.encode_to_vec()),
        }
    }

    /// As [`of`](Self::of), of an answer that has the form for language models.
    pub(super) fn with_llm(message: &(impl ToJson + ToLlm + prost::Message), format: Format) -> Self {
        match format {
            Format::Llm => Self::new(StatusCode::OK, Some(llm::CONTENT_TYPE), message.llm()),
            Format::Json | Format::Protobuf => Self::of(message, format),
        }
    }

    pub(super) fn json(body: String) -> Self {
        Self::new(StatusCode::OK, Some("application/json"), body)
    }

    /// A status and nothing else, not even a content type.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::new(status, None, Bytes::new())
    }

    fn new(status: StatusCode, content_type: Option<&'static str>, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, body: body.into(), nosniff: false, next_cursor: None, lack: None }
    }

    /// Tells how to ask for what follows.
    pub(super) fn with_next_cursor(self, cursor: Option<String>) -> Self {
        let next_cursor = cursor.and_then(|cursor| HeaderValue::try_from(cursor).ok());
        Self { next_cursor, ..self }
    }

    /// Tells why spans may be missing.
    pub(super) fn with_lack(self, lack: Option<String>) -> Self {
        let lack = lack.and_then(|lack| HeaderValue::try_from(lack).ok());
        Self { lack, ..self }
    }

    /// Status and body, for who hands them on in another frame.
    pub(super) fn into_parts(self) -> (StatusCode, Bytes) {
        (self.status, self.body)
    }

    /// Compresses if worth it and asked for.
    pub(super) async fn into_response(mut self, request_headers: &HeaderMap) -> Response {
        let compressed = self.body.len() >= MIN_GZIP_BYTES && accepts_gzip(request_headers);
        if compressed {
            self.body = gzip(self.body).await;
        }
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let mut set = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
        set(header::VARY, "Accept-Encoding");
        if let Some(content_type) = self.content_type {
            set(header::CONTENT_TYPE, content_type);
        }
        if self.nosniff {
            set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        }
        if compressed {
            set(header::CONTENT_ENCODING, "gzip");
        }
        if let Some(cursor) = self.next_cursor {
            response.headers_mut().insert(NEXT_CURSOR, cursor);
        }
        if let Some(lack) = self.lack {
            response.headers_mut().insert(PARTIAL, lack);
        }
        response
    }
}

async fn gzip(body: Bytes) -> Bytes {
    if body.len() <= MAX_INLINE_BYTES {
        return gzip_here(&body);
    }
    tokio::task::spawn_blocking(move || gzip_here(&body)).await.expect("compressing memory to memory does not panic")
}

fn gzip_here(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).expect("writing to memory does not fail");
    Bytes::from(encoder.finish().expect("writing to memory does not fail"))
}

/// A refused or failed query: a status and a text that clients show as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueryError {
    pub(super) status: StatusCode,
    pub(super) text: String,
    nosniff: bool,
    /// Over gRPC it has no status of its own.
    is_unknown: bool,
}

impl QueryError {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), nosniff: false, is_unknown: false }
    }

    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// What the router answers where there is no route.
    pub(super) fn unknown_path() -> Self {
        Self::by_middleware(StatusCode::NOT_FOUND, "404 page not found")
    }

    /// An error in the form that Tempo's middleware gives it.
    pub(super) fn by_middleware(status: StatusCode, text: &str) -> Self {
        Self { nosniff: true, ..Self::new(status, format!("{text}\n")) }
    }

    pub(super) fn into_reply(self) -> Reply {
        Reply { nosniff: self.nosniff, ..Reply::new(self.status, Some(TEXT), self.text) }
    }

    /// The same error where there are no lines to end.
    pub(super) fn into_grpc(self) -> tonic::Status {
        let code = if self.is_unknown { tonic::Code::Unknown } else { streaming_code(self.status) };
        tonic::Status::new(code, self.text.trim_end())
    }

    /// Over gRPC the status is `Unknown`, which is what Tempo gives the refusals of a metrics query.
    pub(super) fn unknown_over_grpc(self) -> Self {
        Self { is_unknown: true, ..self }
    }
}

impl From<querier::Error> for QueryError {
    fn from(error: querier::Error) -> Self {
        let status = http_status(error.kind());
        if status.is_server_error() {
            tracing::warn!(%error, "query failed");
        }
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn forms_are_given_to_who_names_them() {
        for (accept, format) in [
            ("application/json;q=0.5, application/protobuf", Format::Protobuf),
            ("application/json", Format::Json),
            ("*/*", Format::Json),
            ("application/vnd.grafana.llm", Format::Llm),
            ("application/vnd.grafana.llm, application/protobuf", Format::Protobuf),
        ] {
            assert_eq!(Format::of(&headers(header::ACCEPT, accept)), format, "{accept}");
        }
    }

    #[tokio::test]
    async fn only_large_bodies_are_compressed() {
        let gzip = headers(header::ACCEPT_ENCODING, "gzip");
        let encoding = async |bytes: usize, headers: &HeaderMap| {
            let response = Reply::json("x".repeat(bytes)).into_response(headers).await;
            assert_eq!(response.headers()[header::VARY], "Accept-Encoding");
            response.headers().contains_key(header::CONTENT_ENCODING)
        };
        assert!(!encoding(1023, &gzip).await);
        assert!(encoding(1024, &gzip).await);
        assert!(encoding(1 << 20, &gzip).await);
        assert!(!encoding(1024, &HeaderMap::new()).await);
    }
}
