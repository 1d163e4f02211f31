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

/// Most tenants of one query: each costs a look at its manifest.
pub const MAX_TENANTS: usize = 100;

/// The tenants that one query is about: one at least, each once, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tenants(Vec<TenantId>);

/// Why a text names no tenants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTenantsError {
    #[error(transparent)]
    One(#[from] ParseTenantError),
    #[error("too many tenants: max {MAX_TENANTS} in one query, received {0}")]
    TooMany(usize),
}

impl Tenants {
    /// Tenant ids, parted by `|`.
    pub fn parse(text: &str) -> Result<Self, ParseTenantsError> {
        let mut ids: Vec<TenantId> = text.split('|').map(TenantId::parse).collect::<Result<_, _>>()?;
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > MAX_TENANTS {
            return Err(ParseTenantsError::TooMany(ids.len()));
        }
        Ok(Self(ids))
    }

    /// The tenant, if there is one alone.
    pub fn only(&self) -> Option<&TenantId> {
        let [only] = self.0.as_slice() else { return None };
        Some(only)
    }

    pub fn first(&self) -> &TenantId {
        &self.0[0]
    }

    pub fn iter(&self) -> impl Iterator<Item = &TenantId> {
        self.0.iter()
    }
}

impl From<TenantId> for Tenants {
    fn from(tenant: TenantId) -> Self {
        Self(vec![tenant])
    }
}

impl From<&TenantId> for Tenants {
    fn from(tenant: &TenantId) -> Self {
        Self::from(tenant.clone())
    }
}

impl From<&Tenants> for Tenants {
    fn from(tenants: &Tenants) -> Self {
        tenants.clone()
    }
}

impl fmt::Display for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, tenant) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "|" };
            write!(f, "{separator}{tenant}")?;
        }
        Ok(())
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
    fn several_tenants_are_named_once_each_and_in_order() {
        let text =
            |ids: &str| Tenants::parse(ids).map(|tenants| tenants.to_string()).map_err(|error| error.to_string());
        assert_eq!(text("b|a:k=v|b").as_deref(), Ok("a|b"));
        assert_eq!(Tenants::parse("a|a").unwrap().only().map(TenantId::as_str), Some("a"));
        assert_eq!(Tenants::parse("a|b").unwrap().only(), None);
        assert_eq!(text("a|"), Err("no org id".to_owned()));
        assert_eq!(text("a|b/c"), Err("tenant ID 'b/c' contains unsupported character '/'".to_owned()));
        let many: Vec<String> = (0..=MAX_TENANTS).map(|number| number.to_string()).collect();
        assert_eq!(text(&many.join("|")), Err("too many tenants: max 100 in one query, received 101".to_owned()));
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
