//! `overrides`: what differs by tenant.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use model::TenantId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::{GoDuration, optional_path};
use storage::retention;

use super::sources::Tree;
use super::yaml::{self, Parsed};
use super::{moved, tempo_keys};

/// Stands for every tenant that the file does not name.
const ANY_TENANT: &str = "*";

/// `overrides`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// Of tenants that the file does not name.
    pub defaults: Limits,
    /// A file with the limits of tenants, read at start: `overrides: {"team-a": {compaction: {block_retention: 48h}}}`.
    /// What it says of a tenant, or of `"*"` for all others, takes the place of `defaults` as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "optional_path")]
    pub per_tenant_override_config: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub compaction: CompactionLimits,
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
    pub(super) fn retention(&self, otherwise: Duration, expand_env: bool) -> Result<Retention> {
        let keep = |limits: &Limits| match limits.compaction.block_retention.get() {
            Duration::ZERO => otherwise,
            retention => retention,
        };
        let mut config = retention::Config { default: keep(&self.defaults), per_tenant: HashMap::new() };
        let Some(path) = &self.per_tenant_override_config else { return Ok(Retention { config, ignored: Vec::new() }) };
        let file = read(path, expand_env)?;
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

/// Reads the file with the limits of tenants.
fn read(path: &Path, expand_env: bool) -> Result<Parsed<PerTenant>> {
    let Tree { mut root, .. } = Tree::read(path, expand_env)?;
    moved::settle_tenants(&mut root);
    yaml::read(root, tempo_keys::per_tenant()).map_err(|error| error.in_file(path))
}
