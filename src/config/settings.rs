//! What the sections mean for each crate.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use api::ListenAddress;
use model::TenantId;
use model::limits::LimitTable;
use storage::config::GoDuration;
use storage::members::JOINING_TIME;
use storage::paths::DataDir;

use super::check::Unusable;
use super::overrides::OfAll;
use super::tls::ServerTls;
use super::yaml::{self, Node};
use super::{Config, Generated, GeneratorLimits, QueryFrontend, Server, tempo_keys};

/// A window of the past is being filled while blocks come in one of so many parts of its length: a minute of an hour.
const QUIET_FRACTION: u32 = 60;

impl Config {
    /// Settings of the edge.
    pub fn api(&self) -> api::Config {
        // what is wrong in them has been said when the file was read
        self.secured_api().unwrap_or_default()
    }

    pub(super) fn secured_api(&self) -> Result<api::Config, Unusable> {
        let otlp = &self.distributor.receivers.otlp.protocols;
        let unusable = |key| move |reason| Unusable { key, reason };
        let mut api = self.open_api();
        let Server { tls_min_version, tls_cipher_suites, http_tls_config, grpc_tls_config, cors, .. } = &self.server;
        let shares_port = *grpc_tls_config == ServerTls::default() || grpc_tls_config == http_tls_config;
        if !shares_port {
            let reason =
                "gRPC shares the port of HTTP: write the same in http_tls_config, or leave this out".to_owned();
            return Err(Unusable { key: "server.grpc_tls_config", reason });
        }
        api.http_tls =
            http_tls_config.to_api(*tls_min_version, tls_cipher_suites).map_err(unusable("server.http_tls_config"))?;
        api.http_cors = cors.to_api();
        if let (Some(api), Some(grpc)) = (&mut api.otlp_grpc, &otlp.grpc) {
            api.tls = grpc.tls.to_api().map_err(unusable("distributor.receivers.otlp.protocols.grpc.tls"))?;
        }
        if let (Some(api), Some(http)) = (&mut api.otlp_http, &otlp.http) {
            api.tls = http.tls.to_api().map_err(unusable("distributor.receivers.otlp.protocols.http.tls"))?;
            api.cors = http.cors.to_api();
        }
        if self.target().takes_spans() {
            let (receivers, unusable) = (&self.distributor.receivers, |(key, reason)| Unusable { key, reason });
            api.jaeger = receivers.jaeger().map_err(unusable)?;
            api.zipkin = receivers.zipkin().map_err(unusable)?;
            api.kafka = receivers.kafka().map_err(unusable)?;
        }
        api.authentication =
            self.authentication.to_api(self.multitenancy_enabled).map_err(unusable("authentication"))?;
        Ok(api)
    }

    /// Without what protects it.
    fn open_api(&self) -> api::Config {
        let otlp = &self.distributor.receivers.otlp.protocols;
        let takes_spans = self.target().takes_spans();
        let (search, metrics) = (&self.query_frontend.search, &self.query_frontend.metrics);
        let defaults = api::Config::default();
        api::Config {
            http_listen: ListenAddress::new(self.server.http_listen_address.clone(), self.server.http_listen_port),
            http_api_prefix: self.http_api_prefix.clone(),
            otlp_grpc: otlp.grpc.as_ref().filter(|_| takes_spans).map(|grpc| api::OtlpGrpcConfig {
                endpoint: grpc.endpoint.clone(),
                max_recv_msg_size_mib: grpc.max_recv_msg_size_mib,
                tls: None,
            }),
            otlp_http: otlp.http.as_ref().filter(|_| takes_spans).map(|http| api::OtlpHttpConfig {
                endpoint: http.endpoint.clone(),
                max_request_body_size: http.max_request_body_size,
                ..api::OtlpHttpConfig::default()
            }),
            multitenancy_enabled: self.multitenancy_enabled,
            retry_after_seconds: self.distributor.retry_after_on_resource_exhausted.as_secs(),
            query: api::QueryConfig {
                timeout_seconds: self.query_frontend.api_timeout.as_secs(),
                end_cutoff_seconds: self.query_frontend.query_end_cutoff.as_secs(),
                default_result_limit: search.default_result_limit,
                max_result_limit: search.max_result_limit,
                default_spans_per_span_set: search.default_spans_per_span_set,
                max_spans_per_span_set: search.max_spans_per_span_set,
                max_search_range_seconds: search.max_duration.as_secs(),
                max_metrics_range_seconds: metrics.max_duration.as_secs(),
                max_response_series: metrics.max_response_series,
                max_outstanding_per_tenant: self.query_frontend.max_outstanding_per_tenant,
                multi_tenant_queries_enabled: self.query_frontend.multi_tenant_queries_enabled,
                max_query_bytes: self.query_frontend.max_query_expression_size_bytes,
                span_pruning_enabled: self.query_frontend.trace_by_id.span_pruning_enabled,
                span_pruning_by_default: self.query_frontend.trace_by_id.span_pruning_enabled_by_default,
                mcp_enabled: self.query_frontend.mcp_server.enabled,
                ..defaults.query
            },
            ..defaults
        }
    }

