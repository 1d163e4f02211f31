//! `storage.trace.s3` → a client of S3 or of what speaks its protocol.

use std::fs;
use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::{Certificate, ClientOptions, StaticCredentialProvider};

use super::remote::{self, Location, client_options, retries};
use crate::config::{BucketLookup, S3Config};
use crate::error::Error;

/// AWS's own rules for the parts of an upload.
const PART_BYTES: std::ops::RangeInclusive<u64> = 5 << 20..=5 << 30;
const AWS_DOMAIN: &str = ".amazonaws.com";
const DEFAULT_REGION: &str = "us-east-1";

pub(super) fn build(config: &S3Config) -> Result<AmazonS3, Error> {
    check(config)?;
    let mut builder = AmazonS3Builder::from_env();
    if !config.access_key.is_empty() {
        // as a whole, or a session token of the environment would be taken for one of these keys
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(AwsCredential {
            key_id: config.access_key.clone(),
            secret_key: config.secret_key.expose().to_owned(),
            token: Some(config.session_token.expose().to_owned()).filter(|token| !token.is_empty()),
        })));
    }
    let from_env = |key| builder.get_config_value(&key).filter(|value| !value.is_empty());
    let endpoint = Some(config.endpoint.clone()).filter(|endpoint| !endpoint.is_empty());
    let endpoint =
        endpoint.or_else(|| from_env(AmazonS3ConfigKey::S3Endpoint)).or_else(|| from_env(AmazonS3ConfigKey::Endpoint));
    let region = Some(config.region.clone()).filter(|region| !region.is_empty());
    let region = region
        .or_else(|| region_of(endpoint.as_deref()?))
        .or_else(|| from_env(AmazonS3ConfigKey::Region))
        .unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let address = endpoint.unwrap_or_else(|| format!("s3.{region}{AWS_DOMAIN}"));
    let location = Location::parse("storage.trace.s3.endpoint", &address, config.insecure)?;
    let virtual_hosted = in_host_name(config, &location.host);
    let url = match virtual_hosted {
        true => location.url_below(&config.bucket),
        false => location.url(),
    };
    builder
        .with_bucket_name(&config.bucket)
        .with_region(region)
        .with_config(AmazonS3ConfigKey::S3Endpoint, url)
        .with_virtual_hosted_style_request(virtual_hosted)
        .with_client_options(tls(config, client_options(location.is_http))?)
        .with_retry(retries(config.retry_max_attempts))
        .build()
        .map_err(|error| remote::unusable("storage.trace.s3", &error))
}

fn check(config: &S3Config) -> Result<(), Error> {
    let wrong = |key, reason: &str| Err(Error::setting(key, reason));
    if config.bucket.is_empty() {
        return wrong("storage.trace.s3.bucket", "is missing");
    }
    if config.access_key.is_empty() != config.secret_key.is_empty() {
        return wrong("storage.trace.s3", "has one of access_key and secret_key, and needs both or none");
    }
    if config.access_key.is_empty() && !config.session_token.is_empty() {
        return wrong("storage.trace.s3.session_token", "needs access_key and secret_key beside it");
    }
    if config.forcepathstyle && config.bucket_lookup_type == BucketLookup::Dns {
        return wrong("storage.trace.s3.bucket_lookup_type", "is dns, which forcepathstyle excludes");
    }
    if !PART_BYTES.contains(&config.part_size) {
        return wrong("storage.trace.s3.part_size", "must be between 5 MiB and 5 GiB");
    }
    Ok(())
}

/// Whether the bucket stands in the host name of a URL.
fn in_host_name(config: &S3Config, host: &str) -> bool {
    match config.bucket_lookup_type {
        BucketLookup::Dns => true,
        BucketLookup::Path => false,
        // a dot would be one too many for the certificate
        BucketLookup::Auto => !config.forcepathstyle && host.ends_with(AWS_DOMAIN) && !config.bucket.contains('.'),
    }
}

/// The region in a name of AWS: `s3.eu-west-1.amazonaws.com`.
fn region_of(endpoint: &str) -> Option<String> {
    let name = endpoint.rsplit("//").next()?.strip_suffix(AWS_DOMAIN)?;
    let region = name.rsplit('.').next()?;
    (region.contains('-') && name.starts_with("s3")).then(|| region.to_owned())
}

fn tls(config: &S3Config, options: ClientOptions) -> Result<ClientOptions, Error> {
    let mut options = options.with_allow_invalid_certificates(config.tls_insecure_skip_verify);
    if let Some(path) = &config.tls_ca_path {
        let pem = fs::read(path).map_err(Error::io("read storage.trace.s3.tls_ca_path", path))?;
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|error| Error::setting("storage.trace.s3.tls_ca_path", error.to_string()))?;
        options = certificates.into_iter().fold(options, ClientOptions::with_root_certificate);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_read_from_names_of_aws() {
        for (endpoint, region) in [
            ("s3.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("https://s3.dualstack.us-east-2.amazonaws.com", Some("us-east-2")),
            ("s3.amazonaws.com", None),
            ("minio.us-east-2.example.com:9000", None),
        ] {
            assert_eq!(region_of(endpoint).as_deref(), region, "{endpoint}");
        }
    }

    #[test]
    fn a_bucket_stands_in_the_host_name_on_aws_and_in_the_path_elsewhere() {
        let config = S3Config { bucket: "b".to_owned(), ..S3Config::default() };
        let of = |config: &S3Config, host| in_host_name(config, host);
        assert!(of(&config, "s3.eu-west-1.amazonaws.com"));
        assert!(!of(&config, "minio:9000"));
        assert!(of(&S3Config { bucket_lookup_type: BucketLookup::Dns, ..config.clone() }, "minio:9000"));
        assert!(!of(&S3Config { forcepathstyle: true, ..config.clone() }, "s3.amazonaws.com"));
        assert!(!of(&S3Config { bucket: "a.b".to_owned(), ..config }, "s3.amazonaws.com"));
    }
}
