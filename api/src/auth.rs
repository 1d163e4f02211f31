//! Who asks, and whether they may: basic and bearer credentials, each bound to the tenants that it reads and writes.
//!
//! A layer around all routes of a listener, inside of CORS, whose preflights carry no credentials. `X-Scope-OrgID` must name
//! tenants of the credential; where it is absent and there is one tenant only, it is set. What is behind needs to know
//! nothing of credentials.

mod access;
mod config;
mod credentials;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tonic::{Code, Status};

use self::access::Access;
pub use self::config::{AllowedTenants, AuthConfig, CredentialConfig, Listener};
pub use self::credentials::CredentialError;
pub(crate) use self::credentials::Credentials;
use self::credentials::{Credential, Shown};
use crate::otlp::form::Form;
use crate::otlp::refusal::Refusal;
use crate::plain_text::plain_error;
use crate::{Edge, grpc, tenant};

const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"mosso\", charset=\"UTF-8\"");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"mosso\"");

/// What stands before the routes of a listener.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) edge: Arc<Edge>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) listener: Listener,
}

/// Why a request does not pass.
#[derive(Debug, PartialEq, Eq)]
enum Denial {
    NoCredentials,
    Unknown,
    NotOfTenant { access: &'static str, tenant: String },
    NotAdmin,
}

pub(crate) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.check(&mut request) {
        Ok(()) => next.run(request).await,
        Err(denial) => {
            guard.edge.telemetry.denied(guard.listener);
            guard.answer(&denial, &request)
        }
    }
}

impl Guard {
    fn check(&self, request: &mut Request) -> Result<(), Denial> {
        let config = &self.edge.config;
        let open_metrics = self.credentials.config.open_metrics;
        let access = access::of(self.listener, request, &config.http_api_prefix, open_metrics);
        if access == Access::Open {
            return Ok(());
        }
        let shown = Shown::in_headers(request.headers());
        let known = self.credentials.find(&shown).ok_or(match shown {
            Shown::Nothing => Denial::NoCredentials,
            _ => Denial::Unknown,
        })?;
        let headers = request.headers_mut();
        // nothing behind this has a use for it
        headers.remove(header::AUTHORIZATION);
        known.check(access, headers, config.multitenancy_enabled)
    }

    fn answer(&self, denial: &Denial, request: &Request) -> Response {
        let text = denial.text();
        let mut response = match self.listener {
            _ if grpc::is_grpc(request) => return Status::new(denial.code(), text).into_http(),
            Listener::OtlpHttp => {
                let form = Form::of(request.headers()).unwrap_or(Form::Json);
                Refusal::permanent(denial.code(), text).to_http(form)
            }
            _ => plain_error(denial.status(), &text),
        };
        if denial.status() == StatusCode::UNAUTHORIZED {
            self.ask_for_credentials(response.headers_mut());
        }
        response
    }

    /// Names the schemes of which there are credentials; a browser then asks for a password.
    fn ask_for_credentials(&self, headers: &mut HeaderMap) {
        let all = &self.credentials.config.credentials;
        for (scheme, is_used) in [
            (BASIC, all.iter().any(|credential| credential.username.is_some())),
            (BEARER, all.iter().any(|credential| credential.username.is_none())),
        ] {
            if is_used {
                headers.append(header::WWW_AUTHENTICATE, scheme);
            }
        }
    }
}

impl Credential {
    /// Whether a request may have this access, with the tenants that its headers name.
    fn check(&self, access: Access, headers: &mut HeaderMap, multitenancy: bool) -> Result<(), Denial> {
        let (tenants, verb) = match access {
            Access::Open | Access::Known => return Ok(()),
            Access::Admin if self.is_admin => return Ok(()),
            Access::Admin => return Err(Denial::NotAdmin),
            Access::Read => (&self.read, "read"),
            Access::Write => (&self.write, "write"),
        };
        let denied = |name: &str| Denial::NotOfTenant { access: verb, tenant: name.to_owned() };
        if !multitenancy {
            let single = model::TenantId::single();
            return if tenants.have(single.as_str()) { Ok(()) } else { Err(denied(single.as_str())) };
        }
        if headers.get_all(tenant::HEADER).iter().all(HeaderValue::is_empty) {
            return set_tenant(tenants, headers, verb);
        }
        for value in headers.get_all(tenant::HEADER) {
            let text = String::from_utf8_lossy(value.as_bytes());
            if let Some(name) = text.split('|').find(|name| !tenants.have(name)) {
                return Err(denied(name));
            }
        }
        Ok(())
    }
}

/// Names the tenant of a credential that has only one. With several, the routes say that one must be named.
fn set_tenant(tenants: &AllowedTenants, headers: &mut HeaderMap, access: &'static str) -> Result<(), Denial> {
    if matches!(tenants, AllowedTenants::Some(none) if none.is_empty()) {
        return Err(Denial::NotOfTenant { access, tenant: String::new() });
    }
    if let Some(value) = tenants.only().and_then(|tenant| HeaderValue::from_str(tenant.as_str()).ok()) {
        headers.insert(HeaderName::from_static(tenant::HEADER), value);
    }
    Ok(())
}

impl Denial {
    fn code(&self) -> Code {
        match self {
            Self::NoCredentials | Self::Unknown => Code::Unauthenticated,
            Self::NotOfTenant { .. } | Self::NotAdmin => Code::PermissionDenied,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoCredentials | Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::NotOfTenant { .. } | Self::NotAdmin => StatusCode::FORBIDDEN,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::NoCredentials => {
                "no credentials: send the header Authorization with a user and password (Basic) or a token (Bearer)"
                    .to_owned()
            }
            Self::Unknown => "the credentials are not known: check user and password, or the token".to_owned(),
            Self::NotOfTenant { access, tenant } if tenant.is_empty() => {
                format!("these credentials may not {access}")
            }
            Self::NotOfTenant { access, tenant } => format!("these credentials may not {access} tenant {tenant:?}"),
            Self::NotAdmin => "this concerns all tenants: it needs credentials with admin: true".to_owned(),
        }
    }
}
