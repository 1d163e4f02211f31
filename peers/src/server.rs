//! The listener that answers other processes: for the live rows of this one, and with what it finds in blocks for them.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use prost::Message;
use querier::jobs::message::Job;
use storage::CpuPool;
use storage::ids::NodeId;
use storage::view::TableId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::{Connected, TcpIncoming};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};
use tracing::warn;

use crate::AnswerHalves;
use crate::holder::Holder;
use crate::question::PeerError;
use crate::transport::Socket;
use crate::wire::{
    self, HalvesRequest, HelloAnswer, HelloRequest, LiveAnswer, LiveRequest, NOT_WHOLE, PIECE_BYTES, Piece,
    TableAnswer, TableRequest,
};
use crate::worker::Worker;

/// Calls that are answered at once; others wait until their asker gives up. Each may hold a table, as it is sent.
const CALLS_AT_ONCE: usize = 16;
/// Calls of one connection, so of one process, that may wait or be answered.
const CALLS_PER_CONNECTION: u32 = 64;
/// HTTP/2 pings that find processes that are gone.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Jobs of other processes that are done at once, apart from the calls for live rows: others wait until they are late. Within
/// the process they take turns with its own queries.
pub(crate) const JOBS_AT_ONCE: usize = 8;

/// Answers other processes. Dropping a call ends it, but for what already runs on the CPU pool; that ends soon after.
#[derive(Clone)]
pub struct Server {
    node: NodeId,
    /// Of a process that takes spans.
    holder: Option<Holder>,
    worker: Option<Worker>,
    /// None where no metrics are made.
    halves: Option<AnswerHalves>,
    cpu: CpuPool,
    calls: Arc<Semaphore>,
    jobs: Arc<Semaphore>,
}

type Pieces = BoxStream<'static, Result<Piece, Status>>;

impl Server {
    pub fn new(node: NodeId, cpu: CpuPool) -> Self {
        let [calls, jobs] = [CALLS_AT_ONCE, JOBS_AT_ONCE].map(|most| Arc::new(Semaphore::new(most)));
        Self { node, holder: None, worker: None, halves: None, cpu, calls, jobs }
    }

    /// Answers for live rows.
    #[must_use]
    pub fn with_holder(self, holder: Holder) -> Self {
        Self { holder: Some(holder), ..self }
    }

    /// Does jobs of queries.
    #[must_use]
    pub fn with_worker(self, worker: Worker) -> Self {
        Self { worker: Some(worker), ..self }
    }

    /// Answers for the metrics generator, too.
    #[must_use]
    pub fn with_halves(self, halves: AnswerHalves) -> Self {
        Self { halves: Some(halves), ..self }
    }

    /// Answers until `shutdown` is cancelled and the calls under way have ended.
    pub fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
        let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
        self.listen(address, TcpIncoming::from(listener).with_nodelay(Some(true)), shutdown)
    }

    /// The same, on connections that are not of TCP.
    pub fn serve_over(
        self,
        incoming: impl Stream<Item = io::Result<Box<dyn Socket>>> + Send + 'static,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        self.listen("no address".to_owned(), incoming, shutdown)
    }

    fn listen<C: AsyncRead + AsyncWrite + Connected + Send + Unpin + 'static>(
        self,
        address: String,
        incoming: impl Stream<Item = io::Result<C>> + Send + 'static,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        // boxed for `docs/decisions/0035-the-first-build.md`
        Box::pin(async move {
            let server = tonic::transport::Server::builder()
                .http2_keepalive_interval(Some(PING_INTERVAL))
                .max_concurrent_streams(CALLS_PER_CONNECTION)
                .add_service(self)
                .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned());
            if let Err(error) = server.await {
                warn!(address, %error, "the listener for other processes has ended");
            }
        })
    }

    /// Jobs that are being done.
    #[cfg(test)]
    pub(crate) fn jobs_under_way(&self) -> usize {
        JOBS_AT_ONCE - self.jobs.available_permits()
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
        let holder = self.holder.ok_or_else(|| PeerError::Refused("it takes no spans".to_owned()))?;
        self.cpu.run(move || work(&holder)).await.unwrap_or_else(|error| Err(PeerError::Refused(error.to_string())))
    }

    async fn job(self, job: Job) -> Result<Vec<u8>, PeerError> {
        let worker = self.worker.ok_or_else(|| PeerError::Refused("it does no jobs".to_owned()))?;
        Ok(worker.run(&job).await?.encode_to_vec())
    }

    async fn hello(self, _request: HelloRequest) -> Result<Vec<u8>, PeerError> {
        Ok(HelloAnswer { node: self.node.0.as_bytes().to_vec() }.encode_to_vec())
    }

    /// Answers in pieces, in turn with other calls.
    async fn in_pieces(
        turns: Arc<Semaphore>,
        answer: impl Future<Output = Result<Vec<u8>, PeerError>>,
    ) -> Result<Response<Pieces>, Status> {
        let turn = turns.acquire_owned().await.map_err(|_| Status::unavailable("the process is stopping"))?;
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
        PeerError::OfQuery(reason) => Status::aborted(reason),
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
                wire::LIVE => server.answer(request, &server.calls, Self::live).await,
                wire::TABLE => server.answer(request, &server.calls, Self::table).await,
                wire::HALVES => server.answer(request, &server.calls, Self::halves).await,
                wire::HELLO => server.answer(request, &server.calls, Self::hello).await,
                wire::JOB => server.answer(request, &server.jobs, Self::job).await,
                path => Status::unimplemented(format!("unknown method {path}")).into_http(),
            })
        }
        .boxed()
    }
}

impl Server {
    async fn answer<M, F>(
        &self,
        request: http::Request<Body>,
        turns: &Arc<Semaphore>,
        answer: impl Fn(Self, M) -> F + Clone + Send + Sync,
    ) -> http::Response<Body>
    where
        M: Message + Default + Send + 'static,
        F: Future<Output = Result<Vec<u8>, PeerError>> + Send,
    {
        let answer = |message: Request<M>| {
            let (server, turns, answer) = (self.clone(), turns.clone(), answer.clone());
            async move { Self::in_pieces(turns, answer(server, message.into_inner())).await }
        };
        grpc().server_streaming(service_fn(answer), request).await
    }
}

fn grpc<M: Message + Default + Send + 'static>() -> Grpc<ProstCodec<Piece, M>> {
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(wire::JOB_BYTES)
        .send_compressed(CompressionEncoding::Zstd)
}
