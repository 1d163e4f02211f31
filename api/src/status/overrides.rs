//! `/status/overrides` and `/status/runtime_config`: what the operator wrote of the limits of tenants, as it holds now.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use model::TenantId;
use serde_json::{Map, Value, json};

use crate::Edge;
use crate::negotiation::accepts;
use crate::plain_text::{plain_error, text_page};

/// Stands for every tenant that is not named.
const ANY_TENANT: &str = "*";

/// The limits of all tenants, as YAML.
pub(crate) async fn runtime_config(State(edge): State<Arc<Edge>>) -> Response {
    let mut text = String::from("GET /status/runtime_config\n---\noverrides:");
    let table = edge.limits.table();
    text.push_str(if table.written.is_empty() { " {}\n" } else { "\n" });
    for (tenant, yaml) in &table.written {
        _ = writeln!(text, "  {}:", Value::from(tenant.as_str()));
        yaml.lines().for_each(|line| _ = writeln!(text, "    {line}"));
    }
    text_page(text)
}

/// Which tenants have limits of their own.
pub(crate) async fn list(State(edge): State<Arc<Edge>>, headers: HeaderMap) -> Response {
    let by_operator = edge.limits.table();
    let own = edge.user_overrides.iter().flat_map(|own| own.tenants()).map(|tenant| tenant.to_string());
    let own: BTreeSet<String> = own.collect();
    let names: BTreeSet<&String> = by_operator.written.keys().chain(&own).collect();
    let tenant = |name: &String| {
        json!({
            "name": name,
            "has_runtime_overrides": by_operator.written.contains_key(name),
            "has_user_configurable_overrides": own.contains(name),
        })
    };
    let mut page = Map::from_iter([("now".to_owned(), now())]);
    if !names.is_empty() {
        page.insert("tenants".to_owned(), names.into_iter().map(tenant).collect());
    }
    reply(&headers, page)
}

/// What holds for one tenant.
pub(crate) async fn of_tenant(State(edge): State<Arc<Edge>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let tenant = match TenantId::parse(&name) {
        Ok(tenant) => tenant,
        Err(error) => return plain_error(axum::http::StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let table = edge.limits.table();
    let mut page = Map::from_iter([
        ("now".to_owned(), now()),
        ("tenant".to_owned(), tenant.to_string().into()),
        ("user_configurable_overrides".to_owned(), own_settings(&edge, &tenant).into()),
    ]);
    let (own, any) = (table.written.get(tenant.as_str()), table.written.get(ANY_TENANT));
    page.insert("runtime_overrides".to_owned(), own.or(any).cloned().unwrap_or_default().into());
    if own.is_none() {
        let which = if any.is_some() { "wildcard overrides" } else { "default overrides" };
        page.insert("using_default_or_wildcard_runtime_overrides".to_owned(), which.into());
    }
    reply(&headers, page)
}

/// What the tenant has set for itself.
fn own_settings(edge: &Edge, tenant: &TenantId) -> String {
    edge.user_overrides.as_ref().and_then(|own| own.shown(tenant)).unwrap_or_default()
}

fn now() -> Value {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string().into()
}

/// JSON for programs, lines for people.
fn reply(headers: &HeaderMap, page: Map<String, Value>) -> Response {
    if accepts(headers, "application/json") {
        let body = Value::Object(page).to_string();
        return ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |(key, value): (&String, &Value)| format!("{key}: {}\n", shown(value));
    text_page(page.iter().map(line).collect())
}
