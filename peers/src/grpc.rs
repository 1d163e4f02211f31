//! Calls over gRPC: one connection to each process, made when it is first needed and again when it breaks.
//!
//! Nothing is tried twice here: who has no answer says so, and the next question tries again. A writer that did not answer is
//! not asked for [`PAUSE`], so that the questions of a dashboard do not wait for it one after the other.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use model::TenantId;
use prost::Message;
use spans::SpanTable;
use storage::CpuPool;
use storage::members::Record;
use storage::view::TableId;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::Peers;
use crate::question::{Answer, PeerError, Question};
use crate::telemetry::Telemetry;
use crate::transport::Dial;
use crate::wire::{self, HalvesRequest, LiveAnswer, LiveRequest, NOT_WHOLE, Piece, TableAnswer, TableRequest, damaged};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a writer is not asked that did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Tables that are fetched at once, from all writers: what is under way of them is in no cache yet.
const FETCHES_AT_ONCE: usize = 4;
/// HTTP/2 pings while a call is under way, and how long their answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// Windows of HTTP/2, per stream and per connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Writers over the network.
pub struct GrpcPeers {
    /// Of one call.
    timeout: Duration,
    /// `None` for TCP.
    dial: Option<Arc<dyn Dial>>,
    /// By address.
    connections: Mutex<HashMap<String, Connection>>,
    fetches: Semaphore,
    cpu: CpuPool,
    telemetry: Telemetry,
}

struct Connection {
    channel: Channel,
    failed: Option<(Instant, PeerError)>,
    last_used: Instant,
}

/// Connections that nobody used for so long are closed: their writer is gone.
const IDLE: Duration = Duration::from_secs(60);

impl GrpcPeers {
    pub fn new(timeout: Duration, cpu: CpuPool, telemetry: Telemetry) -> Self {
        let (connections, fetches) = (Mutex::default(), Semaphore::new(FETCHES_AT_ONCE));
        Self { timeout, dial: None, connections, fetches, cpu, telemetry }
    }

    /// With connections that are not of TCP.
    #[must_use]
    pub fn over(self, dial: Arc<dyn Dial>) -> Self {
        Self { dial: Some(dial), ..self }
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<String, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self, address: &str) -> Result<Channel, PeerError> {
        let (now, mut connections) = (Instant::now(), self.connections());
        connections.retain(|_, connection| now.duration_since(connection.last_used) < IDLE);
        if let Some(connection) = connections.get_mut(address) {
            connection.last_used = now;
            return match &connection.failed {
                Some((at, error)) if now.duration_since(*at) < PAUSE => Err(PeerError::Lately(Box::new(error.clone()))),
                _ => Ok(connection.channel.clone()),
            };
        }
        let channel = self.connect(address)?;
        connections.insert(address.to_owned(), Connection { channel: channel.clone(), failed: None, last_used: now });
        Ok(channel)
    }

