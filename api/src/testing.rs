//! What tests of handlers need: an edge over an empty store, and a client without a socket.

pub(crate) mod certificates;
mod parts;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use model::limits::TenantLimits;
use prometheus_client::registry::Registry;
use storage::testing::Disk;
use tower::ServiceExt;

use self::parts::Parts;
use crate::{Config, Edge, ListenAddress, ListenHost, Telemetry};

/// An edge, and the disk of its log.
pub(crate) struct TestEdge {
    pub(crate) edge: Arc<Edge>,
    pub(crate) disk: Disk,
}

pub(crate) async fn edge(config: Config) -> TestEdge {
    let mut registry = Registry::default();
    let telemetry = Telemetry::register(&mut registry);
    let limits = Arc::new(TenantLimits::default());
    let Parts { ingester, querier, disk } = Parts::open(limits.clone(), &mut registry).await;
    let edge = Edge::new(config, ingester, querier, limits, telemetry, Arc::new(registry), "some: config\n".to_owned());
    let edge = Arc::new(edge);
    TestEdge { edge, disk }
}

/// Ports that the system chooses, on the loopback interface.
pub(crate) fn local_config() -> Config {
    let free_port = ListenAddress::new(ListenHost::loopback(), 0);
    let mut config = Config { http_listen: free_port.clone(), ..Config::default() };
    if let (Some(grpc), Some(http)) = (&mut config.otlp_grpc, &mut config.otlp_http) {
        grpc.endpoint = free_port.clone();
        http.endpoint = free_port;
    }
    config
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Those before the body, and those behind it.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn content_type(&self) -> &str {
        self.header(header::CONTENT_TYPE.as_str())
    }
}

/// One gRPC message: a flag, a length, the bytes.
pub(crate) fn frame(is_compressed: bool, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(is_compressed.into());
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

/// A gRPC request.
pub(crate) fn grpc_request(path: &str, headers: &[(&str, &str)], body: Bytes) -> Request<Body> {
    let mut request = Request::builder().method("POST").uri(path).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

pub(crate) async fn ask(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let (mut head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    head.headers.extend(body.trailers().cloned().unwrap_or_default());
    Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() }
}
