//! `storage.trace.gcs`: Google Cloud Storage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tempo's keys. Credentials come from the environment (`GOOGLE_APPLICATION_CREDENTIALS` and its kin) or from the
/// instance's service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GcsConfig {
    /// Name of the bucket.
    pub bucket_name: String,
    /// Folder in the bucket; none by default.
    pub prefix: String,
    /// `host[:port]`, or a URL; Google's own by default.
    pub endpoint: String,
    /// Talks HTTP and without credentials, as an emulator wants it; with an https address, HTTPS with any certificate.
    pub insecure: bool,
    /// Attempts of one request while the store is not well.
    pub max_retries: usize,
}

impl Default for GcsConfig {
    fn default() -> Self {
        Self {
            bucket_name: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            insecure: false,
            max_retries: super::DEFAULT_ATTEMPTS,
        }
    }
}
