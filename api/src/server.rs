//! Sockets, connections, and the ordered stop: stop accepting, let requests in flight finish, close what is left.

mod activity;
mod connection;
mod lenient;
mod receivers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use futures::future::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::connection::Port;
use self::receivers::Receivers;
use crate::auth::{Guard, guard};
use crate::{Config, CorsConfig, Edge, Error, ListenAddress, Listener, ListenerFiles, jaeger, otlp, routes, zipkin};

pub use self::receivers::ReceiverAddresses;

/// How long accepting pauses when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Windows of HTTP/2, per stream and per connection: batches of spans are larger than the 64 KiB of the standard.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// HTTP/2 pings that find dead peers, and how long an answer may take.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Listening sockets: connections queue up from here on, and are answered once [`Servers::serve`] runs.
pub struct Servers {
    http: TcpListener,
    otlp_grpc: Option<TcpListener>,
    otlp_http: Option<TcpListener>,
    receivers: Receivers,
    files: ListenerFiles,
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
    /// Reads the files and opens the sockets that the config names.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let files = ListenerFiles::load(config)?;
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
        Ok(Self { http, otlp_grpc, otlp_http, receivers, files })
    }

    /// What the listeners use, to be read again.
    pub fn files(&self) -> ListenerFiles {
        self.files.clone()
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
    pub fn serve(self, edge: Arc<Edge>, shutdown: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(self.answer(edge, shutdown)) // see `docs/decisions/0035-the-first-build.md`
    }

    async fn answer(mut self, edge: Arc<Edge>, shutdown: CancellationToken) {
        let mut ports = JoinSet::new();
        let config = edge.config.clone();
        let mut open = |listener: Listener, socket: Option<TcpListener>, router: Router, cors: &CorsConfig| {
            let Some(socket) = socket else { return };
            let port = Port {
                listener,
                router: protected(router, &edge, listener, &self.files, cors),
                builder: builder(&config),
                tls: self.files.tls(listener),
                telemetry: edge.telemetry.clone(),
                first_request_timeout: config.first_request_timeout(),
                idle_timeout: config.idle_timeout(),
                draining: CancellationToken::new(),
            };
            let acceptor = Acceptor { port: Arc::new(port), drain_timeout: drain_timeout(&config) };
            ports.spawn(acceptor.serve(socket, config.max_connections, shutdown.clone()));
        };
        open(Listener::Http, Some(self.http), routes::router(edge.clone()), &config.http_cors);
        open(Listener::OtlpGrpc, self.otlp_grpc, otlp::grpc::router(edge.clone()), &CorsConfig::default());
        let cors = config.otlp_http.as_ref().map(|http| http.cors.clone()).unwrap_or_default();
        open(Listener::OtlpHttp, self.otlp_http, otlp::http::router(edge.clone()), &cors);
        let none = CorsConfig::default();
        open(Listener::JaegerGrpc, self.receivers.jaeger_grpc.take(), jaeger::grpc::router(edge.clone()), &none);
        open(Listener::JaegerThriftHttp, self.receivers.jaeger_http.take(), jaeger::http::router(edge.clone()), &none);
        open(Listener::Zipkin, self.receivers.zipkin.take(), zipkin::router(edge.clone()), &none);
        for agent in self.receivers.take_agents(&config) {
            ports.spawn(agent.serve(edge.clone(), shutdown.clone()));
        }
        if let Some(topic) = self.receivers.kafka.take() {
            ports.spawn(topic.serve(edge.clone(), shutdown.clone()));
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

/// What stands around the routes of a listener: CORS, and within it who may ask.
fn protected(router: Router, edge: &Arc<Edge>, listener: Listener, files: &ListenerFiles, cors: &CorsConfig) -> Router {
    let router = match files.credentials(listener) {
        Some(credentials) => {
            router.layer(from_fn_with_state(Guard { edge: edge.clone(), credentials, listener }, guard))
        }
        None => router,
    };
    // names that are wrong were refused when the files were loaded
    match cors.layer() {
        Ok(Some(layer)) => router.layer(layer),
        Ok(None) | Err(_) => router,
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
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// A listening port: accepts while there are places, and stops in order.
struct Acceptor {
    port: Arc<Port>,
    drain_timeout: Duration,
}

impl Acceptor {
    async fn serve(self, listener: TcpListener, max_connections: usize, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(max_connections));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_closed) = connections.join_next() => {}
                accepted = self.accept(&listener, &places) => {
                    if let Some((stream, place)) = accepted {
                        let port = self.port.clone();
                        connections.spawn(async move {
                            port.serve(stream).await;
                            drop(place);
                        });
                    }
                }
            }
        }
        drop(listener);
        self.drain(connections).await;
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
                warn!(listener = %self.port.listener, %error, "accept failed, pausing");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        debug!(listener = %self.port.listener, connections = connections.len(), "draining");
        self.port.draining.cancel();
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain_timeout, ended).await.is_err() {
            warn!(listener = %self.port.listener, connections = connections.len(), "closing connections that did not finish");
        }
        connections.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