    /// Settings of compaction.
    pub fn compaction(&self) -> storage::compaction::Config {
        let compaction = &self.compactor.compaction;
        storage::compaction::Config {
            cycle: compaction.compaction_cycle.get(),
            window: compaction.compaction_window.get(),
            quiet: compaction.compaction_window.get() / QUIET_FRACTION,
            max_traces: compaction.max_compaction_objects,
            max_block_bytes: compaction.max_block_bytes,
        }
    }

    /// The limits of all tenants; reads the file that has them.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub fn tenant_limits(&self) -> Result<LimitTable> {
        Ok(self.overrides.load(&self.of_all_tenants(), self.expand_env)?.table)
    }

    pub(super) fn of_all_tenants(&self) -> OfAll {
        OfAll { block_retention: self.block_retention(), max_attribute_bytes: self.distributor.max_attribute_bytes }
    }

    pub(super) fn block_retention(&self) -> Duration {
        self.compactor.compaction.block_retention.get()
    }

    /// Settings of the metrics generator; reads the file with the limits of tenants.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub fn generator(&self) -> Result<Generated> {
        let mut generated = self.overrides.generator(&self.metrics_generator, self.expand_env)?;
        generated.remote_write.has_tenant_header &= self.multitenancy_enabled;
        Ok(generated)
    }

    /// What the operator has set of the generator for a tenant, and whether it is for this tenant alone. Reads the file with
    /// the limits of tenants.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub fn generator_limits(&self, tenant: &TenantId) -> Result<(GeneratorLimits, bool)> {
        self.overrides.generator_limits(tenant, self.expand_env)
    }

    /// Reads the section `metrics_generator` of limits from JSON.
    ///
    /// # Errors
    /// One that names the key with the value that is wrong.
    pub fn read_generator_limits(json: &str) -> Result<GeneratorLimits> {
        let known = tempo_keys::table().find("overrides.defaults.metrics_generator").context("no such section")?;
        let read = Node::parse(json).and_then(|root| yaml::read(root, known));
        // the text is not what its writer has seen, so the place says nothing
        read.map(|parsed| parsed.value).map_err(|error| anyhow!("metrics_generator.{}", error.reason))
    }

    /// What is generated for a tenant with these limits.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn generator_with(&self, limits: &GeneratorLimits) -> Result<::generator::TenantConfig> {
        self.metrics_generator.with_limits(limits)
    }

    /// Where series wait until they are sent.
    pub fn generator_dir(&self) -> PathBuf {
        let path = &self.metrics_generator.storage.path;
        if path.as_os_str().is_empty() { self.data_dir.join("generator") } else { path.clone() }
    }

    /// How long files of blocks stay that no manifest names.
    pub fn garbage_grace(&self) -> Duration {
        self.compactor.compaction.compacted_block_retention.get()
    }

    /// Settings of the way out.
    pub fn querier(&self) -> querier::Config {
        let defaults = querier::Config::default();
        querier::Config {
            max_concurrent_reads: self.querier.max_concurrent_reads.unwrap_or(defaults.max_concurrent_reads),
            max_concurrent_scans: self.querier.max_concurrent_scans,
            max_query_time: self.querier.search.query_timeout.get(),
            max_bytes_per_query: self.querier.max_bytes_per_query,
            max_memory_bytes_per_query: self
                .querier
                .max_memory_bytes_per_query
                .unwrap_or(defaults.max_memory_bytes_per_query),
            max_metrics_samples: self.querier.max_metrics_samples,
            metrics_cache_max_bytes: self.querier.metrics_cache_max_bytes.unwrap_or(defaults.metrics_cache_max_bytes),
            max_bytes_per_trace: self.querier.max_bytes_per_trace,
            max_bytes_per_tag_answer: self.querier.max_bytes_per_tag_answer,
            trace_reach_seconds: self.querier.trace_reach_seconds,
            objectives: self.objectives(),
            ..defaults // what all queries together may: of `memory`
        }
    }

    /// Where the log and, with the local backend, blocks lie.
    pub fn folders(&self) -> DataDir {
        let dir = self.storage.trace.data_dir(&self.data_dir);
        if self.cluster.enabled { dir.with_shared_blocks() } else { dir }
    }

    fn objectives(&self) -> querier::Objectives {
        let QueryFrontend { search, metrics, trace_by_id, .. } = &self.query_frontend;
        let objective =
            |duration: &GoDuration, bytes_per_second| querier::Objective { duration: duration.get(), bytes_per_second };
        querier::Objectives {
            traces: objective(&trace_by_id.duration_slo, 0),
            search: objective(&search.duration_slo, search.throughput_bytes_slo),
            metadata: search.metadata_slo.objective(),
            metrics: objective(&metrics.duration_slo, metrics.throughput_bytes_slo),
        }
    }

    /// Settings of the way in.
    pub fn ingester(&self) -> ingester::Config {
        let defaults = ingester::Config::default();
        ingester::Config {
            max_block_bytes: self.ingester.max_block_bytes.unwrap_or(defaults.max_block_bytes),
            max_queued_bytes: self.ingester.max_queued_bytes.unwrap_or(defaults.max_queued_bytes),
            max_block_duration: self.ingester.max_block_duration.get(),
            joining_time: if self.cluster.enabled { JOINING_TIME } else { Duration::ZERO },
            ..defaults
        }
    }
}
