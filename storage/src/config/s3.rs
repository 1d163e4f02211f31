//! `storage.trace.s3`: S3 and what speaks its protocol.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;

/// Tempo's keys. Without keys, credentials come from the environment (`AWS_ACCESS_KEY_ID` and its kin), a web identity,
/// or the role of the container or instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Folder in the bucket; none by default.
    pub prefix: String,
    /// `host[:port]`. Default: `AWS_ENDPOINT_URL` of the environment, else AWS itself in `region`.
    pub endpoint: String,
    /// Default: as the endpoint's name has it, else `AWS_REGION`, else `us-east-1`.
    pub region: String,
    /// Id of the key; the environment has it otherwise.
    pub access_key: String,
    /// The key itself; never shown.
    pub secret_key: Secret,
    /// Of a temporary key; never shown.
    pub session_token: Secret,
    /// Talks HTTP instead of HTTPS.
    pub insecure: bool,
    /// Puts the bucket in the path of a URL instead of its host name.
    pub forcepathstyle: bool,
    /// How the bucket is named in a URL.
    pub bucket_lookup_type: BucketLookup,
    /// Bytes of one part of a large upload. 8 MiB.
    pub part_size: u64,
    /// Attempts of one request while the store is not well.
    pub retry_max_attempts: usize,
    /// PEM file of the authority that signed the store's certificate, besides those that the system trusts.
    #[serde(deserialize_with = "super::optional_path")]
    pub tls_ca_path: Option<PathBuf>,
    /// Takes any certificate.
    pub tls_insecure_skip_verify: bool,
}

/// How a bucket is named in a URL; Tempo writes a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BucketLookup {
    /// In the host name on AWS, in the path elsewhere.
    #[default]
    #[serde(alias = "0")]
    Auto,
    /// In the host name.
    #[serde(alias = "1")]
    Dns,
    /// In the path.
    #[serde(alias = "2")]
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
        }
    }
}
