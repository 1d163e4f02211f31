//! The configuration file: Tempo's keys where the meaning is the same, `data_dir` of our own.
//!
//! Unknown keys are errors that name them. Tempo's keys that do not apply here are read over with a warning. The file
//! is parsed once, checked once, and turned into the settings of each crate.

mod memory;
mod overrides;
mod sections;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::NotApplicable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use memory::Memory;
pub use overrides::Overrides;
pub use sections::{
    Compaction, Compactor, Distributor, IngesterSection, LogFormat, QuerierSection, QueryFrontend, Server,
};

/// Columns of live spans hold less than 2 GiB of text.
const MAX_BLOCK_BYTES: usize = 1 << 30;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the log and, with the local backend, of the blocks. Used by one process at a time.
    pub data_dir: PathBuf,
    /// Which parts run. Only `all` so far.
    pub target: String,
    /// Whether `X-Scope-OrgID` names the tenant; off, everything belongs to `single-tenant`.
    pub multitenancy_enabled: bool,
    /// Put before `/api`, for a reverse proxy.
    pub http_api_prefix: String,
    pub server: Server,
    pub distributor: Distributor,
    pub ingester: IngesterSection,
    pub compactor: Compactor,
    pub querier: QuerierSection,
    pub query_frontend: QueryFrontend,
    pub storage: storage::config::Config,
    pub overrides: Overrides,
    pub memory: Memory,

    /// HTTP/1.1 and gRPC always share the port.
    #[serde(skip_serializing)]
    pub stream_over_http_enabled: NotApplicable,
    #[serde(skip_serializing)]
    pub usage_report: NotApplicable,
    #[serde(skip_serializing)]
    pub memberlist: NotApplicable,
    #[serde(skip_serializing)]
    pub metrics_generator: NotApplicable,
    #[serde(skip_serializing)]
    pub metrics_generator_client: NotApplicable,
    #[serde(skip_serializing)]
    pub ingester_client: NotApplicable,
    #[serde(skip_serializing)]
    pub live_store_client: NotApplicable,
    #[serde(skip_serializing)]
    pub cache: NotApplicable,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            target: "all".to_owned(),
            multitenancy_enabled: false,
            http_api_prefix: String::new(),
            server: Server::default(),
            distributor: Distributor::default(),
            ingester: IngesterSection::default(),
            compactor: Compactor::default(),
            querier: QuerierSection::default(),
            query_frontend: QueryFrontend::default(),
            storage: storage::config::Config::default(),
            overrides: Overrides::default(),
            memory: Memory::default(),
            stream_over_http_enabled: NotApplicable::default(),
            usage_report: NotApplicable::default(),
            memberlist: NotApplicable::default(),
            metrics_generator: NotApplicable::default(),
            metrics_generator_client: NotApplicable::default(),
            ingester_client: NotApplicable::default(),
            live_store_client: NotApplicable::default(),
            cache: NotApplicable::default(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// One that names the file and the key or value that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read config {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("config {}", path.display()))
    }

    /// Parses and checks YAML; an empty text is the default configuration.
    ///
    /// # Errors
    /// One that names the key or value that is wrong, with its line.
    pub fn parse(yaml: &str) -> Result<Self> {
        let config: Self = parse_yaml(yaml)?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<()> {
        if self.target != "all" {
            bail!("target {:?} is not known, the only target so far is \"all\"", self.target);
        }
        if self.ingester.max_block_bytes.is_some_and(|bytes| !(1..=MAX_BLOCK_BYTES).contains(&bytes)) {
            bail!("ingester.max_block_bytes must be between 1 and {MAX_BLOCK_BYTES}");
        }
        self.memory.validate()?;
        storage::objects::check(&self.storage.trace)?;
        let Compaction { compaction_window, compaction_cycle, .. } = &self.compactor.compaction;
        for (key, value) in [("compaction_window", compaction_window), ("compaction_cycle", compaction_cycle)] {
            if value.get().is_zero() {
                bail!("compactor.compaction.{key} must be longer than 0s");
            }
        }
        let (query_timeout, poll) = (self.querier.search.query_timeout.get(), self.storage.trace.blocklist_poll.get());
        if poll.is_zero() {
            bail!("storage.trace.blocklist_poll must be longer than 0s");
        }
        let least_grace = storage::garbage::least_grace(query_timeout, poll);
        if self.garbage_grace() < least_grace {
            bail!(
                "compactor.compaction.compacted_block_retention must be at least {least_grace:?} with this \
                 querier.search.query_timeout and storage.trace.blocklist_poll: blocks are read and written for so long"
            );
        }
        self.retention().map(drop)
    }

    /// Tempo's keys in this file that change nothing here.
    pub fn not_applicable(&self) -> Vec<&'static str> {
        let keys = [
            ("stream_over_http_enabled", &self.stream_over_http_enabled),
            ("usage_report", &self.usage_report),
            ("memberlist", &self.memberlist),
            ("metrics_generator", &self.metrics_generator),
            ("metrics_generator_client", &self.metrics_generator_client),
            ("ingester_client", &self.ingester_client),
            ("live_store_client", &self.live_store_client),
            ("overrides.defaults", &self.overrides.others_of_defaults()),
            ("overrides.per_tenant_override_period", &self.overrides.per_tenant_override_period),
            ("overrides.user_configurable_overrides", &self.overrides.user_configurable_overrides),
            ("cache", &self.cache),
            ("memory.automemlimit_enabled", &self.memory.automemlimit_enabled),
            ("memory.automemlimit_ratio", &self.memory.automemlimit_ratio),
            ("server.grpc_listen_port", &self.server.grpc_listen_port),
            ("server.grpc_listen_address", &self.server.grpc_listen_address),
            ("ingester.trace_idle_period", &self.ingester.trace_idle_period),
            ("ingester.flush_check_period", &self.ingester.flush_check_period),
            ("ingester.complete_block_timeout", &self.ingester.complete_block_timeout),
            ("querier.max_concurrent_queries", &self.querier.max_concurrent_queries),
            ("querier.trace_by_id", &self.querier.trace_by_id),
            ("querier.frontend_worker", &self.querier.frontend_worker),
            ("query_frontend.search", &self.query_frontend.search.others()),
        ];
        let own = keys.into_iter().filter(|(_, key)| key.is_present()).map(|(name, _)| name);
        own.chain(self.storage.trace.not_applicable()).collect()
    }

    /// The effective configuration as YAML.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Settings of the edge.
    pub fn api(&self) -> api::Config {
        let otlp = &self.distributor.receivers.otlp.protocols;
        let search = &self.query_frontend.search;
        let defaults = api::Config::default();
        api::Config {
            http_listen_address: self.server.http_listen_address.clone(),
            http_listen_port: self.server.http_listen_port,
            http_api_prefix: self.http_api_prefix.clone(),
            otlp_grpc: otlp.grpc.as_ref().map(|grpc| api::OtlpGrpcConfig {
                endpoint: grpc.endpoint.clone(),
                max_recv_msg_size_mib: grpc.max_recv_msg_size_mib,
            }),
            otlp_http: otlp.http.as_ref().map(|http| api::OtlpHttpConfig {
                endpoint: http.endpoint.clone(),
                max_request_body_size: http.max_request_body_size,
            }),
            multitenancy_enabled: self.multitenancy_enabled,
            drain_timeout_seconds: crate::app::DRAIN_TIMEOUT.as_secs(),
            query: api::QueryConfig {
                timeout_seconds: self.query_frontend.api_timeout.as_secs(),
                end_cutoff_seconds: self.query_frontend.query_end_cutoff.as_secs(),
                default_result_limit: search.default_result_limit,
                max_result_limit: search.max_result_limit,
                default_spans_per_span_set: search.default_spans_per_span_set,
                max_spans_per_span_set: search.max_spans_per_span_set,
                max_search_range_seconds: search.max_duration.as_secs(),
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
            max_traces: compaction.max_compaction_objects,
            max_block_bytes: compaction.max_block_bytes,
        }
    }

    /// Settings of retention; reads the file with the limits of tenants.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub fn retention(&self) -> Result<storage::retention::Config> {
        self.overrides.retention(self.compactor.compaction.block_retention.get())
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
            ..defaults // what all queries together may: of `memory`
        }
    }

    /// Settings of the way in.
    pub fn ingester(&self) -> ingester::Config {
        let defaults = ingester::Config::default();
        ingester::Config {
            max_block_bytes: self.ingester.max_block_bytes.unwrap_or(defaults.max_block_bytes),
            max_queued_bytes: self.ingester.max_queued_bytes.unwrap_or(defaults.max_queued_bytes),
            max_block_duration: self.ingester.max_block_duration.get(),
            ..defaults
        }
    }
}

/// A text without content is the default, which is no YAML of a map.
fn parse_yaml<T: DeserializeOwned + Default>(yaml: &str) -> Result<T> {
    let has_content = yaml.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    Ok(if has_content { serde_saphyr::from_str(yaml)? } else { T::default() })
}

#[cfg(test)]
mod tests;
