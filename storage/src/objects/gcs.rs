//! `storage.trace.gcs` → a client of Google Cloud Storage.

use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};

use super::remote::{self, Location, client_options, retries};
use crate::config::GcsConfig;
use crate::error::Error;

pub(super) fn build(config: &GcsConfig) -> Result<GoogleCloudStorage, Error> {
    if config.bucket_name.is_empty() {
        return Err(Error::setting("storage.trace.gcs.bucket_name", "is missing"));
    }
    // Tempo's address is that of the JSON API; its `insecure` with https takes any certificate
    let endpoint = config.endpoint.trim_end_matches('/').trim_end_matches("/storage/v1");
    let takes_any_certificate = config.insecure && endpoint.starts_with("https://");
    let is_http = config.insecure && !takes_any_certificate;
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&config.bucket_name)
        .with_client_options(client_options(is_http).with_allow_invalid_certificates(takes_any_certificate))
        .with_retry(retries(config.max_retries));
    if config.insecure {
        builder = builder.with_skip_signature(true);
    }
    if !endpoint.is_empty() {
        let location = Location::parse("storage.trace.gcs.endpoint", endpoint, is_http)?;
        builder = builder.with_base_url(&location.url());
    }
    builder.build().map_err(|error| remote::unusable("storage.trace.gcs", &error))
}
