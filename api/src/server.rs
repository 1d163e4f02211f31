//! Sockets, connections, and the ordered stop: stop accepting, let requests in flight finish, close what is left.

mod lenient;
mod receivers;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use self::lenient::Lenient;
use self::receivers::Receivers;
use crate::{Config, Edge, Error, ListenAddress, jaeger, otlp, tempo, zipkin};

pub use self::receivers::ReceiverAddresses;

/// How long accepting pauses when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Windows of HTTP/2, per stream and per connection: batches of spans are larger than the 64 KiB of the standard.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// HTTP/2 pings that find dead peers.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// Listening sockets: connections queue up from here on, and are answered once [`Servers::serve`] runs.
pub struct Servers {
    http: TcpListener,
    otlp_grpc: Option<TcpListener>,
    otlp_http: Option<TcpListener>,
    receivers: Receivers,
}

/// Where the servers listen, with the ports that the system chose for port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub http: SocketAddr,
    pub otlp_grpc: Option<SocketAddr>,
    pub otlp_http: Option<SocketAddr>,
    pub receivers: ReceiverAddresses,
}

impl Servers {
    /// Opens the sockets that the config names.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let http = listen("http", &config.http_listen).await?;
        let otlp_grpc = match &config.otlp_grpc {
            Some(grpc) => Some(listen("otlp grpc", &grpc.endpoint).await?),
            None => None,
        };
        let otlp_http = match &config.otlp_http {
            Some(http) => Some(listen("otlp http", &http.endpoint).await?),
            None => None,
        };
        let receivers = Receivers::bind(config).await?;
        Ok(Self { http, otlp_grpc, otlp_http, receivers })
    }

    pub fn addresses(&self) -> Result<Addresses, Error> {
        let optional = |service, listener: &Option<TcpListener>| {
            listener.as_ref().map(|listener| local_address(service, listener)).transpose()
        };
        Ok(Addresses {
            http: local_address("http", &self.http)?,
            otlp_grpc: optional("otlp grpc", &self.otlp_grpc)?,
            otlp_http: optional("otlp http", &self.otlp_http)?,
            receivers: self.receivers.addresses()?,
        })
    }

    /// Answers until `shutdown` is cancelled and all connections are closed, which takes the drain timeout at most.
    ///
    /// # Panics
    /// When one of the ports has panicked: a process must not go on with some of its ports.
    pub async fn serve(mut self, edge: Arc<Edge>, shutdown: CancellationToken) {
        let mut ports = JoinSet::new();
        let config = edge.config.clone();
        let mut open = |service: &'static str, listener: Option<TcpListener>, router: Router| {
            if let Some(listener) = listener {
                let port = Port {
                    service,
                    router,
                    builder: builder(&config),
                    drain_timeout: drain_timeout(&config),
                    first_request_timeout: config.first_request_timeout(),
                };
                ports.spawn(port.serve(listener, config.max_connections, shutdown.clone()));
            }
        };
        open("http", Some(self.http), tempo::router(edge.clone()));
        open("otlp grpc", self.otlp_grpc, otlp::grpc::router(edge.clone()));
        open("otlp http", self.otlp_http, otlp::http::router(edge.clone()));
        open("jaeger grpc", self.receivers.jaeger_grpc.take(), jaeger::grpc::router(edge.clone()));
        open("jaeger thrift http", self.receivers.jaeger_http.take(), jaeger::http::router(edge.clone()));
        open("zipkin", self.receivers.zipkin.take(), zipkin::router(edge.clone()));
        for agent in self.receivers.take_agents(&config) {
            ports.spawn(agent.serve(edge.clone(), shutdown.clone()));
        }
        while let Some(ended) = ports.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

async fn listen(service: &'static str, address: &ListenAddress) -> Result<TcpListener, Error> {
    address.bind().await.map_err(|source| Error::Listen { service, address: address.to_string(), source })
}

fn local_address(service: &'static str, listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen { service, address: "its socket".to_owned(), source })
}

fn drain_timeout(config: &Config) -> Duration {
    Duration::from_secs(config.drain_timeout_seconds)
}

/// HTTP/1.1 and HTTP/2 with prior knowledge, whichever the client begins with.
fn builder(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_read_timeout_seconds));
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL);
    builder
}

/// One listening port and what it answers.
struct Port {
    service: &'static str,
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    drain_timeout: Duration,
    first_request_timeout: Duration,
}

impl Port {
    async fn serve(self, listener: TcpListener, max_connections: usize, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(max_connections));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_closed) = connections.join_next() => {}
                accepted = self.accept(&listener, &places) => {
                    if let Some((stream, place)) = accepted {
                        connections.spawn(self.connection(stream, place, &graceful));
                    }
                }
            }
        }
        drop(listener);
        self.drain(graceful, connections).await;
    }

    /// The next connection, once there is a place for it; `None` after a fault that concerns no connection of ours.
    async fn accept(
        &self,
        listener: &TcpListener,
        places: &Arc<Semaphore>,
    ) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = places.clone().acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, _peer)) => Some((stream, place)),
            Err(error) => {
                warn!(service = self.service, %error, "accept failed, pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        graceful: &GracefulShutdown,
    ) -> impl Future<Output = ()> + use<> {
        let service = self.service;
        if let Err(error) = stream.set_nodelay(true) {
            debug!(service, %error, "set nodelay failed");
        }
        let (asked, first_request_timeout) = (Arc::new(Notify::new()), self.first_request_timeout);
        let first_request = asked.clone();
        let router = self.router.clone().map_request(move |request: hyper::Request<Incoming>| {
            asked.notify_one();
            request.map(Body::new)
        });
        let io = TokioIo::new(Lenient::new(stream));
        let connection = self.builder.serve_connection(io, TowerToHyperService::new(router)).into_owned();
        let watched = graceful.watch(connection);
        async move {
            let _place = place;
            let mut watched = pin!(watched);
            // hyper's own deadlines begin when it knows which version of HTTP is spoken
            let ended = tokio::select! {
                ended = &mut watched => ended,
                () = first_request.notified() => watched.await,
                () = tokio::time::sleep(first_request_timeout) => {
                    return debug!(service, "closing a connection without a request");
                }
            };
            if let Err(error) = ended {
                debug!(service, %error, "connection ended with an error");
            }
        }
    }

    async fn drain(&self, graceful: GracefulShutdown, mut connections: JoinSet<()>) {
        let open = graceful.count();
        debug!(service = self.service, connections = open, "draining");
        if tokio::time::timeout(self.drain_timeout, graceful.shutdown()).await.is_err() {
            warn!(service = self.service, connections = connections.len(), "closing connections that did not finish");
        }
        connections.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
