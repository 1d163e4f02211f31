//! Which pages of other origins may ask: the `cors` settings of an OTLP receiver, and the same of the API.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header, request};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

const ANY: &str = "*";

const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

/// Without origins, no page of another origin may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsConfig {
    /// `https://shop.example`; one `*` in it stands for any text, and alone for every origin.
    pub allowed_origins: Vec<String>,
    /// Headers besides the usual; `*` alone for any.
    pub allowed_headers: Vec<String>,
    /// Headers of answers that a page may see.
    pub exposed_headers: Vec<String>,
    /// How long a browser may remember the answer.
    pub max_age: Option<Duration>,
}

/// A text that is no name of a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a header")]
pub struct CorsError(String);

impl CorsConfig {
    /// # Errors
    /// When a header cannot be called so.
    pub fn check(&self) -> Result<(), CorsError> {
        self.layer().map(|_| ())
    }

    /// `None` where nothing is allowed.
    pub(crate) fn layer(&self) -> Result<Option<CorsLayer>, CorsError> {
        let (origins, patterns) = (self.allowed_origins.clone(), self.allowed_origins.clone());
        let exposed = headers(&self.exposed_headers)?;
        let allowed = if self.allowed_headers.iter().any(|name| name == ANY) {
            AllowHeaders::mirror_request()
        } else {
            let usual = [header::ACCEPT, header::CONTENT_TYPE, HeaderName::from_static("x-requested-with")];
            AllowHeaders::list(usual.into_iter().chain(headers(&self.allowed_headers)?))
        };
        if origins.is_empty() {
            return Ok(None);
        }
        let is_allowed = move |origin: &HeaderValue, _: &request::Parts| is_match(&origins, origin, |_| true);
        // a page that nobody has named gets no answer to what the browser's user may see
        let has_credentials = move |origin: &HeaderValue, _: &request::Parts| is_match(&patterns, origin, |p| p != ANY);
        let mut layer = CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(is_allowed))
            .allow_credentials(AllowCredentials::predicate(has_credentials))
            .allow_methods(METHODS)
            .allow_headers(allowed)
            .expose_headers(ExposeHeaders::list(exposed));
        if let Some(max_age) = self.max_age {
            layer = layer.max_age(max_age);
        }
        Ok(Some(layer))
    }
}

fn headers(names: &[String]) -> Result<Vec<HeaderName>, CorsError> {
    let named = names.iter().filter(|name| *name != ANY);
    named.map(|name| name.parse().map_err(|_| CorsError(name.clone()))).collect()
}

fn is_match(patterns: &[String], origin: &HeaderValue, counts: impl Fn(&str) -> bool) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    patterns.iter().filter(|pattern| counts(pattern)).any(|pattern| matches(pattern, origin))
}

/// Origins have no case; at most one `*` is a wildcard.
fn matches(pattern: &str, origin: &str) -> bool {
    let (pattern, origin) = (pattern.to_ascii_lowercase(), origin.to_ascii_lowercase());
    match pattern.split_once('*') {
        None => pattern == origin,
        Some((start, end)) => {
            origin.len() >= start.len() + end.len() && origin.starts_with(start) && origin.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, origin, expected) in [
            ("https://shop.example", "https://Shop.example", true),
            ("https://shop.example", "https://shop.example.evil", false),
            ("https://*.example", "https://a.b.example", true),
            ("https://*.example", "https://.example", true),
            ("https://*.example", "http://a.example", false),
            ("*", "null", true),
        ] {
            assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
        }
        let wrong = CorsConfig { allowed_headers: vec!["a b".to_owned()], ..CorsConfig::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("\"a b\""));
    }
}
