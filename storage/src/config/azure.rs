//! `storage.trace.azure`: Azure Blob Storage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// Tempo's keys. Without a key, credentials come from the environment (`AZURE_STORAGE_ACCOUNT_KEY` and its kin), a
/// workload identity, or the managed identity of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AzureConfig {
    /// Name of the storage account.
    pub storage_account_name: String,
    /// Key of the storage account; never shown.
    pub storage_account_key: Secret,
    /// Name of the container.
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
        }
    }
}
