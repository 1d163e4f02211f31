//! One connection, from the TLS handshake to its end. Each step of it has a deadline, so that a client that does nothing
//! gives its place back.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use super::activity::{Activity, Idle, RunningBody};
use super::lenient::Lenient;
use crate::tls::Tls;
use crate::{Listener, Telemetry};

/// How long the first bytes and a TLS handshake may take together.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the answer to plain HTTP may take on a port that speaks TLS.
const PLAIN_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client that was told to go may stay.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(30);

const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
content-length: 50\r\n\r\n400 this port speaks TLS: write https, not http  \r\n";

/// What the connections of a port share.
pub(super) struct Port {
    pub(super) listener: Listener,
    pub(super) router: Router,
    pub(super) builder: auto::Builder<TokioExecutor>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) telemetry: Telemetry,
    pub(super) first_request_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) draining: CancellationToken,
}

impl Port {
    /// Serves a client until it goes, or has to.
    pub(super) async fn serve(&self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(listener = %self.listener, %error, "set nodelay failed");
        }
        let Some(tls) = &self.tls else { return self.converse(stream).await };
        let handshake = timeout(HANDSHAKE_TIMEOUT, self.handshake(tls, stream));
        let stream = tokio::select! {
            shaken = handshake => shaken.ok().flatten(),
            () = self.draining.cancelled() => return,
        };
        match stream {
            Some(stream) => self.converse(stream).await,
            None => self.telemetry.handshake_failed(self.listener),
        }
    }

    async fn handshake(
        &self,
        tls: &Tls,
        mut stream: TcpStream,
    ) -> Option<impl AsyncRead + AsyncWrite + Unpin + 'static + use<>> {
        let mut first = [0];
        // a method, or the preface of HTTP/2
        if stream.peek(&mut first).await.is_ok() && first[0].is_ascii_uppercase() {
            _ = timeout(PLAIN_ANSWER_TIMEOUT, stream.write_all(NOT_TLS)).await;
            return None;
        }
        let shaken = tls.acceptor().accept(stream).await;
        shaken.inspect_err(|error| debug!(listener = %self.listener, %error, "TLS handshake failed")).ok()
    }

    /// Answers requests. hyper's own deadlines begin when it knows which version of HTTP is spoken, and HTTP/2 has none
    /// for a client that has nothing to ask.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin + 'static>(&self, stream: S) {
        let activity = Arc::new(Activity::default());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let running = activity.begin();
            let answered = self.router.clone().oneshot(request.map(Body::new));
            async { answered.await.map(|response| response.map(|body| RunningBody::new(body, running))) }
        });
        let io = TokioIo::new(Lenient::new(stream));
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = self.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                Some(connection.await)
            }
            idle = activity.idle(self.first_request_timeout, self.idle_timeout) => {
                debug!(listener = %self.listener, ?idle, "closing a connection without a request");
                if idle == Idle::BeforeFirst {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                timeout(FAREWELL_TIMEOUT, connection).await.ok()
            }
        };
        if let Some(Err(error)) = ended {
            debug!(listener = %self.listener, %error, "connection ended with an error");
        }
    }
}
