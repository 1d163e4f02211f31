//! Paths as people and proxies write them: `//api/search`, of a base URL that ends in a slash, leads to `/api/search`, with
//! the query as it is.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Answers a path that is not clean with the clean one, and with no body, as Tempo does.
pub(crate) async fn redirect_to_clean(request: Request, next: Next) -> Response {
    let clean = clean(request.uri().path());
    if clean == request.uri().path() {
        return next.run(request).await;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{clean}{query}");
    // a client may turn what is moved for good into a GET, unless it is told not to
    let status = match *request.method() {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    let mut response = status.into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The path without empty parts, `.` and `..`, as Go cleans it; a slash at its end stays.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, expected) in [
            ("/api/search", "/api/search"),
            ("//api/search", "/api/search"),
            ("/api//search/./tags", "/api/search/tags"),
            ("/api/x/../search/", "/api/search/"),
            ("/../..", "/"),
            ("//", "/"),
            ("/", "/"),
            ("/api/v2/search/tag/a%2Fb/values", "/api/v2/search/tag/a%2Fb/values"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
