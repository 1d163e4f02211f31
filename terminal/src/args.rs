//! Which server is asked, as whom, and of which time: what most commands take.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::error::Error;
use crate::time::{nanos, now_nanos, parse_duration, parse_time};

/// A server with Tempo's HTTP API.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// Address of the HTTP API, with its prefix if it has one.
    #[arg(long, env = "MOSSO_URL", default_value = "http://127.0.0.1:3200", value_name = "URL")]
    pub url: String,
    #[command(flatten)]
    pub identity: Identity,
}

/// Who asks or sends.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Identity {
    /// The tenant: the header X-Scope-OrgID.
    #[arg(long, env = "MOSSO_TENANT", value_name = "TENANT")]
    pub tenant: Option<String>,
    /// A bearer token: the header Authorization.
    #[arg(long, env = "MOSSO_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// One more header; may be given again.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    pub headers: Vec<(String, String)>,
    /// Certificates, in PEM, that the server's may be signed by, besides those of the system.
    #[arg(long = "ca-file", env = "MOSSO_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Take any certificate: whoever is in between can read and change what is sent.
    #[arg(long, conflicts_with = "ca_file")]
    pub insecure_skip_verify: bool,
}

impl Identity {
    /// All headers that say who it is.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let tenant = self.tenant.iter().map(|tenant| ("x-scope-orgid".to_owned(), tenant.clone()));
        let token = self.token.iter().map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        tenant.chain(token).chain(self.headers.iter().cloned())
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as NAME: VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// The time that is asked of.
#[derive(Debug, Clone, Args)]
pub(crate) struct Range {
    /// So far back from now, or from --to.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION", conflicts_with = "from")]
    pub since: Option<Duration>,
    /// The beginning: 2h (ago), 2026-01-31T12:00:00Z, or unix seconds.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// The end, in the same forms [default: now].
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
}

/// What is asked of when nothing is said.
pub(crate) const DEFAULT_SINCE: Duration = Duration::from_secs(3600);

/// A range in unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub start_nanos: u64,
    pub end_nanos: u64,
}

impl Range {
    pub(crate) fn times(&self) -> Result<Times, Error> {
        self.times_at(now_nanos(), DEFAULT_SINCE)
    }

    /// `None` when nothing is said.
    ///
    /// # Errors
    /// As [`Self::times`].
    pub(crate) fn times_if_said(&self) -> Result<Option<Times>, Error> {
        let is_said = self.since.is_some() || self.from.is_some() || self.to.is_some();
        let times = || self.times_at(now_nanos(), Duration::from_nanos(u64::MAX));
        if is_said { times().map(Some) } else { Ok(None) }
    }

    pub(crate) fn times_at(&self, now_nanos: u64, default_since: Duration) -> Result<Times, Error> {
        let parse = |flag: &str, text: &str| {
            parse_time(text, now_nanos).map_err(|problem| Error::Usage(format!("--{flag}: {problem}")))
        };
        let end_nanos = self.to.as_deref().map_or(Ok(now_nanos), |text| parse("to", text))?;
        let start_nanos = match &self.from {
            Some(text) => parse("from", text)?,
            None => end_nanos.saturating_sub(nanos(self.since.unwrap_or(default_since))),
        };
        if start_nanos >= end_nanos {
            return Err(Error::Usage("--from is not before --to".to_owned()));
        }
        Ok(Times { start_nanos, end_nanos })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_now_unless_it_is_said() {
        let range = |since: Option<u64>, from: Option<&str>, to: Option<&str>| {
            let [from, to] = [from, to].map(|text| text.map(str::to_owned));
            let range = Range { since: since.map(Duration::from_secs), from, to };
            range.times_at(10_000_000_000_000, DEFAULT_SINCE).map(|times| (times.start_nanos, times.end_nanos))
        };
        const S: u64 = 1_000_000_000;
        assert_eq!(range(None, None, None).unwrap(), (6_400 * S, 10_000 * S));
        assert_eq!(range(Some(60), None, Some("5000")).unwrap(), (4_940 * S, 5_000 * S));
        assert_eq!(range(None, Some("10s"), None).unwrap(), (9_990 * S, 10_000 * S));
        assert_eq!(range(None, Some("now"), Some("10s")).unwrap_err().to_string(), "--from is not before --to");
    }

    #[test]
    fn headers_say_who_it_is() {
        let identity = Identity {
            tenant: Some("a".to_owned()),
            token: Some("t".to_owned()),
            headers: vec![parse_header("X-Extra:  b: c ").unwrap()],
            ca_file: None,
            insecure_skip_verify: false,
        };
        let headers: Vec<String> = identity.headers().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(headers, ["x-scope-orgid=a", "authorization=Bearer t", "x-extra=b: c"]);
        assert!(parse_header("nothing").is_err());
    }
}
