//! The edge: alone knows HTTP, gRPC, JSON, headers and status codes. Everything behind it speaks in types.
//!
//! | Port | Endpoint | Handler | Calls |
//! |---|---|---|---|
//! | OTLP gRPC | `TraceService/Export` | `otlp/grpc.rs` | `Ingester::push` |
//! | OTLP HTTP | `POST /v1/traces` | `otlp/http.rs` | `Ingester::push` |
//! | Jaeger gRPC | `jaeger.api_v2.CollectorService/PostSpans` | `jaeger/grpc.rs` | `Ingester::push` |
//! | Jaeger HTTP | `POST /api/traces` | `jaeger/http.rs` | `Ingester::push` |
//! | Jaeger UDP, compact and binary | `emitBatch` | `jaeger/udp.rs` | `Ingester::push` |
//! | Zipkin | `POST /api/v2/spans`, `/api/v1/spans` | `zipkin.rs` | `Ingester::push` |
//! | none | records of a topic of Kafka | `kafka.rs` | `Ingester::push` |
//! | HTTP | `/api/traces/{id}`, `/api/v2/traces/{id}` | `tempo/trace.rs` | `Querier::trace_by_id` |
//! | HTTP | `/api/search` | `tempo/search.rs` | `Querier::search` |
//! | HTTP | `/api/search/tags`, `/api/v2/search/tags` | `tempo/tags.rs` | `Querier::tag_names` |
//! | HTTP | `/api/search/tag/{tag}/values`, `/api/v2/…` | `tempo/tags.rs` | `Querier::tag_values` |
//! | HTTP | `/api/metrics/query_range`, `/api/metrics/query` | `tempo/metrics.rs` | `Querier::metrics` |
//! | HTTP | `/api/deletions` | `deletions.rs` | `Deletions` |
//! | HTTP | `/api/overrides` | `overrides.rs` | `UserOverrides` |
//! | HTTP | `/api/mcp` | `tempo/mcp.rs` | as the paths above |
//! | HTTP | `/api/service-graph` | `tempo/service_graph.rs` | `Querier::summarize` with a `ServiceMapper` |
//! | HTTP | `/metrics/generated` | `generated.rs` | `Generator::exposition` |
//! | HTTP | `/flush` | `status.rs` | `Ingester::flush` |
//! | HTTP | `/ready`, `/metrics`, `/status*`, `/api/echo`, `/api/status/buildinfo` | `status.rs` | – |
//! | HTTP | `/`, `/ui/*` | `ui.rs` | – |
//! | HTTP | gRPC `tempopb.StreamingQuerier` | `tempo/streaming.rs` | as the paths above |
//! | HTTP, OTLP gRPC | `grpc.health.v1.Health/Check` | `grpc.rs` | – |
//!
//! ```text
//! server.rs   sockets, connections, ordered stop
//!   ├─ otlp.rs    in:  body → OTLP bytes → push → OTLP answer
//!   ├─ jaeger.rs, zipkin.rs, kafka.rs   in: the same, by the translation of `receivers`
//!   ├─ routes.rs  every path of the HTTP port, and who answers
//!   ├─ tempo.rs   out: URL or message → request → querier → message (proto.rs) → JSON, protobuf or a stream
//!   ├─ ui.rs     the page: files of ui/dist
//!   └─ status.rs  probes
//! negotiation.rs  what a client can read     plain_text.rs  refusals before a handler     clean_paths.rs  `//api` → `/api`
//! grpc.rs     what both ports that speak gRPC share         request_span.rs  mosso's own traces
//! tenant.rs   X-Scope-OrgID → TenantId        error.rs   ErrorKind → status: the only mapping
//! tls.rs      certificates and keys           auth.rs    who may ask         cors.rs   pages of other origins
//! listener_files.rs   both of the first two, read again when their files change
//! ```
//!
//! Absent on purpose: rings and memberlist of Tempo; they answer 404.

mod server;

mod deletions;
mod generated;
mod otlp;
mod overrides;

mod jaeger;
mod kafka;
mod zipkin;

mod routes;

mod status;
mod tempo;
mod ui;

mod clean_paths;
mod grpc;
mod negotiation;
mod plain_text;
mod request_span;
mod tenant;

mod auth;
mod cors;
mod files;
mod listener_files;
mod tls;

mod config;
mod error;
mod telemetry;

