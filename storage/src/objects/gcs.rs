//! `storage.trace.gcs` → a client of Google Cloud Storage.

use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};

use super::remote::{self, Location, client_options, retries};
use crate::config::GcsConfig;
use crate::error::Error;

pub(super) fn build(config: &GcsConfig) -> Result<GoogleCloudStorage, Error> {
    if config.bucket_name.is_empty() {
        return Err(Error::setting("storage.trace.gcs.bucket_name", "is missing"));
    }
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&config.bucket_name)
        .with_client_options(client_options(config.insecure))
        .with_retry(retries(config.max_retries));
    if config.insecure {
        builder = builder.with_skip_signature(true);
    }
    if !config.endpoint.is_empty() {
        let location = Location::parse("storage.trace.gcs.endpoint", &config.endpoint, config.insecure)?;
        builder = builder.with_base_url(&location.url());
    }
    builder.build().map_err(|error| remote::unusable("storage.trace.gcs", &error))
}
