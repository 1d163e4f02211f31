//! `X-Scope-OrgID` (header or gRPC metadata) → [`TenantId`]. Says what is wrong; how a protocol words it is its own matter.

use axum::http::HeaderMap;
use model::tenant::{ParseTenantError, ParseTenantsError};
use model::{TenantId, Tenants};

pub(crate) const HEADER: &str = "x-scope-orgid";

/// Why a request belongs to no tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TenantError {
    #[error("no org id")]
    Missing,
    /// `a|b`, where the request can be about one tenant alone.
    #[error("multiple org IDs present")]
    Multiple,
    /// `a|b` in a query, where queries over several tenants are switched off.
    #[error("multi-tenant query unsupported")]
    Unsupported,
    #[error("{0}")]
    Invalid(ParseTenantsError),
}

/// The tenant of a request; the one tenant of everything while multi-tenancy is off.
pub(crate) fn of(headers: &HeaderMap, multitenancy: bool) -> Result<TenantId, TenantError> {
    several(headers, multitenancy)?.only().cloned().ok_or(TenantError::Multiple)
}

/// The tenants that a query is about: `a|b` asks both at once.
pub(crate) fn several(headers: &HeaderMap, multitenancy: bool) -> Result<Tenants, TenantError> {
    if !multitenancy {
        return Ok(TenantId::single().into());
    }
    let value = headers.get(HEADER).ok_or(TenantError::Missing)?;
    Tenants::parse(&String::from_utf8_lossy(value.as_bytes())).map_err(|error| match error {
        ParseTenantsError::One(ParseTenantError::Missing) => TenantError::Missing,
        other => TenantError::Invalid(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(header: Option<&'static str>, multitenancy: bool) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(HEADER, value.parse().unwrap());
        }
        of(&headers, multitenancy).map(|id| id.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_multitenancy_the_header_is_ignored() {
        assert_eq!(tenant(None, false).as_deref(), Ok("single-tenant"));
        assert_eq!(tenant(Some("a/b"), false).as_deref(), Ok("single-tenant"));
    }

    #[test]
    fn with_multitenancy_the_header_must_name_one_tenant() {
        assert_eq!(tenant(Some("team-a"), true).as_deref(), Ok("team-a"));
        assert_eq!(tenant(None, true), Err("no org id".to_owned()));
        assert_eq!(tenant(Some(""), true), Err("no org id".to_owned()));
        assert_eq!(tenant(Some("a|b"), true), Err("multiple org IDs present".to_owned()));
        assert_eq!(tenant(Some("a|a"), true).as_deref(), Ok("a"));
        assert_eq!(tenant(Some("a/b"), true), Err("tenant ID 'a/b' contains unsupported character '/'".to_owned()));
    }
}
