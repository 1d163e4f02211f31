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
    ("config.per-user-override-config", "overrides.per_tenant_override_config"),
    ("config.per-user-override-period", "overrides.per_tenant_override_period"),
    ("distributor.ingestion-burst-size-bytes", "overrides.defaults.ingestion.burst_size_bytes"),
    ("distributor.ingestion-rate-limit-bytes", "overrides.defaults.ingestion.rate_limit_bytes"),
    ("distributor.rate-limit-strategy", "overrides.defaults.ingestion.rate_strategy"),
    ("ingester.max-bytes-per-trace", "overrides.defaults.global.max_bytes_per_trace"),
    ("ingester.max-global-traces-per-user", "overrides.defaults.ingestion.max_global_traces_per_user"),
    ("ingester.max-traces-per-user", "overrides.defaults.ingestion.max_traces_per_user"),
    (
        "metrics-generator.native-histogram-bucket-factor",
        "overrides.defaults.metrics_generator.native_histogram_bucket_factor",
    ),
    (
        "metrics-generator.native-histogram-max-bucket-number",
        "overrides.defaults.metrics_generator.native_histogram_max_bucket_number",
    ),
    ("querier.max-blocks-per-tag-values-query", "overrides.defaults.read.max_blocks_per_tag_values_query"),
    ("querier.max-bytes-per-tag-values-query", "overrides.defaults.read.max_bytes_per_tag_values_query"),
    ("querier.max-condition-groups-per-tag-query", "overrides.defaults.read.max_condition_groups_per_tag_query"),
    ("storage.trace.azure.endpoint", "storage.trace.azure.endpoint_suffix"),
    ("storage.trace.gcs.bucket", "storage.trace.gcs.bucket_name"),
    ("reporting.enabled", "usage_report.reporting_enabled"),
];

/// Tempo's flags that change nothing here and are not spelled as any key.
const WITHOUT_KEY: &str = include_str!("tempo_flags.txt");

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    pub key: String,
    pub value: String,
}

/// The arguments of a command line: those that set keys, Tempo's that change nothing here, and the others as they were, in two
/// dashes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub flags: Vec<Flag>,
    pub ignored: Vec<String>,
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
                Some(mut named) => {
                    let value = named.value(&mut arguments)?;
                    match named.key {
                        Some(key) => split.flags.push(Flag { key, value }),
                        None => split.ignored.push(named.name),
                    }
                }
                None => split.others.push(with_two_dashes(argument)),
            }
        }
        Ok(split)
    }
}

/// An argument that is a flag of Tempo's, or names a key of ours.
struct Named {
    name: String,
    /// `None` if it changes nothing here.
    key: Option<String>,
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
        let key = key(name);
        let is_bool = match &key {
            Some(key) => kind(key)? == Kind::Bool,
            None => without_key(name)?,
        };
        Some(Self { name: name.to_owned(), key, is_bool, value })
    }

    /// The value behind `=`, or for anything but a switch in the next argument.
    fn value(&mut self, arguments: &mut Peekable<impl Iterator<Item = OsString>>) -> Result<String> {
        match self.value.take() {
            Some(value) => Ok(value),
            None if self.is_bool => Ok("true".to_owned()),
            None => {
                let next = arguments.next_if(|next| Self::of(next).is_none());
                let next = next.with_context(|| {
                    format!("the flag for {} needs a value", self.key.as_ref().unwrap_or(&self.name))
                })?;
                Ok(next.to_string_lossy().into_owned())
            }
        }
    }
}

/// Whether a flag that changes nothing here is a switch; `None` if it is none of Tempo's.
fn without_key(flag: &str) -> Option<bool> {
    let mut lines = WITHOUT_KEY.lines().filter(|line| !line.starts_with('#'));
    lines.find_map(|line| {
        let (name, kind) = line.split_once(' ').unwrap_or((line, ""));
        (name == flag).then_some(kind == "bool")
    })
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
            let Arguments { flags, others, ignored: _ } =
                Arguments::split(line.split_whitespace().map(OsString::from)).unwrap();
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
    fn flags_of_tempo_that_change_nothing_here_are_told_from_slips() {
        let line = "mosso -mem-ballast-size-mbs 1024 -live-store.instance-availability-zone=zone-a -ingest.tls-enabled -targt=all";
        let split = Arguments::split(line.split_whitespace().map(OsString::from)).unwrap();
        assert_eq!(
            split.ignored,
            ["mem-ballast-size-mbs", "live-store.instance-availability-zone", "ingest.tls-enabled"]
        );
        assert_eq!((split.flags, split.others), (Vec::new(), vec!["mosso".into(), "--targt=all".into()]));
    }

    #[test]
    fn each_flag_of_tempo_with_another_name_sets_a_key() {
        for (flag, key) in NAMES {
            assert!(kind(key).is_some(), "{flag}: {key}");
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
