//! `storage.trace.gcs`: Google Cloud Storage.

use model::NotApplicable;
use serde::{Deserialize, Serialize};

/// Tempo's keys. Credentials come from the environment (`GOOGLE_APPLICATION_CREDENTIALS` and its kin) or from the
/// instance's service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GcsConfig {
    pub bucket_name: String,
    /// Folder in the bucket; none by default.
    pub prefix: String,
    /// `host[:port]`; Google's own by default.
    pub endpoint: String,
    /// Talks HTTP and without credentials, as an emulator wants it.
    pub insecure: bool,
    /// Attempts of one request while the store is not well.
    pub max_retries: usize,

    #[serde(skip_serializing)]
    pub chunk_buffer_size: NotApplicable,
    #[serde(skip_serializing)]
    pub hedge_requests_at: NotApplicable,
    #[serde(skip_serializing)]
    pub hedge_requests_up_to: NotApplicable,
    #[serde(skip_serializing)]
    pub list_blocks_concurrency: NotApplicable,
    #[serde(skip_serializing)]
    pub object_cache_control: NotApplicable,
    #[serde(skip_serializing)]
    pub object_metadata: NotApplicable,
}

impl Default for GcsConfig {
    fn default() -> Self {
        Self {
            bucket_name: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            insecure: false,
            max_retries: super::DEFAULT_ATTEMPTS,
            chunk_buffer_size: NotApplicable::default(),
            hedge_requests_at: NotApplicable::default(),
            hedge_requests_up_to: NotApplicable::default(),
            list_blocks_concurrency: NotApplicable::default(),
            object_cache_control: NotApplicable::default(),
            object_metadata: NotApplicable::default(),
        }
    }
}

impl GcsConfig {
    pub(super) fn not_applicable(&self) -> [(&'static str, &NotApplicable); 6] {
        [
            ("storage.trace.gcs.chunk_buffer_size", &self.chunk_buffer_size),
            ("storage.trace.gcs.hedge_requests_at", &self.hedge_requests_at),
            ("storage.trace.gcs.hedge_requests_up_to", &self.hedge_requests_up_to),
            ("storage.trace.gcs.list_blocks_concurrency", &self.list_blocks_concurrency),
            ("storage.trace.gcs.object_cache_control", &self.object_cache_control),
            ("storage.trace.gcs.object_metadata", &self.object_metadata),
        ]
    }
}
