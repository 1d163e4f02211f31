//! `overrides`: what differs by tenant.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use model::{NotApplicable, TenantId};
use serde::{Deserialize, Serialize};
use storage::config::GoDuration;
use storage::retention;

use super::yaml::{self, Parsed};

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

/// What follows from the section and its file.
pub(super) struct Retention {
    pub config: retention::Config,
    /// Keys of the file that are read over.
    pub ignored: Vec<String>,
}

impl Overrides {
    /// How long spans are kept, `otherwise` where nothing is said here. Reads the file.
    ///
    /// # Errors
    /// One that names the file and what is wrong in it.
    pub(super) fn retention(&self, otherwise: Duration) -> Result<Retention> {
        let keep = |limits: &Limits| match limits.compaction.block_retention.get() {
            Duration::ZERO => otherwise,
            retention => retention,
        };
        let mut config = retention::Config { default: keep(&self.defaults), per_tenant: HashMap::new() };
        let Some(path) = &self.per_tenant_override_config else { return Ok(Retention { config, ignored: Vec::new() }) };
        let file: Parsed<PerTenant> = yaml::read(path)?;
        for (name, limits) in file.value.overrides {
            if name == ANY_TENANT {
                config.default = keep(&limits);
            } else {
                let tenant = TenantId::parse(&name).with_context(|| path.display().to_string())?;
                config.per_tenant.insert(tenant, keep(&limits));
            }
        }
        let ignored = file.ignored.into_iter().map(|key| format!("{key} of {}", path.display())).collect();
        Ok(Retention { config, ignored })
    }
}
