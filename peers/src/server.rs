//! The listener that answers other processes for the live rows of this one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use prost::Message;
use storage::CpuPool;
use storage::view::TableId;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tracing::warn;

use crate::AnswerHalves;
use crate::holder::Holder;
use crate::question::PeerError;
use crate::wire::{self, HalvesRequest, LiveAnswer, LiveRequest, PIECE_BYTES, Piece, TableAnswer, TableRequest};

/// Calls that are answered at once; others wait until their asker gives up. Each may hold a table, as it is sent.
const CALLS_AT_ONCE: usize = 16;
/// Calls of one connection, so of one process, that may wait or be answered.
const CALLS_PER_CONNECTION: u32 = 64;
/// HTTP/2 pings that find processes that are gone.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// What a writer says that is still reading its log.
pub(crate) const NOT_WHOLE: &str = "the log is being read";

/// Answers for live rows. Dropping a call ends it, but for what already runs on the CPU pool.
#[derive(Clone)]
pub struct Server {
    holder: Holder,
    /// None where no metrics are made.
    halves: Option<AnswerHalves>,
    cpu: CpuPool,
    calls: Arc<Semaphore>,
}

type Pieces = BoxStream<'static, Result<Piece, Status>>;

impl Server {
    pub fn new(holder: Holder, cpu: CpuPool) -> Self {
        Self { holder, halves: None, cpu, calls: Arc::new(Semaphore::new(CALLS_AT_ONCE)) }
    }

    /// Answers for the metrics generator, too.
    pub fn with_halves(self, halves: AnswerHalves) -> Self {
        Self { halves: Some(halves), ..self }
    }

    /// Answers until `shutdown` is cancelled and the calls under way have ended.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let address = listener.local_addr().ok();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .max_concurrent_streams(CALLS_PER_CONNECTION)
            .add_service(self)
            .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned());
        if let Err(error) = server.await {
            let address = address.map(|address: SocketAddr| address.to_string());
            warn!(address, %error, "the listener for other processes has ended");
        }
    }

    async fn live(self, request: LiveRequest) -> Result<Vec<u8>, PeerError> {
        let question = request.question()?;
        self.on_cpu(move |holder| Ok(LiveAnswer::of(&holder.answer(&question)?)?.encode_to_vec())).await
    }

    async fn table(self, request: TableRequest) -> Result<Vec<u8>, PeerError> {
        let (tenant, incarnation) = (wire::tenant(&request.tenant)?, wire::incarnation(&request.incarnation)?);
        let table = move |holder: &Holder| {
            let table = holder.table(&incarnation, &tenant, TableId(request.id))?;
            let rows = table.map(|table| wire::encode(&table)).transpose()?.unwrap_or_default();
            Ok(TableAnswer { rows }.encode_to_vec())
        };
        self.on_cpu(table).await
    }

    async fn halves(self, HalvesRequest { question }: HalvesRequest) -> Result<Vec<u8>, PeerError> {
        let halves = self.halves.clone().ok_or_else(|| PeerError::Refused("it makes no metrics".to_owned()))?;
        self.on_cpu(move |_| Ok(halves(&question))).await
    }

    async fn on_cpu(
        self,
        work: impl FnOnce(&Holder) -> Result<Vec<u8>, PeerError> + Send + 'static,
    ) -> Result<Vec<u8>, PeerError> {
        let holder = self.holder;
        self.cpu.run(move || work(&holder)).await.unwrap_or_else(|error| Err(PeerError::Refused(error.to_string())))
    }

    /// Answers in pieces, in turn with other calls.
    async fn in_pieces(
        self,
        answer: impl Future<Output = Result<Vec<u8>, PeerError>>,
    ) -> Result<Response<Pieces>, Status> {
        let turn = self.calls.acquire_owned().await.map_err(|_| Status::unavailable("the process is stopping"))?;
        let bytes = Bytes::from(answer.await.map_err(status)?);
        let pieces = (0..bytes.len()).step_by(PIECE_BYTES).map(move |begin| {
            _ = &turn; // until the last piece is taken
            Ok(Piece { bytes: bytes.slice(begin..bytes.len().min(begin + PIECE_BYTES)) })
        });
        Ok(Response::new(stream::iter(pieces).boxed()))
    }
}

fn status(error: PeerError) -> Status {
    match error {
        PeerError::Elsewhere => Status::failed_precondition(error.to_string()),
        PeerError::NotWhole => Status::unavailable(NOT_WHOLE),
        PeerError::Damaged(reason) => Status::invalid_argument(reason),
        error => Status::internal(error.to_string()),
    }
}

impl NamedService for Server {
    const NAME: &'static str = wire::SERVICE;
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        async move {
            Ok(match request.uri().path() {
                wire::LIVE => {
                    let answer = |message: Request<LiveRequest>| {
                        let server = server.clone();
                        async move { server.clone().in_pieces(server.live(message.into_inner())).await }
                    };
                    grpc().server_streaming(service_fn(answer), request).await
                }
                wire::TABLE => {
                    let answer = |message: Request<TableRequest>| {
                        let server = server.clone();
                        async move { server.clone().in_pieces(server.table(message.into_inner())).await }
                    };
                    grpc().server_streaming(service_fn(answer), request).await
                }
                wire::HALVES => {
                    let answer = |message: Request<HalvesRequest>| {
                        let server = server.clone();
                        async move { server.clone().in_pieces(server.halves(message.into_inner())).await }
                    };
                    grpc().server_streaming(service_fn(answer), request).await
                }
                path => Status::unimplemented(format!("unknown method {path}")).into_http(),
            })
        }
        .boxed()
    }
}

fn grpc<M: Message + Default + Send + 'static>() -> Grpc<ProstCodec<Piece, M>> {
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(wire::MESSAGE_BYTES)
        .send_compressed(CompressionEncoding::Zstd)
}
