//! The page under `/ui`: what `ui/dist` holds, built from `ui/src` and committed, so that cargo alone builds mosso.
//!
//! Pages are one path segment below `/ui/`, each answered with the same document, and all addresses in it are relative:
//! it works behind any prefix. Files are compressed once. Browsers keep them and ask whether they changed, so an upgrade
//! is seen at the next visit. The document may load from here alone; nothing on the page leads elsewhere.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compression, Crc};

use crate::Edge;
use crate::negotiation::accepts_gzip;
use crate::plain_text::{TEXT, not_found};

/// Pages as `ui/src/place.ts` names them.
const PAGES: [&str; 5] = ["search", "trace", "explore", "services", "store"];
const DOCUMENT: &str = "index.html";

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

struct File {
    name: &'static str,
    content_type: &'static str,
    plain: Bytes,
    gzip: Bytes,
    /// Weak, since both encodings share it.
    etag: HeaderValue,
}

static FILES: LazyLock<[File; 4]> = LazyLock::new(|| {
    [
        File::new(DOCUMENT, "text/html; charset=utf-8", include_bytes!("../../ui/dist/index.html")),
        File::new("app.js", "text/javascript; charset=utf-8", include_bytes!("../../ui/dist/app.js")),
        File::new("app.css", "text/css; charset=utf-8", include_bytes!("../../ui/dist/app.css")),
        File::new("licences.txt", TEXT, include_bytes!("../../ui/dist/licences.txt")),
    ]
});

/// `/` leads to the page. The address is relative, so that a proxy's prefix stays in front of it.
pub(crate) async fn from_root(State(edge): State<Arc<Edge>>) -> Response {
    let prefix = edge.config.http_api_prefix.to_string();
    redirect(&format!("{}ui/search", prefix.strip_prefix('/').map(|path| format!("{path}/")).unwrap_or_default()))
}

/// `/ui` leads to the page.
pub(crate) async fn without_slash() -> Response {
    redirect("ui/search")
}

/// `/ui/` leads to the page.
pub(crate) async fn with_slash() -> Response {
    redirect("search")
}

/// A page or one of its files.
pub(crate) async fn file(Path(name): Path<String>, request_headers: HeaderMap) -> Response {
    let wanted = if PAGES.contains(&name.as_str()) { DOCUMENT } else { &name };
    match FILES.iter().find(|file| file.name == wanted) {
        Some(file) => file.answer(&request_headers),
        None => not_found().await,
    }
}

fn redirect(location: &str) -> Response {
    let cache = (header::CACHE_CONTROL, "no-cache");
    (StatusCode::TEMPORARY_REDIRECT, [cache], [(header::LOCATION, location.to_owned())]).into_response()
}

impl File {
    fn new(name: &'static str, content_type: &'static str, content: &'static [u8]) -> Self {
        let mut crc = Crc::new();
        crc.update(content);
        let etag = HeaderValue::try_from(format!("W/\"{:08x}-{}\"", crc.sum(), content.len()))
            .expect("digits and quotes are valid in a header");
        Self { name, content_type, plain: Bytes::from_static(content), gzip: gzip(content), etag }
    }

    fn answer(&self, request_headers: &HeaderMap) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if self.is_known(request_headers) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
        if accepts_gzip(request_headers) {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return (headers, self.gzip.clone()).into_response();
        }
        (headers, self.plain.clone()).into_response()
    }

    /// Whether the client has this version. Tags of ours hold no comma, so a list of them may be split at one.
    fn is_known(&self, request_headers: &HeaderMap) -> bool {
        request_headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|tags| tags.to_str().ok())
            .flat_map(|tags| tags.split(','))
            .any(|tag| tag.trim().as_bytes() == self.etag.as_bytes())
    }
}

fn gzip(content: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(content)
        .and_then(|()| encoder.finish())
        .expect("compressing memory to memory does not fail")
        .into()
}

#[cfg(test)]
mod tests;
