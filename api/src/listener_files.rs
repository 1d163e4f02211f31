//! Files that listeners use: certificates, keys, authorities of clients, passwords and tokens. Loaded before a socket is
//! opened, and read again while the process runs.

use std::sync::Arc;
use std::time::Duration;

use kafka::Consumer;

use crate::auth::Credentials;
use crate::tls::Tls;
use crate::{Config, Error, Listener};

/// How often files are looked at, where nothing else is set.
const PERIOD: Duration = Duration::from_secs(10);
const LEAST_PERIOD: Duration = Duration::from_secs(1);

/// What was read, shared with the listeners.
#[derive(Clone)]
pub struct ListenerFiles {
    tls: Vec<(Listener, Arc<Tls>)>,
    credentials: Option<Arc<Credentials>>,
}

/// What became of one set of files when it was read again.
#[derive(Debug)]
pub struct Reloaded {
    /// `TLS of http`
    pub what: String,
    /// Whether it has changed; if it cannot be used, what was before holds.
    pub outcome: Result<bool, Error>,
}

impl ListenerFiles {
    /// Reads everything that the configuration names.
    ///
    /// # Errors
    /// One that names the file, and nothing of what is in it.
    pub fn load(config: &Config) -> Result<Self, Error> {
        config.http_cors.check()?;
        if let Some(http) = &config.otlp_http {
            http.cors.check()?;
        }
        let named = Listener::ALL.into_iter().filter_map(|listener| Some((listener, config.tls(listener)?)));
        let loaded = named.map(|(listener, tls)| match Tls::load(tls) {
            Ok(tls) => Ok((listener, Arc::new(tls))),
            Err(source) => Err(Error::Tls { listener, source }),
        });
        let tls = loaded.collect::<Result<_, _>>()?;
        if let Some(kafka) = &config.kafka {
            Consumer::new(kafka.consumer.clone())?; // connects to nobody yet
        }
        let asks = !config.authentication.credentials.is_empty();
        let credentials = asks.then(|| Credentials::load(&config.authentication)).transpose()?;
        Ok(Self { tls, credentials: credentials.map(Arc::new) })
    }

    pub(crate) fn tls(&self, listener: Listener) -> Option<Arc<Tls>> {
        self.tls.iter().find(|(of, _)| *of == listener).map(|(_, tls)| tls.clone())
    }

    /// What a listener asks for.
    pub(crate) fn credentials(&self, listener: Listener) -> Option<Arc<Credentials>> {
        self.credentials.clone().filter(|credentials| credentials.asks(listener))
    }

    pub fn are_none(&self) -> bool {
        self.tls.is_empty() && self.credentials.is_none()
    }

    /// How often they are to be looked at: as often as the most impatient listener asks for.
    pub fn period(&self) -> Duration {
        let asked = self.tls.iter().filter_map(|(_, tls)| tls.config().reload_interval).min();
        asked.unwrap_or(PERIOD).clamp(LEAST_PERIOD, PERIOD)
    }

    /// Reads all files again; new connections and requests are held to what they say now. Blocks.
    pub fn reload(&self) -> Vec<Reloaded> {
        let tls = self.tls.iter().map(|(listener, tls)| Reloaded {
            what: format!("TLS of {listener}"),
            outcome: tls.reload().map_err(|source| Error::Tls { listener: *listener, source }),
        });
        let credentials = self.credentials.iter().map(|credentials| Reloaded {
            what: "credentials".to_owned(),
            outcome: credentials.reload().map_err(Error::from),
        });
        tls.chain(credentials).collect()
    }
}