    fn connect(&self, address: &str) -> Result<Channel, PeerError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let Some(dial) = self.dial.clone() else { return Ok(endpoint.connect_lazy()) };
        let address = Arc::<str>::from(address);
        let connector = move |_: Uri| {
            let (dial, address) = (dial.clone(), address.clone());
            async move { io::Result::Ok(TokioIo::new(dial.dial(&address).await?)) }
        };
        Ok(endpoint.connect_with_connector_lazy(service_fn(connector)))
    }

    /// Whether a process is to be asked: it did not fail to answer a moment ago.
    pub(crate) fn may_ask(&self, address: &str) -> bool {
        let connections = self.connections();
        let failed = connections.get(address).and_then(|connection| connection.failed.as_ref());
        failed.is_none_or(|(at, _)| at.elapsed() >= PAUSE)
    }

    /// Remembers whether a writer answered at all.
    fn remember(&self, address: &str, outcome: Result<(), &PeerError>) {
        if let Some(connection) = self.connections().get_mut(address) {
            connection.failed = match outcome {
                Err(error @ (PeerError::Late(_) | PeerError::Unreachable(_))) => Some((Instant::now(), error.clone())),
                _ => None,
            };
        }
    }

    /// The whole answer, within the time of a call.
    async fn call<M: Message + Send + Sync + 'static>(
        &self,
        method: &'static str,
        writer: &Record,
        message: M,
    ) -> Result<Vec<u8>, PeerError> {
        self.call_within(self.timeout, method, &writer.address, message).await
    }

    /// As [`call`](Self::call), within another time.
    pub(crate) async fn call_within<M: Message + Send + Sync + 'static>(
        &self,
        timeout: Duration,
        method: &'static str,
        address: &str,
        message: M,
    ) -> Result<Vec<u8>, PeerError> {
        let channel = self.channel(address)?;
        let call = tokio::time::timeout(timeout, call(channel, method, message));
        let answered = call.await.unwrap_or(Err(PeerError::Late(timeout)));
        self.remember(address, answered.as_ref().map(drop));
        self.telemetry.asked(method.rsplit('/').next().unwrap_or(method), answered.is_ok());
        answered.inspect(|bytes| self.telemetry.received(bytes.len()))
    }

    async fn decode<T: Send + 'static>(
        &self,
        decode: impl FnOnce() -> Result<T, PeerError> + Send + 'static,
    ) -> Result<T, PeerError> {
        self.cpu.run(decode).await.unwrap_or_else(|error| Err(damaged(error)))
    }
}

#[async_trait]
impl Peers for GrpcPeers {
    async fn live(&self, writer: &Record, question: &Question) -> Result<Answer, PeerError> {
        let bytes = self.call(wire::LIVE, writer, LiveRequest::from(question)).await?;
        self.decode(move || LiveAnswer::decode(bytes.as_slice()).map_err(damaged)?.answer()).await
    }

    async fn table(&self, writer: &Record, tenant: &TenantId, id: TableId) -> Result<Option<SpanTable>, PeerError> {
        let _turn = self.fetches.acquire().await.map_err(damaged)?;
        let incarnation = writer.incarnation.0.as_bytes().to_vec();
        let request = TableRequest { tenant: tenant.to_string(), incarnation, id: id.0 };
        let bytes = self.call(wire::TABLE, writer, request).await?;
        let table = move || {
            let TableAnswer { rows } = TableAnswer::decode(bytes.as_slice()).map_err(damaged)?;
            (!rows.is_empty()).then(|| wire::decode(&rows)).transpose()
        };
        self.decode(table).await
    }

    async fn halves(&self, writer: &Record, question: Vec<u8>) -> Result<Vec<u8>, PeerError> {
        self.call(wire::HALVES, writer, HalvesRequest { question }).await
    }
}

async fn call<M: Message + Send + Sync + 'static>(
    channel: Channel,
    method: &'static str,
    message: M,
) -> Result<Vec<u8>, PeerError> {
    let mut client = tonic::client::Grpc::new(channel)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(wire::MESSAGE_BYTES);
    client.ready().await.map_err(unreachable)?;
    let codec = ProstCodec::<M, Piece>::default();
    let path = PathAndQuery::from_static(method);
    let answer = client.server_streaming(Request::new(message), path, codec).await.map_err(of_status)?;
    let (mut pieces, mut bytes) = (answer.into_inner(), Vec::new());
    while let Some(piece) = pieces.message().await.map_err(of_status)? {
        if bytes.len() + piece.bytes.len() > wire::ANSWER_BYTES {
            return Err(damaged(format!("it has more than {} bytes", wire::ANSWER_BYTES)));
        }
        bytes.extend_from_slice(&piece.bytes);
    }
    Ok(bytes)
}

fn unreachable(error: tonic::transport::Error) -> PeerError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    PeerError::Unreachable(text)
}

fn of_status(status: Status) -> PeerError {
    match status.code() {
        Code::FailedPrecondition => PeerError::Elsewhere,
        Code::Unavailable if status.message() == NOT_WHOLE => PeerError::NotWhole,
        Code::Aborted => PeerError::OfQuery(status.message().to_owned()),
        Code::Unavailable | Code::Unknown | Code::Cancelled => PeerError::Unreachable(status.message().to_owned()),
        _ => PeerError::Refused(status.message().to_owned()),
    }
}

#[cfg(test)]
mod tests;
