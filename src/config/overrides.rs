//! `overrides`: what differs by tenant. The file with the limits of tenants is read here, at start and again whenever it
//! changes; what holds now is in [`model::limits::TenantLimits`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use generator::remote_write::RemoteWriteConfig;
use model::TenantId;
use model::limits::{self, LimitTable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::{GoDuration, optional_path};

use super::generator::{GeneratorLimits, MetricsGenerator, WITHOUT_LOCAL_BLOCKS};
use super::sources::Tree;
use super::yaml::{self, Parsed};
use super::{moved, tempo_keys};

/// Stands for every tenant that the file does not name.
const ANY_TENANT: &str = "*";

/// `overrides`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// Of tenants that the file does not name.
    pub defaults: Limits,
    /// A file with the limits of tenants: `overrides: {"team-a": {compaction: {block_retention: 48h}}}`. What it says of a
    /// tenant, or of `"*"` for all others, takes the place of `defaults` as a whole; a limit that it leaves out is at the
    /// default of this table.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "optional_path")]
    pub per_tenant_override_config: Option<PathBuf>,
    /// How often that file is read again. One that cannot be used leaves all limits as they are. What it says of
    /// `metrics_generator` is taken at the start alone.
    pub per_tenant_override_period: GoDuration,
    /// What tenants may set for themselves.
    pub user_configurable_overrides: UserConfigurableOverrides,
}

/// `overrides.user_configurable_overrides`: `/api/overrides`. What tenants set is kept in the object store of the blocks, and
/// stands above what the operator has set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UserConfigurableOverrides {
    /// Whether `/api/overrides` is there.
    pub enabled: bool,
    /// How often settings that others have written to the store are taken over.
    pub poll_interval: GoDuration,
    pub api: UserConfigurableOverridesApi,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UserConfigurableOverridesApi {
    /// Whether a tenant for which the operator has set something of the kind may set nothing itself.
    pub check_for_conflicting_runtime_overrides: bool,
}

impl Default for UserConfigurableOverrides {
    fn default() -> Self {
        Self { enabled: false, poll_interval: GoDuration::from_secs(60), api: UserConfigurableOverridesApi::default() }
    }
}

