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

use super::generator::{GeneratorLimits, MetricsGenerator};
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
}

/// The limits of a tenant. 0 is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub ingestion: IngestionLimits,
    pub read: ReadLimits,
    pub compaction: CompactionLimits,
    pub metrics_generator: GeneratorLimits,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngestionLimits {
    /// `local`: the rate is that of each process. With `global` it is too, as processes do not know of each other.
    pub rate_strategy: RateStrategy,
    /// Bytes of requests a second, decompressed; more are refused for now. 0, no limit, where Tempo has 30 MB: the queue
    /// of the log pushes back when the machine cannot follow, and how to share it is the operator's choice.
    pub rate_limit_bytes: u64,
    /// Bytes that may come at once; 0 for `rate_limit_bytes`.
    pub burst_size_bytes: u64,
    /// Whether who is refused for the rate is told when to try again. Exporters drop what they are not told of.
    pub retry_info_enabled: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RateStrategy {
    #[default]
    Local,
    Global,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReadLimits {
    /// Longest range of a search and of tags; 0 for `query_frontend.search.max_duration`.
    pub max_search_duration: GoDuration,
    /// Longest range of a metrics query; 0 for `query_frontend.metrics.max_duration`.
    pub max_metrics_duration: GoDuration,
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

/// What follows from the section and its file.
pub(super) struct Loaded {
    pub table: LimitTable,
    /// Keys of the file that are read over.
    pub ignored: Vec<String>,
}

impl Default for Overrides {
    fn default() -> Self {
        Self {
            defaults: Limits::default(),
            per_tenant_override_config: None,
            per_tenant_override_period: GoDuration::from_secs(10),
        }
    }
}

impl Default for IngestionLimits {
    fn default() -> Self {
        Self { rate_strategy: RateStrategy::Local, rate_limit_bytes: 0, burst_size_bytes: 0, retry_info_enabled: true }
    }
}

impl Limits {
    /// With the retention of all tenants where none is set.
    fn resolved(&self, block_retention: Duration) -> limits::Limits {
        let Self { ingestion, read, compaction, metrics_generator: _ } = self;
        let own_retention = compaction.block_retention.get();
        limits::Limits {
            rate_limit_bytes: ingestion.rate_limit_bytes,
            burst_size_bytes: ingestion.burst_size_bytes,
            hides_retry_info: !ingestion.retry_info_enabled,
            max_search_range: read.max_search_duration.get(),
            max_metrics_range: read.max_metrics_duration.get(),
            block_retention: if own_retention.is_zero() { block_retention } else { own_retention },
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
    /// The limits of all tenants, kept for `block_retention` where nothing is said here. Reads the file.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub(super) fn load(&self, block_retention: Duration, expand_env: bool) -> Result<Loaded> {
        let mut table = LimitTable { others: self.defaults.resolved(block_retention), ..LimitTable::default() };
        let Some(path) = &self.per_tenant_override_config else { return Ok(Loaded { table, ignored: Vec::new() }) };
        let file = read(path, expand_env)?;
        for (name, limits) in file.value.overrides {
            if name == ANY_TENANT {
                table.others = limits.resolved(block_retention);
            } else {
                let tenant = TenantId::parse(&name).with_context(|| path.display().to_string())?;
                table.tenants.insert(tenant, limits.resolved(block_retention));
            }
            let text = serde_saphyr::to_string(&limits).unwrap_or_else(|error| format!("# {error}\n"));
            table.written.insert(name, text);
        }
        let ignored = file.ignored.into_iter().map(|key| format!("{key} of {}", path.display())).collect();
        Ok(Loaded { table, ignored })
    }

    /// What is generated for whom. Reads the file.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub(super) fn generator(&self, section: &MetricsGenerator, expand_env: bool) -> Result<Generated> {
        let mut tenant_headers = HashMap::new();
        let mut default_headers = self.defaults.metrics_generator.remote_write_headers.clone();
        let of = |name: &str, limits: &Limits| section.of_tenant(name, &limits.metrics_generator);
        let mut config = generator::Config {
            default: of(TenantId::single().as_str(), &self.defaults)?,
            per_tenant: HashMap::new(),
            collection_interval: section.registry.collection_interval.get(),
            memory_bytes: generator::DEFAULT_MEMORY_BYTES,
        };
        if let Some(path) = &self.per_tenant_override_config {
            let file = read(path, expand_env)?;
            for (name, limits) in file.value.overrides {
                let headers = limits.metrics_generator.remote_write_headers.clone();
                let tenant_config = of(&name, &limits).with_context(|| path.display().to_string())?;
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
