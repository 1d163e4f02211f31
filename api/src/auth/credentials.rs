//! Secrets from files, and whether one that a client shows is among them.
//!
//! What is kept of a secret is a keyed digest, with a key that each process makes anew. A comparison takes the same time
//! whatever is wrong, and all are compared.

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::SystemRandom;

use super::config::{AllowedTenants, AuthConfig, CredentialConfig, Listener};
use crate::files::read_bounded;

const MAX_FILE_BYTES: u64 = 64 << 10;

/// Why the credentials cannot be used. Nothing of a secret is in a message.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path} is no text in UTF-8")]
    NotText { path: String },
    #[error("{path} has no secret: write the password or token in it, one a line if there are several")]
    Empty { path: String },
    #[error("the system has no random numbers")]
    Random,
}

/// What a client has shown.
pub(super) enum Shown {
    Basic(String),
    Bearer(String),
    /// Nothing, or nothing that could be understood.
    Nothing,
}

/// One credential, and what it is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credential {
    pub read: AllowedTenants,
    pub write: AllowedTenants,
    pub is_admin: bool,
    /// One for each secret that is valid now.
    tags: Vec<Vec<u8>>,
}

pub(crate) struct Credentials {
    pub(super) config: AuthConfig,
    key: hmac::Key,
    current: RwLock<Arc<Vec<Arc<Credential>>>>,
}

impl Credentials {
    /// Reads the files.
    pub(crate) fn load(config: &AuthConfig) -> Result<Self, CredentialError> {
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_unspecified| CredentialError::Random)?;
        let current = RwLock::new(Arc::new(read_all(config, &key)?));
        Ok(Self { config: config.clone(), key, current })
    }

    /// Takes what the files say now; says whether that is something else than before. Reads files, so it blocks.
    pub(crate) fn reload(&self) -> Result<bool, CredentialError> {
        let news = Arc::new(read_all(&self.config, &self.key)?);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = *current != news;
        *current = news;
        Ok(is_new)
    }

    pub(crate) fn asks(&self, listener: Listener) -> bool {
        self.config.asks(listener)
    }

    /// The credential that was shown, if it is known.
    pub(super) fn find(&self, shown: &Shown) -> Option<Arc<Credential>> {
        let message = match shown {
            Shown::Basic(pair) => message("basic", pair),
            Shown::Bearer(token) => message("bearer", token),
            Shown::Nothing => return None,
        };
        let all = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found = None;
        for credential in all.iter() {
            for tag in &credential.tags {
                if hmac::verify(&self.key, &message, tag).is_ok() {
                    found = Some(credential.clone());
                }
            }
        }
        found
    }
}

fn message(scheme: &str, text: &str) -> Vec<u8> {
    format!("{scheme} {text}").into_bytes()
}

fn read_all(config: &AuthConfig, key: &hmac::Key) -> Result<Vec<Arc<Credential>>, CredentialError> {
    config.credentials.iter().map(|one| Ok(Arc::new(read(one, key)?))).collect()
}

fn read(config: &CredentialConfig, key: &hmac::Key) -> Result<Credential, CredentialError> {
    let path = || config.secret_file.display().to_string();
    let bytes = read_bounded(&config.secret_file, MAX_FILE_BYTES)
        .map_err(|source| CredentialError::Read { path: path(), source })?;
    let text = String::from_utf8(bytes).map_err(|_| CredentialError::NotText { path: path() })?;
    let tag = |secret: &str| {
        let message = match &config.username {
            Some(username) => message("basic", &format!("{username}:{secret}")),
            None => message("bearer", secret),
        };
        hmac::sign(key, &message).as_ref().to_vec()
    };
    let secrets = text.lines().filter(|line| !line.trim().is_empty());
    let tags: Vec<Vec<u8>> = secrets.map(tag).collect();
    if tags.is_empty() {
        return Err(CredentialError::Empty { path: path() });
    }
    let CredentialConfig { read, write, is_admin, .. } = config.clone();
    Ok(Credential { read, write, is_admin, tags })
}

impl Shown {
    pub(super) fn in_headers(headers: &HeaderMap) -> Self {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, rest) = value.split_once(' ').unwrap_or_default();
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Bearer(rest.to_owned());
        }
        let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest).ok()).flatten();
        match decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(pair) => Self::Basic(pair),
            None => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn shown(value: &str) -> Shown {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        Shown::in_headers(&headers)
    }

    #[test]
    fn each_line_of_a_file_is_a_secret_and_files_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (password, token) = (dir.path().join("password"), dir.path().join("token"));
        std::fs::write(&password, "one\ntwo\n").unwrap();
        std::fs::write(&token, "a b\r\n").unwrap();
        let credential = |username: Option<&str>, secret_file: &std::path::Path| CredentialConfig {
            username: username.map(str::to_owned),
            secret_file: secret_file.to_owned(),
            read: AllowedTenants::All,
            write: AllowedTenants::Some(BTreeSet::new()),
            is_admin: username.is_none(),
        };
        let config = AuthConfig {
            credentials: vec![credential(Some("eva"), &password), credential(None, &token)],
            ..AuthConfig::default()
        };
        let credentials = Credentials::load(&config).unwrap();
        let is_admin = |value: &str| credentials.find(&shown(value)).map(|credential| credential.is_admin);
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (value, expected) in [
            (basic("eva:one"), Some(false)),
            (basic("eva:two").replace("Basic", "basic"), Some(false)),
            (basic("eva:three"), None),
            (basic("eva"), None),
            (basic("adam:one"), None),
            ("Bearer a b".to_owned(), Some(true)),
            ("Bearer eva:one".to_owned(), None),
            ("Bearer ".to_owned(), None),
            ("a b".to_owned(), None),
            ("Basic ?".to_owned(), None),
        ] {
            assert_eq!(is_admin(&value), expected, "{value}");
        }
        assert!(!credentials.reload().unwrap());
        std::fs::write(&password, "three").unwrap();
        assert!(credentials.reload().unwrap());
        assert_eq!((is_admin(&basic("eva:three")), is_admin(&basic("eva:one"))), (Some(false), None));
        std::fs::write(&password, "\n").unwrap();
        assert!(credentials.reload().unwrap_err().to_string().contains("password has no secret"));
        assert_eq!(is_admin(&basic("eva:three")), Some(false), "what was good stays");
    }
}
