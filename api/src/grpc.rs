//! What gRPC is on every port that speaks it: how such a request is told apart, calls whose messages are bytes, health.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes};
use futures::Stream;
use http_body_util::{BodyExt, Limited};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::Grpc;
use tonic::{Code, Status};
use tower::service_fn;

use crate::Edge;
use crate::otlp::encoding::{self, Encoding};
use crate::request_span::{self, traced};

pub(crate) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckResponse { status: SERVING }` and `NOT_SERVING`.
const SERVING: &[u8] = &[0x08, 0x01];
const NOT_SERVING: &[u8] = &[0x08, 0x02];

pub(crate) const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// How soon who watches is told that something changed.
const HEALTH_PERIOD: Duration = Duration::from_secs(1);

/// Health checks carry a service name at most.
const MAX_HEALTH_BYTES: usize = 4096;

/// Messages of a stream that may wait for the client; what makes more of them waits too.
const MESSAGES_WAITING: usize = 2;

/// What every port that speaks gRPC offers.
pub(crate) async fn serve_common(edge: Arc<Edge>, request: Request) -> Response {
    match request.uri().path() {
        HEALTH_CHECK => counted(edge, HEALTH_CHECK, request, check_health).await,
        HEALTH_WATCH => counted(edge, HEALTH_WATCH, request, watch_health).await,
        path => Status::unimplemented(format!("unknown method {path}")).into_http(),
    }
}

pub(crate) fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    content_type.starts_with(b"application/grpc")
}

/// Counts and traces a call that is over when its response is there.
pub(crate) async fn observed<F: Future<Output = Response>>(
    edge: Arc<Edge>,
    route: &'static str,
    request: Request,
    call: impl FnOnce(Arc<Edge>, Request) -> F,
) -> Response {
    let span = request_span::of(route, request.headers());
    counted(edge, route, request, |edge, request| traced(span, call(edge, request))).await
}

/// Counts a call without a span of its own: health is asked every few seconds, and of no interest.
async fn counted<F: Future<Output = Response>>(
    edge: Arc<Edge>,
    route: &'static str,
    request: Request,
    call: impl FnOnce(Arc<Edge>, Request) -> F,
) -> Response {
    let inflight = edge.telemetry.begin("gRPC", route);
    let response = call(edge, request).await;
    // A failed call has its status among the headers; a call that worked has it behind the body.
    let failed = response.headers().get(Status::GRPC_STATUS).is_some_and(|code| code != "0");
    inflight.finish(outcome_label(failed));
    response
}

/// `status_code` of a gRPC call in `tempo_request_duration_seconds`.
pub(crate) fn outcome_label(failed: bool) -> &'static str {
    if failed { "error" } else { "success" }
}

async fn check_health(edge: Arc<Edge>, request: Request) -> Response {
    let status = health(&edge);
    unary(request, health_limits(&edge), |_message| async { Ok(Bytes::from_static(status)) }).await
}

async fn watch_health(edge: Arc<Edge>, request: Request) -> Response {
    let limits = health_limits(&edge);
    server_streaming(request, limits, |_message, messages| Ok(tell_health(edge.clone(), messages))).await
}

/// Tells the status, and again whenever it changes. What no longer serves ends the stream, which would else hold up the
/// stop.
async fn tell_health(edge: Arc<Edge>, messages: mpsc::Sender<Bytes>) -> Result<(), Status> {
    let (mut told, mut period) = (None, tokio::time::interval(HEALTH_PERIOD));
    loop {
        period.tick().await;
        let status = health(&edge);
        if told == Some(status) {
            continue;
        }
        let has_ended = told == Some(SERVING);
        if messages.send(Bytes::from_static(status)).await.is_err() || has_ended {
            return Ok(());
        }
        told = Some(status);
    }
}

fn health(edge: &Edge) -> &'static [u8] {
    if edge.not_ready().is_none() { SERVING } else { NOT_SERVING }
}

fn health_limits(edge: &Edge) -> Limits {
    Limits { bytes: MAX_HEALTH_BYTES, time: edge.config.body_read_timeout() }
}

/// What one request may take: the size of its message, before and after decompression, and the time until it is answered
/// or, in a stream, understood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// A call of one message that is answered with one.
pub(crate) async fn unary<F>(request: Request, limits: Limits, answer: impl Fn(Bytes) -> F) -> Response
where
    F: Future<Output = Result<Bytes, Status>>,
{
    let answer = |message: tonic::Request<Bytes>| {
        let answered = answer(message.into_inner());
        async { answered.await.map(tonic::Response::new) }
    };
    let call = async {
        match without_snappy(request, limits).await {
            Ok(request) => server(limits).unary(service_fn(answer), request).await.map(Body::new),
            Err(status) => status.into_http(),
        }
    };
    within(limits, call).await
}

/// A call of one message that is answered with a stream. `start` gives the work that sends the answer's messages and says
/// how it ended; it runs by itself, however slowly the client reads, and ends when the client goes away.
pub(crate) async fn server_streaming<W>(
    request: Request,
    limits: Limits,
    start: impl Fn(Bytes, mpsc::Sender<Bytes>) -> Result<W, Status>,
) -> Response
where
    W: Future<Output = Result<(), Status>> + Send + 'static,
{
    let start = |message: tonic::Request<Bytes>| {
        let (sender, messages) = mpsc::channel(MESSAGES_WAITING);
        let work = start(message.into_inner(), sender);
        async { work.map(|work| tonic::Response::new(Answer::of(messages, work))) }
    };
    let call = async {
        match without_snappy(request, limits).await {
            Ok(request) => server(limits).server_streaming(service_fn(start), request).await.map(Body::new),
            Err(status) => status.into_http(),
        }
    };
    within(limits, call).await
}

/// A flag and a length stand before each message.
pub(crate) const FRAME_HEAD_BYTES: usize = 5;

const ENCODING: &str = "grpc-encoding";

/// The request as it would be without snappy, which tonic does not know and collectors may be set to. A request is one
/// message.
async fn without_snappy(request: Request, limits: Limits) -> Result<Request, Status> {
    if request.headers().get(ENCODING).is_none_or(|encoding| encoding != "snappy") {
        return Ok(request);
    }
    let (mut head, body) = request.into_parts();
    let max_bytes = limits.bytes.saturating_add(FRAME_HEAD_BYTES);
    let packed = Limited::new(body, max_bytes).collect().await;
    let packed = packed.map_err(|_| Status::resource_exhausted(too_large(limits.bytes)))?.to_bytes();
    head.headers.remove(ENCODING);
    let body = unpack_frame(packed, limits)?;
    Ok(Request::from_parts(head, Body::from(body)))
}

/// A frame whose message is not compressed. What is no frame is left for tonic to refuse.
fn unpack_frame(packed: Bytes, limits: Limits) -> Result<Bytes, Status> {
    let Some((&[1, _, _, _, _], message)) = packed.split_first_chunk::<FRAME_HEAD_BYTES>() else { return Ok(packed) };
    let message = packed.slice_ref(message);
    let plain = Encoding::Snappy.decode(message, limits.bytes).map_err(|error| match error {
        encoding::Error::TooLarge => Status::resource_exhausted(too_large(limits.bytes)),
        error => Status::invalid_argument(error.to_string()),
    })?;
    let length = u32::try_from(plain.len()).map_err(|_| Status::resource_exhausted(too_large(limits.bytes)))?;
    Ok([&[0], &length.to_be_bytes()[..], &plain].concat().into())
}

pub(crate) fn too_large(max_bytes: usize) -> String {
    format!("the message is larger than {max_bytes} bytes, plain or compressed: send smaller batches")
}

/// gzip and zstd are understood.
fn server(limits: Limits) -> Grpc<BytesCodec> {
    Grpc::new(BytesCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limits.bytes)
}

async fn within(limits: Limits, call: impl Future<Output = Response>) -> Response {
    let Ok(mut response) = tokio::time::timeout(limits.time, call).await else {
        return Status::deadline_exceeded("the request took too long to arrive and to be worked on").into_http();
    };
    forbid_retry_of_large_messages(&mut response);
    response
}

/// A message over the limit is answered with `OutOfRange`, which exporters retry for ever. `ResourceExhausted` without
/// `RetryInfo` makes them drop it, and is what Go servers answer.
fn forbid_retry_of_large_messages(response: &mut Response) {
    if let Some(code) = response.headers_mut().get_mut(Status::GRPC_STATUS)
        && *code == (Code::OutOfRange as i32).to_string()
    {
        *code = HeaderValue::from(Code::ResourceExhausted as i32);
    }
}

/// The messages of a stream, then its status. Dropping it ends the work that makes them.
struct Answer {
    messages: mpsc::Receiver<Bytes>,
    /// `None` once its end was told.
    work: Option<AbortOnDropHandle<Result<(), Status>>>,
}

impl Answer {
    fn of(messages: mpsc::Receiver<Bytes>, work: impl Future<Output = Result<(), Status>> + Send + 'static) -> Self {
        Self { messages, work: Some(AbortOnDropHandle::new(tokio::spawn(work))) }
    }
}

impl Stream for Answer {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(message) = ready!(self.messages.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message)));
        }
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let ended = ready!(Pin::new(work).poll(context));
        self.work = None;
        let status = ended.unwrap_or_else(|_panicked| Err(Status::internal("the query failed unexpectedly")));
        Poll::Ready(status.err().map(Err))
    }
}

/// Messages as they lie on the wire.
#[derive(Debug, Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests;
