//! Tenants: whose data it is.

use std::fmt;
use std::sync::Arc;

/// Longest tenant id, in bytes (Tempo's limit).
pub const MAX_TENANT_BYTES: usize = 150;

/// A valid tenant id: 1 to 150 bytes of letters, digits and `!-_.*'()`, not `.` and not `..`, so it is safe in a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// Why a text is not a tenant id. The texts are Tempo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTenantError {
    #[error("no org id")]
    Missing,
    #[error("tenant ID is too long: max {MAX_TENANT_BYTES} characters")]
    TooLong,
    #[error("tenant ID '{tenant}' contains unsupported character '{character}'")]
    Character { tenant: String, character: char },
    #[error("tenant ID is '.' or '..'")]
    Dots,
}

impl TenantId {
    /// The tenant of everything while multi-tenancy is off (Tempo's name for it).
    pub fn single() -> Self {
        Self(Arc::from("single-tenant"))
    }

    /// Checks one tenant id. A suffix `:key=value` is metadata and is cut off.
    pub fn parse(text: &str) -> Result<Self, ParseTenantError> {
        let id = text.split(':').next().unwrap_or_default();
        if id.is_empty() {
            return Err(ParseTenantError::Missing);
        }
        if let Some(character) = id.chars().find(|c| !c.is_ascii_alphanumeric() && !"!-_.*'()".contains(*c)) {
            return Err(ParseTenantError::Character { tenant: id.to_owned(), character });
        }
        if id.len() > MAX_TENANT_BYTES {
            return Err(ParseTenantError::TooLong);
        }
        if id == "." || id == ".." {
            return Err(ParseTenantError::Dots);
        }
        Ok(Self(Arc::from(id)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_tenants_are_kept_and_metadata_is_cut() {
        for (text, id) in [("team-a", "team-a"), ("a:k=v", "a"), ("(x)*!_.'", "(x)*!_.'")] {
            assert_eq!(TenantId::parse(text).unwrap().as_str(), id);
        }
    }

    #[test]
    fn invalid_tenants_say_why() {
        let text = |id: &str| TenantId::parse(id).unwrap_err().to_string();
        assert_eq!(text("a/b"), "tenant ID 'a/b' contains unsupported character '/'");
        assert_eq!(text(""), "no org id");
        assert_eq!(text(".."), "tenant ID is '.' or '..'");
        assert_eq!(text(&"x".repeat(151)), "tenant ID is too long: max 150 characters");
    }
}