/// The limits of a tenant. 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub ingestion: IngestionLimits,
    pub read: ReadLimits,
    pub global: GlobalLimits,
    pub compaction: CompactionLimits,
    pub metrics_generator: GeneratorLimits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngestionLimits {
    /// `local`: the rate is that of each process. With `global` it is, too: a store is one process that takes spans, so
    /// both are the same.
    pub rate_strategy: RateStrategy,
    /// Bytes of requests a second, decompressed; more are refused for now. 0, no limit, where Tempo has 30 MB: the queue
    /// of the log pushes back when the machine cannot follow, and how to share it is the operator's choice.
    pub rate_limit_bytes: u64,
    /// Bytes that may come at once; 0 for `rate_limit_bytes`.
    pub burst_size_bytes: u64,
    /// Whether who is refused for the rate is told when to try again. Exporters drop what they are not told of.
    pub retry_info_enabled: bool,
    /// Traces of which a span came in the last 5 seconds; spans of more are left out, and the client is told how many. 0, no
    /// limit, where Tempo has 10,000.
    pub max_traces_per_user: u64,
    /// The same: a store is one process that takes spans. The lesser of both holds.
    pub max_global_traces_per_user: u64,
    /// Bytes of a key or a text of an attribute, of which longer ones are cut to; counted in
    /// `tempo_distributor_attributes_truncated_total`. 0 for `distributor.max_attribute_bytes`.
    pub max_attribute_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GlobalLimits {
    /// Bytes of OTLP of a trace; spans that go beyond are left out, and the client is told how many. 0, no limit, where Tempo
    /// has 5 MB: traces are kept whole, and `querier.max_bytes_per_trace` says how much of one is given.
    pub max_bytes_per_trace: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RateStrategy {
    #[default]
    Local,
    Global,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReadLimits {
    /// Longest range of a search and of tags; 0 for `query_frontend.search.max_duration`.
    pub max_search_duration: GoDuration,
    /// Longest range of a metrics query; 0 for `query_frontend.metrics.max_duration`.
    pub max_metrics_duration: GoDuration,
    /// Bytes of names or values of tags in an answer; what goes beyond is left out. 0 for `querier.max_bytes_per_tag_answer`.
    pub max_bytes_per_tag_values_query: u64,
    /// Blocks that a question for values of a tag looks at, newest first. 0 for all.
    pub max_blocks_per_tag_values_query: u64,
    /// Alternatives (`||`) of the filter of a question for names or values of tags. 0 for any number.
    pub max_condition_groups_per_tag_query: u64,
    /// Compressed bytes of blocks that one query may read; more end it. 0 for `querier.max_bytes_per_query`. Of mosso alone.
    pub max_bytes_per_query: u64,
    /// Queries in work at a time; more are refused. 0 for `query_frontend.max_outstanding_per_tenant`. Of mosso alone.
    pub max_outstanding_queries: u64,
    /// Whether ids of found traces have all of their 32 digits. Without, zeros in front are left out.
    pub left_pad_trace_ids: bool,
    /// Whether traces are given with similar spans as one when a client does not say, in place of
    /// `query_frontend.trace_by_id.span_pruning_enabled_by_default`. Nothing without `span_pruning_enabled` there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_pruning_enabled: Option<bool>,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_search_duration: GoDuration::default(),
            max_metrics_duration: GoDuration::default(),
            max_bytes_per_tag_values_query: 0,
            max_blocks_per_tag_values_query: 0,
            max_condition_groups_per_tag_query: limits::MAX_CONDITION_GROUPS,
            max_bytes_per_query: 0,
            max_outstanding_queries: 0,
            left_pad_trace_ids: false,
            span_pruning_enabled: None,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CompactionLimits {
    /// How long spans are kept; 0 for `compactor.compaction.block_retention`.
    pub block_retention: GoDuration,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PerTenant {
    overrides: BTreeMap<String, Limits>,
}

/// What holds for tenants without a value of their own.
pub(super) struct OfAll {
    pub block_retention: Duration,
    pub max_attribute_bytes: u64,
}

/// What follows from the section and its file.
pub(super) struct Loaded {
    pub table: LimitTable,
    /// Keys of the file that are read over.
    pub ignored: Vec<String>,
    /// What else the operator should know of the file.
    pub remarks: Vec<String>,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            defaults: Limits::default(),
            per_tenant_override_config: None,
            per_tenant_override_period: GoDuration::from_secs(10),
            user_configurable_overrides: UserConfigurableOverrides::default(),
        }
    }
}

impl Default for IngestionLimits {
    fn default() -> Self {
        Self {
            rate_strategy: RateStrategy::Local,
            rate_limit_bytes: 0,
            burst_size_bytes: 0,
            retry_info_enabled: true,
            max_traces_per_user: 0,
            max_global_traces_per_user: 0,
            max_attribute_bytes: 0,
        }
    }
}

impl Limits {
    /// With what holds for all tenants where nothing is set.
    fn resolved(&self, of_all: &OfAll) -> limits::Limits {
        let Self { ingestion, read, global, compaction, metrics_generator: _ } = self;
        let own = |own: u64, of_all: u64| if own > 0 { own } else { of_all };
        let own_retention = compaction.block_retention.get();
        limits::Limits {
            rate_limit_bytes: ingestion.rate_limit_bytes,
            burst_size_bytes: ingestion.burst_size_bytes,
            retry_info_enabled: ingestion.retry_info_enabled,
            max_live_traces: limits::lesser(ingestion.max_traces_per_user, ingestion.max_global_traces_per_user),
            max_bytes_per_trace: global.max_bytes_per_trace,
            max_attribute_bytes: own(ingestion.max_attribute_bytes, of_all.max_attribute_bytes),
            max_search_range: read.max_search_duration.get(),
            max_metrics_range: read.max_metrics_duration.get(),
            max_bytes_per_tag_answer: read.max_bytes_per_tag_values_query,
            max_blocks_per_tag_answer: read.max_blocks_per_tag_values_query,
            max_condition_groups: read.max_condition_groups_per_tag_query,
            max_bytes_per_query: read.max_bytes_per_query,
            max_outstanding_queries: read.max_outstanding_queries,
            left_pad_trace_ids: read.left_pad_trace_ids,
            span_pruning_by_default: read.span_pruning_enabled,
            block_retention: if own_retention.is_zero() { of_all.block_retention } else { own_retention },
        }
    }
}

/// What is generated, and where it is sent.
#[derive(Debug)]
pub struct Generated {
    pub config: generator::Config,
    pub remote_write: RemoteWriteConfig,
}

impl Generated {
    /// With so much memory for what is counted.
    pub(crate) fn within(mut self, bytes: u64) -> Self {
        self.config.memory_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self
    }
}

impl Overrides {
    /// The limits of all tenants. Reads the file.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub(super) fn load(&self, of_all: &OfAll, expand_env: bool) -> Result<Loaded> {
        let mut table = LimitTable { others: self.defaults.resolved(of_all), ..LimitTable::default() };
        let mut remarks = Vec::new();
        let Some(path) = &self.per_tenant_override_config else {
            return Ok(Loaded { table, ignored: Vec::new(), remarks });
        };
        let file = read(path, expand_env)?;
        for (name, limits) in file.value.overrides {
            if limits.metrics_generator.names_local_blocks() {
                remarks.push(format!("{}: {name}: {WITHOUT_LOCAL_BLOCKS}", path.display()));
            }
            if name == ANY_TENANT {
                table.others = limits.resolved(of_all);
            } else {
                let tenant = TenantId::parse(&name).with_context(|| path.display().to_string())?;
                table.tenants.insert(tenant, limits.resolved(of_all));
            }
            let text = serde_saphyr::to_string(&limits).unwrap_or_else(|error| format!("# {error}\n"));
            table.written.insert(name, text);
        }
        let ignored = file.ignored.into_iter().map(|key| format!("{key} of {}", path.display())).collect();
        Ok(Loaded { table, ignored, remarks })
    }

    /// What the operator has set of the generator for a tenant, and whether it is for this tenant alone. Reads the file.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub(super) fn generator_limits(&self, tenant: &TenantId, expand_env: bool) -> Result<(GeneratorLimits, bool)> {
        let Some(path) = &self.per_tenant_override_config else {
            return Ok((self.defaults.metrics_generator.clone(), false));
        };
        let mut file = read(path, expand_env)?.value.overrides;
        let own = file.remove(tenant.as_str());
        let is_own = own.is_some();
        let limits = own.or_else(|| file.remove(ANY_TENANT)).unwrap_or_else(|| self.defaults.clone());
        Ok((limits.metrics_generator, is_own))
    }

    /// What is generated for whom. Reads the file.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub(super) fn generator(&self, section: &MetricsGenerator, expand_env: bool) -> Result<Generated> {
        let mut tenant_headers = HashMap::new();
        let mut default_headers = self.defaults.metrics_generator.remote_write_headers.clone();
        let of = |limits: &Limits| section.with_limits(&limits.metrics_generator);
        let mut config = generator::Config {
            default: of(&self.defaults)?,
            per_tenant: HashMap::new(),
            collection_interval: section.registry.collection_interval.get(),
            memory_bytes: generator::DEFAULT_MEMORY_BYTES,
        };
        if let Some(path) = &self.per_tenant_override_config {
            let file = read(path, expand_env)?;
            for (name, limits) in file.value.overrides {
                let headers = limits.metrics_generator.remote_write_headers.clone();
                let tenant_config = of(&limits).with_context(|| path.display().to_string())?;
                if name == ANY_TENANT {
                    (config.default, default_headers) = (tenant_config, headers);
                } else {
                    let tenant = TenantId::parse(&name).with_context(|| path.display().to_string())?;
                    tenant_headers.insert(tenant.clone(), headers);
                    config.per_tenant.insert(tenant, tenant_config);
                }
            }
        }
        let remote_write = RemoteWriteConfig {
            targets: section.storage.remote_write.clone(),
            max_queue_bytes: section.storage.max_queue_bytes,
            has_tenant_header: section.storage.remote_write_add_org_id_header,
            tenant_headers,
            default_headers,
        };
        Ok(Generated { config, remote_write })
    }
}

/// Reads the file with the limits of tenants.
fn read(path: &Path, expand_env: bool) -> Result<Parsed<PerTenant>> {
    let Tree { mut root, missing_variables } = Tree::read(path, expand_env)?;
    // what stands in its place would be no limit
    if let Some(name) = missing_variables.first() {
        bail!("{}: the variable {name} is not set and has no default", path.display());
    }
    moved::settle_tenants(&mut root);
    yaml::read(root, tempo_keys::per_tenant()).map_err(|error| error.in_file(path))
}
