//! `distributor`: what spans come by, and what is done with them before they are stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::config::GoDuration;

use super::receivers::Receivers;

/// `distributor`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Distributor {
    pub receivers: Receivers,
    /// When an exporter that was refused for a limit should try again, unless the refusal says more; 0 tells it nothing,
    /// and exporters then drop.
    pub retry_after_on_resource_exhausted: GoDuration,
    /// Bytes of a key or a text of an attribute, of which longer ones are cut to. 0, no limit, where Tempo has 2,048: what was
    /// sent is kept, and to look for what is too long costs every request a walk.
    pub max_attribute_bytes: u64,
}

impl Default for Distributor {
    fn default() -> Self {
        let retry_after = api::Config::default().retry_after_seconds;
        Self {
            receivers: Receivers::default(),
            retry_after_on_resource_exhausted: GoDuration::from_secs(retry_after),
            max_attribute_bytes: 0,
        }
    }
}
