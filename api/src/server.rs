//! Sockets, connections, and the ordered stop: stop accepting, let requests in flight finish, close what is left.

use std::net::SocketAddr;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::{Config, Edge, Error, otlp, tempo};

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
}

/// Where the servers listen, with the ports that the system chose for port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub http: SocketAddr,
    pub otlp_grpc: Option<SocketAddr>,
    pub otlp_http: Option<SocketAddr>,
}

impl Servers {
    /// Opens the sockets that the config names.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let prefix = &config.http_api_prefix;
        if !prefix.is_empty() && (!prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['{', '*'])) {
            return Err(Error::ApiPrefix(prefix.clone()));
        }
        let http_address = socket_text(&config.http_listen_address, config.http_listen_port);
        let http = listen("http", &http_address).await?;
        let otlp_grpc = match &config.otlp_grpc {
            Some(grpc) => Some(listen("otlp grpc", &grpc.endpoint).await?),
            None => None,
        };
        let otlp_http = match &config.otlp_http {
            Some(http) => Some(listen("otlp http", &http.endpoint).await?),
            None => None,
        };
        Ok(Self { http, otlp_grpc, otlp_http })
    }

    pub fn addresses(&self) -> Result<Addresses, Error> {
        let optional = |service, listener: &Option<TcpListener>| {
            listener.as_ref().map(|listener| local_address(service, listener)).transpose()
        };
        Ok(Addresses {
            http: local_address("http", &self.http)?,
            otlp_grpc: optional("otlp grpc", &self.otlp_grpc)?,
            otlp_http: optional("otlp http", &self.otlp_http)?,
        })
    }

    /// Answers until `shutdown` is cancelled and all connections are closed, which takes the drain timeout at most.
    ///
    /// # Panics
    /// When one of the ports has panicked: a process must not go on with some of its ports.
    pub async fn serve(self, edge: Arc<Edge>, shutdown: CancellationToken) {
        let mut ports = JoinSet::new();
        let config = edge.config.clone();
        let mut open = |service: &'static str, listener: Option<TcpListener>, router: Router| {
            if let Some(listener) = listener {
                let port = Port { service, router, builder: builder(&config), drain_timeout: drain_timeout(&config) };
                ports.spawn(port.serve(listener, config.max_connections, shutdown.clone()));
            }
        };
        open("http", Some(self.http), tempo::router(edge.clone()));
        open("otlp grpc", self.otlp_grpc, otlp::grpc::router(edge.clone()));
        open("otlp http", self.otlp_http, otlp::http::router(edge));
        while let Some(ended) = ports.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn socket_text(address: &str, port: u16) -> String {
    // An IPv6 address needs brackets before a port.
    if address.contains(':') && !address.starts_with('[') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

async fn listen(service: &'static str, address: &str) -> Result<TcpListener, Error> {
    let to_error = |source| Error::Listen { service, address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(to_error)?;
    Ok(listener)
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
        let router = self.router.clone().map_request(|request: hyper::Request<Incoming>| request.map(Body::new));
        let io = TokioIo::new(stream);
        let connection = self.builder.serve_connection(io, TowerToHyperService::new(router)).into_owned();
        let watched = graceful.watch(connection);
        async move {
            let _place = place;
            if let Err(error) = watched.await {
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
