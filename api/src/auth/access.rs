//! What a request needs. What is not known here needs most.

use axum::extract::Request;
use axum::http::Method;

use super::Listener;
use crate::grpc::{self, HEALTH_CHECK, HEALTH_WATCH};

/// What a credential must allow for a request to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody may: probes.
    Open,
    /// Whoever is known may: what is the same for all tenants.
    Known,
    Read,
    Write,
    Admin,
}

const STREAMING_QUERIER: &str = "/tempopb.StreamingQuerier/";

pub(super) fn of(listener: Listener, request: &Request, prefix: &str, open_metrics: bool) -> Access {
    let path = request.uri().path();
    match listener {
        Listener::OtlpGrpc | Listener::JaegerGrpc if is_health(path) => Access::Open,
        Listener::OtlpGrpc
        | Listener::OtlpHttp
        | Listener::JaegerGrpc
        | Listener::JaegerThriftHttp
        | Listener::Zipkin => Access::Write,
        Listener::Http if grpc::is_grpc(request) => of_grpc(path),
        Listener::Http => of_http(request.method(), path, prefix, open_metrics),
    }
}

fn is_health(path: &str) -> bool {
    path == HEALTH_CHECK || path == HEALTH_WATCH
}

fn of_grpc(path: &str) -> Access {
    match path {
        path if is_health(path) => Access::Open,
        path if path.starts_with(STREAMING_QUERIER) => Access::Read,
        _ => Access::Admin,
    }
}

fn of_http(method: &Method, path: &str, prefix: &str, open_metrics: bool) -> Access {
    match path {
        "/ready" => return Access::Open,
        "/metrics" if open_metrics => return Access::Open,
        "/" => return Access::Known,
        _ => {}
    }
    match path.strip_prefix(prefix).unwrap_or_default() {
        "/ui/metrics" | "/ui/config" => Access::Admin,
        "/ui" | "/api/echo" | "/api/status/buildinfo" => Access::Known,
        path if path.starts_with("/ui/") => Access::Known,
        "/api/overrides" | "/api/deletions" if *method != Method::GET => Access::Admin,
        path if path.starts_with("/api/") => of_api(method),
        _ => Access::Admin,
    }
}

/// Queries may be asked by POST, too.
fn of_api(method: &Method) -> Access {
    if [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS].contains(method) {
        Access::Read
    } else {
        Access::Write
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn what_is_not_known_needs_an_administrator() {
        let of = |listener, method: &str, path: &str, content_type: &str| {
            let request = Request::builder().method(method).uri(path).header("content-type", content_type);
            of(listener, &request.body(Body::empty()).unwrap(), "/tempo", false)
        };
        use Listener::{Http, OtlpGrpc, OtlpHttp};
        for (listener, method, path, content_type, expected) in [
            (Http, "GET", "/ready", "", Access::Open),
            (Http, "GET", "/ready/", "", Access::Admin),
            (Http, "GET", "/metrics", "", Access::Admin),
            (Http, "GET", "/tempo/api/search", "", Access::Read),
            (Http, "POST", "/tempo/api/v2/traces/diff", "", Access::Read),
            (Http, "DELETE", "/tempo/api/traces/1", "", Access::Write),
            (Http, "GET", "/tempo/api/overrides", "", Access::Read),
            (Http, "POST", "/tempo/api/overrides", "", Access::Admin),
            (Http, "GET", "/tempo/api/deletions", "", Access::Read),
            (Http, "POST", "/tempo/api/deletions", "", Access::Admin),
            (Http, "GET", "/api/search", "", Access::Admin),
            (Http, "GET", "/tempo/ui/search", "", Access::Known),
            (Http, "GET", "/tempo/ui/config", "", Access::Admin),
            (Http, "GET", "/status/config", "", Access::Admin),
            (Http, "POST", "/flush", "", Access::Admin),
            (Http, "GET", "//flush", "", Access::Admin),
            (Http, "POST", "/tempopb.StreamingQuerier/Search", "application/grpc", Access::Read),
            (Http, "POST", HEALTH_CHECK, "application/grpc", Access::Open),
            (Http, "POST", "/ready", "application/grpc", Access::Admin),
            (Http, "POST", HEALTH_CHECK, "", Access::Admin),
            (OtlpGrpc, "POST", HEALTH_WATCH, "application/grpc", Access::Open),
            (OtlpGrpc, "POST", "/anything", "application/grpc", Access::Write),
            (OtlpHttp, "POST", "/v1/traces", "", Access::Write),
            (OtlpHttp, "GET", "/ready", "", Access::Write),
        ] {
            assert_eq!(of(listener, method, path, content_type), expected, "{method} {path} {content_type}");
        }
    }
}
