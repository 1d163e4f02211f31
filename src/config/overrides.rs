//! `overrides`: what differs by tenant.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use model::{NotApplicable, TenantId};
use serde::{Deserialize, Serialize};
use storage::config::GoDuration;
use storage::retention;

/// Stands for every tenant that the file does not name.
const ANY_TENANT: &str = "*";

/// `overrides`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// Of tenants that the file does not name.
    pub defaults: Limits,
    /// A file with the limits of tenants, read at start: `overrides: {"team-a": {compaction: {block_retention: 48h}}}`.
    /// What it says of a tenant, or of `"*"` for all others, takes the place of `defaults` as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_tenant_override_config: Option<PathBuf>,
    #[serde(skip_serializing)]
    pub per_tenant_override_period: NotApplicable,
    #[serde(skip_serializing)]
    pub user_configurable_overrides: NotApplicable,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub compaction: CompactionLimits,
    #[serde(skip_serializing)]
    pub ingestion: NotApplicable,
    #[serde(skip_serializing)]
    pub read: NotApplicable,
    #[serde(skip_serializing)]
    pub global: NotApplicable,
    #[serde(skip_serializing)]
    pub metrics_generator: NotApplicable,
    #[serde(skip_serializing)]
    pub forwarders: NotApplicable,
    #[serde(skip_serializing)]
    pub storage: NotApplicable,
    #[serde(skip_serializing)]
    pub cost_attribution: NotApplicable,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompactionLimits {
    /// How long spans are kept; 0 for `compactor.compaction.block_retention`.
    pub block_retention: GoDuration,
    #[serde(skip_serializing)]
    pub compaction_window: NotApplicable,
    #[serde(skip_serializing)]
    pub compaction_disabled: NotApplicable,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PerTenant {
    overrides: BTreeMap<String, Limits>,
}

impl Overrides {
    /// How long spans are kept, `otherwise` where nothing is said here. Reads the file.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub(super) fn retention(&self, otherwise: Duration) -> Result<retention::Config> {
        let keep = |limits: &Limits| match limits.compaction.block_retention.get() {
            Duration::ZERO => otherwise,
            retention => retention,
        };
        let mut config = retention::Config { default: keep(&self.defaults), per_tenant: HashMap::new() };
        let Some(path) = &self.per_tenant_override_config else { return Ok(config) };
        for (name, limits) in read(path).with_context(|| of_file(path))?.overrides {
            if name == ANY_TENANT {
                config.default = keep(&limits);
            } else {
                let tenant = TenantId::parse(&name).with_context(|| of_file(path))?;
                config.per_tenant.insert(tenant, keep(&limits));
            }
        }
        Ok(config)
    }

    /// Keys of `defaults` that change nothing here.
    pub(super) fn others_of_defaults(&self) -> NotApplicable {
        let Limits { compaction, ingestion, read, global, metrics_generator, forwarders, storage, cost_attribution } =
            &self.defaults;
        NotApplicable::any([
            &compaction.compaction_window,
            &compaction.compaction_disabled,
            ingestion,
            read,
            global,
            metrics_generator,
            forwarders,
            storage,
            cost_attribution,
        ])
    }
}

fn read(path: &Path) -> Result<PerTenant> {
    super::parse_yaml(&std::fs::read_to_string(path)?)
}

fn of_file(path: &Path) -> String {
    format!("overrides.per_tenant_override_config {}", path.display())
}
