//! `storage.trace.s3`: S3 and what speaks its protocol.

use std::path::PathBuf;

use model::NotApplicable;
use serde::{Deserialize, Serialize};

use super::Secret;

/// Tempo's keys. Without keys, credentials come from the environment (`AWS_ACCESS_KEY_ID` and its kin), a web identity,
/// or the role of the container or instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    pub bucket: String,
    /// Folder in the bucket; none by default.
    pub prefix: String,
    /// `host[:port]`. Default: `AWS_ENDPOINT_URL` of the environment, else AWS itself in `region`.
    pub endpoint: String,
    /// Default: as the endpoint's name has it, else `AWS_REGION`, else `us-east-1`.
    pub region: String,
    pub access_key: String,
    pub secret_key: Secret,
    pub session_token: Secret,
    /// Talks HTTP instead of HTTPS.
    pub insecure: bool,
    /// Puts the bucket in the path of a URL instead of its host name.
    pub forcepathstyle: bool,
    pub bucket_lookup_type: BucketLookup,
    /// Bytes of one part of a large upload. 8 MiB.
    pub part_size: u64,
    /// Attempts of one request while the store is not well.
    pub retry_max_attempts: usize,
    /// PEM file of the authority that signed the store's certificate, besides those that the system trusts.
    pub tls_ca_path: Option<PathBuf>,
    /// Takes any certificate.
    pub tls_insecure_skip_verify: bool,

    #[serde(skip_serializing)]
    pub hedge_requests_at: NotApplicable,
    #[serde(skip_serializing)]
    pub hedge_requests_up_to: NotApplicable,
    #[serde(skip_serializing)]
    pub list_blocks_concurrency: NotApplicable,
    #[serde(skip_serializing)]
    pub enable_dual_stack: NotApplicable,
    #[serde(skip_serializing)]
    pub native_aws_auth_enabled: NotApplicable,
    #[serde(skip_serializing)]
    pub checksum_type: NotApplicable,
    #[serde(skip_serializing)]
    pub storage_class: NotApplicable,
    #[serde(skip_serializing)]
    pub tags: NotApplicable,
    #[serde(skip_serializing)]
    pub metadata: NotApplicable,
}

/// How a bucket is named in a URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BucketLookup {
    /// In the host name on AWS, in the path elsewhere.
    #[default]
    Auto,
    /// In the host name.
    Dns,
    /// In the path.
    Path,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            region: String::new(),
            access_key: String::new(),
            secret_key: Secret::default(),
            session_token: Secret::default(),
            insecure: false,
            forcepathstyle: false,
            bucket_lookup_type: BucketLookup::default(),
            part_size: super::DEFAULT_PART_BYTES,
            retry_max_attempts: super::DEFAULT_ATTEMPTS,
            tls_ca_path: None,
            tls_insecure_skip_verify: false,
            hedge_requests_at: NotApplicable::default(),
            hedge_requests_up_to: NotApplicable::default(),
            list_blocks_concurrency: NotApplicable::default(),
            enable_dual_stack: NotApplicable::default(),
            native_aws_auth_enabled: NotApplicable::default(),
            checksum_type: NotApplicable::default(),
            storage_class: NotApplicable::default(),
            tags: NotApplicable::default(),
            metadata: NotApplicable::default(),
        }
    }
}

impl S3Config {
    pub(super) fn not_applicable(&self) -> [(&'static str, &NotApplicable); 9] {
        [
            ("storage.trace.s3.hedge_requests_at", &self.hedge_requests_at),
            ("storage.trace.s3.hedge_requests_up_to", &self.hedge_requests_up_to),
            ("storage.trace.s3.list_blocks_concurrency", &self.list_blocks_concurrency),
            ("storage.trace.s3.enable_dual_stack", &self.enable_dual_stack),
            ("storage.trace.s3.native_aws_auth_enabled", &self.native_aws_auth_enabled),
            ("storage.trace.s3.checksum_type", &self.checksum_type),
            ("storage.trace.s3.storage_class", &self.storage_class),
            ("storage.trace.s3.tags", &self.tags),
            ("storage.trace.s3.metadata", &self.metadata),
        ]
    }
}