#[cfg(test)]
mod testing;

use std::sync::Arc;

use generator::Generator;
use ingester::Ingester;
use model::Tenants;
use model::limits::TenantLimits;
use prometheus_client::registry::Registry;
use querier::Querier;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::tempo::Outstanding;

pub use auth::{AllowedTenants, AuthConfig, CredentialConfig, CredentialError, Listener};
pub use config::{
    ApiPrefix, Config, JaegerConfig, ListenAddress, ListenError, ListenHost, OtlpGrpcConfig, OtlpHttpConfig,
    PrefixError, QueryConfig, UdpConfig, ZipkinConfig,
};
pub use cors::{CorsConfig, CorsError};
pub use deletions::{DeletionError, Deletions};
pub use error::Error;
pub use files::read_bounded;
pub use kafka::{KafkaConfig, KafkaEncoding};
pub use listener_files::{ListenerFiles, Reloaded};
pub use overrides::{OverridesError, Settings, UserOverrides};
pub use server::{Addresses, ReceiverAddresses, Servers};
pub use telemetry::Telemetry;
pub use tempo::parse_time;
pub use tls::{ClientAuth, Pem, TlsConfig, TlsError, TlsVersion};

/// The Tempo version whose API this server speaks. Clients switch features by it.
pub const TEMPO_VERSION: &str = "3.0.3";

/// What every handler shares.
pub struct Edge {
    config: Config,
    /// None in a process that takes no spans.
    ingester: Option<Ingester>,
    /// Cancelled when the process is stopping.
    stopping: CancellationToken,
    querier: Querier,
    /// Has the series that spans are made into.
    generator: Option<Arc<Generator>>,
    /// Settings that tenants make for themselves, if they may.
    user_overrides: Option<Arc<dyn UserOverrides>>,
    /// What deletes traces, if it may be asked to.
    deletions: Option<Arc<dyn Deletions>>,
    telemetry: Telemetry,
    /// All metrics of the process, for `/metrics`.
    registry: Arc<Registry>,
    /// The effective configuration as YAML, without secrets, for `/status/config`.
    config_text: String,
    limits: Arc<TenantLimits>,
    outstanding: Outstanding,
    /// One permit for each query being answered.
    queries: Semaphore,
    /// One permit for each OTLP request being unpacked and stored.
    pushes: Semaphore,
    /// Memory of the bodies of OTLP requests, in pieces.
    bodies: Arc<Semaphore>,
}

impl Edge {
    pub fn new(
        config: Config,
        ingester: impl Into<Option<Ingester>>,
        querier: Querier,
        limits: Arc<TenantLimits>,
        telemetry: Telemetry,
        registry: Arc<Registry>,
        config_text: String,
    ) -> Self {
        let queries = Semaphore::new(config.query.max_concurrent);
        let pushes = Semaphore::new(config.max_concurrent_pushes);
        let bodies = Arc::new(otlp::body::room(config.max_bytes_of_bodies));
        let outstanding = Outstanding::default();
        let (generator, user_overrides, deletions) = (None, None, None);
        Self {
            config,
            ingester: ingester.into(),
            stopping: CancellationToken::new(),
            querier,
            generator,
            user_overrides,
            deletions,
            telemetry,
            registry,
            config_text,
            limits,
            outstanding,
            queries,
            pushes,
            bodies,
        }
    }

    /// Shows the series of a generator, too.
    #[must_use]
    pub fn generating(self, generator: Arc<Generator>) -> Self {
        Self { generator: Some(generator), ..self }
    }

    /// Is not ready any more once this is cancelled.
    #[must_use]
    pub fn until(self, stopping: CancellationToken) -> Self {
        Self { stopping, ..self }
    }

    /// Lets tenants make settings for themselves.
    #[must_use]
    pub fn with_user_overrides(self, overrides: Arc<dyn UserOverrides>) -> Self {
        Self { user_overrides: Some(overrides), ..self }
    }

    /// Lets traces be deleted.
    #[must_use]
    pub fn with_deletions(self, deletions: Arc<dyn Deletions>) -> Self {
        Self { deletions: Some(deletions), ..self }
    }

    /// What tenants may ask: where one alone may less, all together may less.
    pub(crate) fn query_config(&self, tenants: &Tenants) -> QueryConfig {
        self.config.query.within(&self.limits.of_query(tenants))
    }
}
