//! `/metrics/generated`: the series that spans are made into, for a Prometheus that scrapes instead of being written to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use generator::Format;

use crate::negotiation::accepts;
use crate::plain_text::plain_error;
use crate::tenant::TenantError;
use crate::{Edge, tenant};

/// The series of the tenant that asks; without series an empty text.
pub(crate) async fn show(State(edge): State<Arc<Edge>>, headers: HeaderMap) -> Response {
    let tenant = match tenant::of(&headers, edge.config.multitenancy_enabled) {
        Ok(tenant) => tenant,
        Err(error @ TenantError::Missing) => return plain_error(StatusCode::UNAUTHORIZED, &error.to_string()),
        Err(error) => return plain_error(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if edge.generator.as_ref().is_some_and(|generator| !generator.is_caught_up()) {
        let reason = "spans that the log holds are being counted, ask again soon";
        return plain_error(StatusCode::SERVICE_UNAVAILABLE, reason);
    }
    let (format, content_type) = if accepts(&headers, "application/openmetrics-text") {
        (Format::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (Format::Text, "text/plain; version=0.0.4; charset=utf-8")
    };
    let series = edge.generator.as_ref().map(|generator| generator.exposition(&tenant, format)).unwrap_or_default();
    ([(header::CONTENT_TYPE, content_type)], series).into_response()
}
