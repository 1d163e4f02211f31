//! Keys of the configuration given on the command line, as Tempo spells them: `-storage.trace.backend=s3`,
//! `-server.http-listen-port 3200`. A flag goes before the file.

use std::ffi::OsString;
use std::iter::Peekable;

use anyhow::{Context, Result};

use super::reference;
use super::tempo_keys::{self, Kind};

/// Flags that are not spelled as their key is.
const NAMES: &[(&str, &str)] = &[
    ("log.level", "server.log_level"),
    ("server.http-tls-cert-path", "server.http_tls_config.cert_file"),
    ("server.http-tls-key-path", "server.http_tls_config.key_file"),
    ("server.http-tls-client-auth", "server.http_tls_config.client_auth_type"),
    ("server.http-tls-ca-path", "server.http_tls_config.client_ca_file"),
    ("server.grpc-tls-cert-path", "server.grpc_tls_config.cert_file"),
    ("server.grpc-tls-key-path", "server.grpc_tls_config.key_file"),
    ("server.grpc-tls-client-auth", "server.grpc_tls_config.client_auth_type"),
    ("server.grpc-tls-ca-path", "server.grpc_tls_config.client_ca_file"),
    ("log.format", "server.log_format"),
    ("multitenancy.enabled", "multitenancy_enabled"),
    ("auth.enabled", "multitenancy_enabled"),
    ("config.enable-legacy-overrides", "overrides.enable_legacy_overrides"),
    ("querier.frontend-address", "querier.frontend_worker.frontend_address"),
];

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    pub key: String,
    pub value: String,
}

/// The arguments of a command line: those that set keys, and the others as they were, in two dashes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub flags: Vec<Flag>,
    pub others: Vec<OsString>,
}

impl Arguments {
    /// Tells them apart. The first argument is the name of the program.
    ///
    /// # Errors
    /// One that names the flag that has no value.
    pub fn split(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut split = Self::default();
        let mut arguments = arguments.into_iter().peekable();
        split.others.extend(arguments.next());
        while let Some(argument) = arguments.next() {
            match Named::of(&argument) {
                Some(named) => split.flags.push(named.with_value(&mut arguments)?),
                None => split.others.push(with_two_dashes(argument)),
            }
        }
        Ok(split)
    }
}

/// An argument that names a key.
struct Named {
    key: String,
    is_bool: bool,
    value: Option<String>,
}

impl Named {
    fn of(argument: &OsString) -> Option<Self> {
        let text = argument.to_str()?;
        let bare = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
        let (name, value) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (bare, None),
        };
        let key = key(name)?;
        let is_bool = kind(&key)? == Kind::Bool;
        Some(Self { key, is_bool, value })
    }

    /// The value behind `=`, or for anything but a switch in the next argument.
    fn with_value(self, arguments: &mut Peekable<impl Iterator<Item = OsString>>) -> Result<Flag> {
        let value = match self.value {
            Some(value) => value,
            None if self.is_bool => "true".to_owned(),
            None => {
                let next = arguments.next_if(|next| Self::of(next).is_none());
                let next = next.with_context(|| format!("the flag for {} needs a value", self.key))?;
                next.to_string_lossy().into_owned()
            }
        };
        Ok(Flag { key: self.key, value })
    }
}

/// The key that a flag names.
fn key(flag: &str) -> Option<String> {
    if let Some((_, key)) = NAMES.iter().find(|(name, _)| *name == flag) {
        return Some((*key).to_owned());
    }
    let key = flag.replace('-', "_");
    kind(&key).map(|_| key)
}

/// What a key holds, if it has a value.
pub(super) fn kind(key: &str) -> Option<Kind> {
    let tempos = tempo_keys::table().find(key).and_then(|key| key.value.as_ref()).map(|value| value.kind);
    tempos.or_else(|| reference::kind(key))
}

/// Go's flags have one dash: `-config.file=x`.
fn with_two_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.len() > 2 && text.starts_with('-') && !text.starts_with("--") => format!("-{text}").into(),
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_spelled_as_tempo_spells_them() {
        let split = |line: &str| {
            let Arguments { flags, others } = Arguments::split(line.split_whitespace().map(OsString::from)).unwrap();
            let flags: Vec<String> = flags.into_iter().map(|Flag { key, value }| format!("{key}={value}")).collect();
            (flags.join(" "), others.join(" ".as_ref()).into_string().unwrap())
        };
        for (line, flags, others) in [
            ("mosso -target=all", "target=all", "mosso"),
            ("mosso -config.file=x -storage.trace.backend=s3", "storage.trace.backend=s3", "mosso --config.file=x"),
            ("mosso --server.http-listen-port 80 -h", "server.http_listen_port=80", "mosso -h"),
            ("mosso -multitenancy.enabled -log.level=warn", "multitenancy_enabled=true server.log_level=warn", "mosso"),
            ("mosso -stream-over-http-enabled=false", "stream_over_http_enabled=false", "mosso"),
            ("mosso -data-dir /data blocks list --json", "data_dir=/data", "mosso blocks list --json"),
            ("mosso -memberlist.bind-port=7946 -server", "memberlist.bind_port=7946", "mosso --server"),
        ] {
            assert_eq!(split(line), (flags.to_owned(), others.to_owned()), "{line}");
        }
    }

    #[test]
    fn a_flag_without_its_value_is_named() {
        for line in ["mosso -data-dir", "mosso -data-dir -log.level=warn"] {
            let error = Arguments::split(line.split_whitespace().map(OsString::from)).unwrap_err();
            assert_eq!(error.to_string(), "the flag for data_dir needs a value", "{line}");
        }
    }
}
