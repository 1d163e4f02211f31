//! `/api/overrides`: settings that a tenant makes for itself, as in Tempo: JSON in and out, versions in `ETag` and `If-Match`.
//!
//! What may be set, where it is kept and what it changes is the affair of [`UserOverrides`].

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use model::TenantId;

use crate::Edge;
use crate::plain_text::{not_found, plain_error};
use crate::tenant::{self, TenantError};

/// Larger bodies are refused.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Settings as JSON, and their version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub json: String,
    pub version: String,
}

/// Why settings are not shown or not changed. The texts of the first three are Tempo's.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    #[error("not found")]
    NotFound,
    #[error("version does not match")]
    Conflict,
    #[error(
        "tenant has conflicting overrides set in runtime config, contact your system administrator to perform changes \
         through the API"
    )]
    ConflictingRuntimeOverrides,
    /// What the client sent cannot be used.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Failed(String),
}

/// The settings that tenants make for themselves.
#[async_trait]
pub trait UserOverrides: Send + Sync {
    /// What a tenant has set; `merged`: with what the operator has set for it.
    async fn get(&self, tenant: &TenantId, merged: bool) -> Result<Settings, OverridesError>;

    /// Sets all anew, in the place of this version; `0` for none. Gives the new version.
    async fn set(
        &self,
        tenant: &TenantId,
        json: &[u8],
        version: &str,
        skip_check: bool,
    ) -> Result<String, OverridesError>;

    /// Changes what a JSON merge patch names.
    async fn patch(&self, tenant: &TenantId, patch: &[u8], skip_check: bool) -> Result<Settings, OverridesError>;

    async fn delete(&self, tenant: &TenantId, version: &str) -> Result<(), OverridesError>;

    /// What a tenant has set, as far as this process knows; for `/status/overrides`.
    fn shown(&self, tenant: &TenantId) -> Option<String>;

    /// The tenants that have set something.
    fn tenants(&self) -> Vec<TenantId>;
}

/// The route; without user-configurable overrides there is nothing behind it.
pub(crate) fn route() -> MethodRouter<Arc<Edge>> {
    get(respond).post(respond).put(respond).patch(respond).delete(respond)
}

async fn respond(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let Some(overrides) = &edge.user_overrides else { return not_found().await };
    let (head, body) = request.into_parts();
    let tenant = match tenant::of(&head.headers, edge.config.multitenancy_enabled) {
        Ok(tenant) => tenant,
        Err(TenantError::Missing) => return plain_error(StatusCode::UNAUTHORIZED, "no org id"),
        Err(error) => return plain_error(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let call = Call { overrides: overrides.as_ref(), tenant, uri: &head.uri, headers: &head.headers };
    let answered = match head.method {
        Method::GET => call.get().await,
        Method::PATCH => call.patch(body).await,
        Method::DELETE => call.delete().await,
        _ => call.set(body).await,
    };
    answered.unwrap_or_else(refused)
}

/// One request.
struct Call<'a> {
    overrides: &'a dyn UserOverrides,
    tenant: TenantId,
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

/// A status and a text, or why the settings were not changed.
enum Refusal {
    Request(StatusCode, String),
    Overrides(OverridesError),
}

impl From<OverridesError> for Refusal {
    fn from(error: OverridesError) -> Self {
        Self::Overrides(error)
    }
}

impl Call<'_> {
    async fn get(&self) -> Result<Response, Refusal> {
        let merged = match self.param("scope").as_deref() {
            None | Some("api") => false,
            Some("merged") => true,
            Some(other) => {
                return Err(bad_request(format!("unknown scope {other:?}, valid options are api and merged")));
            }
        };
        Ok(shown(self.overrides.get(&self.tenant, merged).await?))
    }

    async fn set(&self, body: Body) -> Result<Response, Refusal> {
        let (version, skip_check) = (self.version()?, self.skips_check()?);
        let version = self.overrides.set(&self.tenant, &read(body).await?, version, skip_check).await?;
        Ok([(header::ETAG, etag(&version))].into_response())
    }

    async fn patch(&self, body: Body) -> Result<Response, Refusal> {
        let skip_check = self.skips_check()?;
        Ok(shown(self.overrides.patch(&self.tenant, &read(body).await?, skip_check).await?))
    }

    async fn delete(&self) -> Result<Response, Refusal> {
        self.overrides.delete(&self.tenant, self.version()?).await?;
        Ok(StatusCode::OK.into_response())
    }

    fn version(&self) -> Result<&str, Refusal> {
        let version = self.headers.get(header::IF_MATCH).and_then(|version| version.to_str().ok());
        let version = version.map(|version| version.trim_matches('"')).filter(|version| !version.is_empty());
        version.ok_or_else(|| {
            Refusal::Request(StatusCode::PRECONDITION_REQUIRED, "must specify If-Match header".to_owned())
        })
    }

    fn skips_check(&self) -> Result<bool, Refusal> {
        match self.param("skip-conflicting-overrides-check").as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(bad_request("could not parse skip-conflicting-overrides-check, must be a boolean value")),
        }
    }

    fn param(&self, name: &str) -> Option<String> {
        let mut params = form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes());
        params.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    match axum::body::to_bytes(body, MAX_BODY_BYTES).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(bad_request(format!("read overrides of at most {MAX_BODY_BYTES} bytes: {error}"))),
    }
}

fn bad_request(text: impl Into<String>) -> Refusal {
    Refusal::Request(StatusCode::BAD_REQUEST, text.into())
}

fn shown(settings: Settings) -> Response {
    let headers =
        [(header::ETAG, etag(&settings.version)), (header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (headers, settings.json).into_response()
}

fn etag(version: &str) -> HeaderValue {
    HeaderValue::from_str(version).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

fn refused(refusal: Refusal) -> Response {
    let error = match refusal {
        Refusal::Request(status, text) => return plain_error(status, &text),
        Refusal::Overrides(error) => error,
    };
    let status = match &error {
        OverridesError::NotFound => return StatusCode::NOT_FOUND.into_response(),
        OverridesError::Conflict => StatusCode::PRECONDITION_FAILED,
        OverridesError::Invalid(_) | OverridesError::ConflictingRuntimeOverrides => StatusCode::BAD_REQUEST,
        OverridesError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    plain_error(status, &error.to_string())
}
