//! What stands before `/api` in every path of a query.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `/tempo`, or nothing. A slash at its end means nothing, as in Tempo, and is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ApiPrefix(String);

/// Why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("{0:?} must begin with a slash, as /tempo does")]
    NoSlash(String),
    #[error("{prefix:?} has {character:?}; a prefix is made of letters, digits and - . _ ~ between single slashes")]
    Character { prefix: String, character: char },
    #[error("{0:?} has an empty part, or one of dots alone; write it as clients ask for it, as /tempo")]
    Part(String),
}

impl FromStr for ApiPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let prefix = text.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(Self::default());
        }
        let parts = prefix.strip_prefix('/').ok_or_else(|| PrefixError::NoSlash(text.to_owned()))?;
        if let Some(character) = parts.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._~/".contains(*c)) {
            return Err(PrefixError::Character { prefix: text.to_owned(), character });
        }
        if parts.split('/').any(|part| part.chars().all(|c| c == '.')) {
            return Err(PrefixError::Part(text.to_owned()));
        }
        Ok(Self(prefix.to_owned()))
    }
}

impl Deref for ApiPrefix {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ApiPrefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl From<ApiPrefix> for String {
    fn from(prefix: ApiPrefix) -> Self {
        prefix.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_is_dropped_and_what_no_path_has_is_named() {
        for (text, prefix) in [("", ""), ("/", ""), ("/tempo", "/tempo"), ("/tempo/", "/tempo"), ("/a/b.c/", "/a/b.c")]
        {
            assert_eq!(&*text.parse::<ApiPrefix>().unwrap(), prefix, "{text}");
        }
        for (text, wrong) in
            [("tempo", "begin"), ("/a b", "' '"), ("/{a}", "'{'"), ("/*", "'*'"), ("/a//b", "empty"), ("/..", "dots")]
        {
            let error = text.parse::<ApiPrefix>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
