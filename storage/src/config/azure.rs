//! `storage.trace.azure`: Azure Blob Storage.

use model::NotApplicable;
use serde::{Deserialize, Serialize};

use super::Secret;

/// Tempo's keys. Without a key, credentials come from the environment (`AZURE_STORAGE_ACCOUNT_KEY` and its kin), a
/// workload identity, or the managed identity of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureConfig {
    pub storage_account_name: String,
    pub storage_account_key: Secret,
    pub container_name: String,
    /// Folder in the container; none by default.
    pub prefix: String,
    /// What follows the account in a host name. One that does not start with `blob.` is taken for an emulator at that
    /// address: HTTP, and the account in the path.
    pub endpoint_suffix: String,
    /// Takes the managed identity even if the environment has other credentials.
    pub use_managed_identity: bool,
    /// Takes the workload identity even if the environment has other credentials.
    pub use_federated_token: bool,
    /// Client id of a managed identity that is assigned by the user.
    pub user_assigned_id: String,

    #[serde(skip_serializing)]
    pub use_v2_sdk: NotApplicable,
    #[serde(skip_serializing)]
    pub buffer_size: NotApplicable,
    #[serde(skip_serializing)]
    pub max_buffers: NotApplicable,
    #[serde(skip_serializing)]
    pub hedge_requests_at: NotApplicable,
    #[serde(skip_serializing)]
    pub hedge_requests_up_to: NotApplicable,
}

impl Default for AzureConfig {
    fn default() -> Self {
        Self {
            storage_account_name: String::new(),
            storage_account_key: Secret::default(),
            container_name: String::new(),
            prefix: String::new(),
            endpoint_suffix: "blob.core.windows.net".to_owned(),
            use_managed_identity: false,
            use_federated_token: false,
            user_assigned_id: String::new(),
            use_v2_sdk: NotApplicable::default(),
            buffer_size: NotApplicable::default(),
            max_buffers: NotApplicable::default(),
            hedge_requests_at: NotApplicable::default(),
            hedge_requests_up_to: NotApplicable::default(),
        }
    }
}

impl AzureConfig {
    pub(super) fn not_applicable(&self) -> [(&'static str, &NotApplicable); 5] {
        [
            ("storage.trace.azure.use_v2_sdk", &self.use_v2_sdk),
            ("storage.trace.azure.buffer_size", &self.buffer_size),
            ("storage.trace.azure.max_buffers", &self.max_buffers),
            ("storage.trace.azure.hedge_requests_at", &self.hedge_requests_at),
            ("storage.trace.azure.hedge_requests_up_to", &self.hedge_requests_up_to),
        ]
    }
}
