//! What the clients of all remote stores have in common: where a store is, how long a request may take, and what is
//! put around a client.

use std::time::Duration;

use object_store::limit::LimitStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::counted::Counted;
use super::portioned::Portioned;
use crate::error::Error;
use crate::telemetry::Telemetry;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one attempt, its body included: the largest body, a part of an upload, passes at 0.3 MB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);
/// After this time no further attempt is made. Whoever can wait longer, as a flush can, asks again by itself.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of this process that are under way at once; others wait. Enough to hide the latency of a store, few enough
/// that the answers fit into memory.
const MAX_REQUESTS: usize = 64;

/// Puts limits, counters and a folder around a client.
pub(super) fn wrap(
    client: impl ObjectStore,
    prefix: Path,
    part_bytes: u64,
    telemetry: &Telemetry,
) -> Portioned<LimitStore<Counted<PrefixStore<impl ObjectStore>>>> {
    let counted = Counted::new(PrefixStore::new(client, prefix), telemetry.clone());
    Portioned::new(LimitStore::new(counted, MAX_REQUESTS), part_bytes)
}

pub(super) fn client_options(is_http: bool) -> ClientOptions {
    // the process's TLS is ring's; another choice that was made before stands
    _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new().with_allow_http(is_http).with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT)
}

pub(super) fn retries(max_attempts: usize) -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: FIRST_BACKOFF, max_backoff: LONGEST_BACKOFF, base: 2.0 };
    RetryConfig { backoff, max_retries: max_attempts.saturating_sub(1), retry_timeout: RETRY_TIMEOUT }
}

/// A prefix as a key, from the text in a configuration.
pub(super) fn prefix(key: &'static str, text: &str) -> Result<Path, Error> {
    Path::parse(text.trim_matches('/')).map_err(|error| Error::setting(key, error.to_string()))
}

/// For a client that refuses its settings.
pub(super) fn unusable(key: &'static str, error: &object_store::Error) -> Error {
    Error::setting(key, format!("cannot be used: {error}"))
}

/// Where a store listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub is_http: bool,
    /// `host[:port]`, for an emulator with a path.
    pub host: String,
}

impl Location {
    /// Reads `host[:port]`, with or without a scheme, which then has to agree with `insecure`.
    pub(super) fn parse(key: &'static str, text: &str, insecure: bool) -> Result<Self, Error> {
        let (scheme, host) = text.split_once("://").map_or((None, text), |(scheme, host)| (Some(scheme), host));
        let host = host.trim_end_matches('/');
        let reason = match scheme {
            Some("http") if !insecure => "is an http address, which needs insecure: true",
            Some("https") if insecure => "is an https address, which insecure: true contradicts",
            Some("http" | "https") | None => "",
            Some(_) => "has a scheme that is neither http nor https",
        };
        if !reason.is_empty() {
            return Err(Error::setting(key, format!("{text:?} {reason}")));
        }
        let location = Self { is_http: insecure, host: host.to_owned() };
        match reqwest::Url::parse(&location.url()) {
            Ok(url) if url.username().is_empty() && url.query().is_none() && url.fragment().is_none() => Ok(location),
            _ => Err(Error::setting(key, format!("{text:?} is not host[:port]"))),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}", if self.is_http { "http" } else { "https" }, self.host)
    }

    /// With a name in front of the host's.
    pub(super) fn url_below(&self, name: &str) -> String {
        Self { host: format!("{name}.{}", self.host), ..*self }.url()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_and_agree_with_insecure() {
        let url = |text, insecure| Location::parse("key", text, insecure).map(|location| location.url());
        assert_eq!(url("minio:9000", true).unwrap(), "http://minio:9000");
        assert_eq!(url("https://s3.example.com/", false).unwrap(), "https://s3.example.com");
        for (text, insecure, reason) in [
            ("http://minio", false, "needs insecure: true"),
            ("https://minio", true, "contradicts"),
            ("ftp://minio", false, "neither http nor https"),
            ("", false, "is not host[:port]"),
            ("minio:port", false, "is not host[:port]"),
            ("who@minio", false, "is not host[:port]"),
        ] {
            let error = url(text, insecure).unwrap_err().to_string();
            assert!(error.starts_with("key ") && error.contains(reason), "{error}");
        }
    }
}
