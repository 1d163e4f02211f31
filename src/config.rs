//! The configuration file: Tempo's keys where the meaning is the same, some of our own.
//!
//! ```text
//! sources.rs   file → environment.rs → tree (yaml.rs) → flags.rs → moved.rs → types → check.rs → settings.rs
//!              a section is the file of its name: server.rs, distributor.rs, …; authentication is access.rs
//! tempo_keys.rs   which keys Tempo has          not_applied.rs   why some change nothing
//! reference.rs    which keys are read here
//! ```
//!
//! A key without a value is left to its default. Unknown keys are errors that name the nearest known one. Tempo's keys that
//! do not apply here are read over with a warning. The file is parsed once, checked once (what `check-config` calls ok can
//! start), and turned into the settings of each crate.

mod sources;

mod environment;
pub mod flags;
mod moved;
mod yaml;

mod check;
mod settings;

mod access;
mod cluster;
mod compactor;
mod deletion;
mod distributor;
mod generator;
mod ingester;
mod kafka;
mod memory;
mod overrides;
mod querier;
mod query_frontend;
mod receivers;
mod server;
mod tls;

pub mod not_applied;
pub mod reference;
pub mod tempo_keys;

use std::path::{Path, PathBuf};

use anyhow::Result;
use api::ApiPrefix;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::check::Unusable;
use self::yaml::Parsed;

pub use access::Authentication;
pub use cluster::Cluster;
pub use compactor::{Compaction, Compactor};
pub use deletion::Deletion;
pub use distributor::Distributor;
pub use generator::{GeneratorLimits, MetricsGenerator, WITHOUT_LOCAL_BLOCKS};
pub use ingester::IngesterSection;
pub use memory::{Memory, PeerParts};
pub use moved::our_name;
pub use overrides::{Generated, Overrides};
pub use querier::QuerierSection;
pub use query_frontend::QueryFrontend;
pub use receivers::Receivers;
pub use server::{LogFormat, LogLevel, Server};
pub use sources::Sources;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the log and, with the local backend, of the blocks. Used by one process at a time.
    pub data_dir: PathBuf,
    /// Which parts run: `all`, or one of several: `writer`, `querier`, `compactor`. Tempo's names are taken for the part
    /// that does the same.
    pub target: String,
    /// Whether `X-Scope-OrgID` names the tenant; off, everything belongs to `single-tenant`.
    pub multitenancy_enabled: bool,
    /// Put before `/api`, for a reverse proxy.
    pub http_api_prefix: ApiPrefix,
    pub server: Server,
    pub authentication: Authentication,
    pub distributor: Distributor,
    pub ingester: IngesterSection,
    pub compactor: Compactor,
    pub querier: QuerierSection,
    pub query_frontend: QueryFrontend,
    pub storage: storage::config::Config,
    pub overrides: Overrides,
    pub metrics_generator: MetricsGenerator,
    pub memory: Memory,
    pub cluster: Cluster,
    pub deletion: Deletion,

    /// Whether variables of the environment stand in files, too in the one with the limits of tenants.
    #[serde(skip)]
    expand_env: bool,
    /// Tempo's keys in the file that change nothing here.
    #[serde(skip)]
    not_applicable: Vec<String>,
    /// Tempo's keys in the file that have another name here, with that name.
    #[serde(skip)]
    moved: Vec<(String, String)>,
    /// What else the operator should know.
    #[serde(skip)]
    remarks: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            target: "all".to_owned(),
            multitenancy_enabled: false,
            http_api_prefix: ApiPrefix::default(),
            server: Server::default(),
            authentication: Authentication::default(),
            distributor: Distributor::default(),
            ingester: IngesterSection::default(),
            compactor: Compactor::default(),
            querier: QuerierSection::default(),
            query_frontend: QueryFrontend::default(),
            storage: storage::config::Config::default(),
            overrides: Overrides::default(),
            metrics_generator: MetricsGenerator::default(),
            memory: Memory::default(),
            cluster: Cluster::default(),
            deletion: Deletion::default(),
            expand_env: false,
            not_applicable: Vec::new(),
            moved: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// One that names the file, the place in it, and the key or value that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        Sources::file(path).config()
    }

    /// Parses and checks YAML; an empty text is the default configuration.
    ///
    /// # Errors
    /// One that names the key or value that is wrong, with its line and column.
    pub fn parse(yaml: &str) -> Result<Self> {
        Sources::default().config_of(yaml)
    }

    fn checked(mut parsed: Parsed<Self>, missing_variables: Vec<String>) -> Result<Self, yaml::Error> {
        let polls = parsed.value.poll_at_all();
        match parsed.value.check() {
            Ok(of_tenants) => {
                let config = &mut parsed.value;
                config.not_applicable = [parsed.ignored, of_tenants.ignored].concat();
                config.remarks = [config.remarks(&missing_variables), of_tenants.remarks].concat();
                config.remarks.extend(polls);
                Ok(parsed.value)
            }
            Err(Unusable { key, reason }) => Err(parsed.error_at(key, format!("{key}: {reason}"))),
        }
    }

    /// Parts of Tempo that read no blocks are told to look for them every 0 seconds, never. Here each part reads manifests.
    fn poll_at_all(&mut self) -> Option<String> {
        let poll = &mut self.storage.trace.blocklist_poll;
        poll.get().is_zero().then(|| {
            *poll = storage::config::TraceConfig::default().blocklist_poll;
            let period = poll.get();
            format!("storage.trace.blocklist_poll is 0, which is never: it is looked every {period:?} for what others have stored")
        })
    }

    fn remarks(&self, missing_variables: &[String]) -> Vec<String> {
        let missing = missing_variables
            .iter()
            .map(|name| format!("the variable {name} is not set and has no default, so nothing stands in its place"));
        let target = (self.target != self.target().name())
            .then(|| format!("target {:?} is {:?} here", self.target, self.target().name()));
        let packets = (self.multitenancy_enabled && self.distributor.receivers.has_packets()).then(|| {
            "Jaeger's UDP packets cannot name a tenant: with multitenancy_enabled, all of them are dropped".to_owned()
        });
        let local_blocks =
            self.overrides.defaults.metrics_generator.names_local_blocks().then(|| WITHOUT_LOCAL_BLOCKS.to_owned());
        missing.chain(target).chain(packets).chain(local_blocks).collect()
    }

    /// Tempo's keys in this file that change nothing here.
    pub fn not_applicable(&self) -> &[String] {
        &self.not_applicable
    }

    /// Tempo's keys in this file that have another name here, with that name.
    pub fn moved(&self) -> &[(String, String)] {
        &self.moved
    }

    /// One line for each key that changes nothing, and for what else the operator should know.
    pub fn warnings(&self) -> Vec<String> {
        let not_applied = self.not_applicable.iter();
        let not_applied =
            not_applied.map(|key| format!("{key} does not apply here and is ignored: {}", not_applied::reason(key)));
        not_applied.chain(self.remarks.iter().cloned()).collect()
    }

    /// The effective configuration as YAML.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// What differs from the defaults, as YAML.
    pub fn changes_to_yaml(&self) -> String {
        let values = |config: &Self| serde_json::to_value(config).unwrap_or_default();
        match changes(values(self), &values(&Self::default())) {
            Some(changes) => serde_saphyr::to_string(&changes).unwrap_or_else(|error| format!("# {error}\n")),
            None => String::new(),
        }
    }
}

/// What of a value is not in the default. A section that lacks a key of the default counts as a whole: there the absence
/// of a key means something.
fn changes(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (Value::Object(section), Value::Object(defaults)) if defaults.keys().all(|key| section.contains_key(key)) => {
            let changed = section.into_iter().filter_map(|(key, value)| {
                let default = defaults.get(&key).unwrap_or(&Value::Null);
                Some((key, changes(value, default)?))
            });
            let changed: Map<String, Value> = changed.collect();
            (!changed.is_empty()).then_some(Value::Object(changed))
        }
        (value, default) => (value != *default).then_some(value),
    }
}

#[cfg(test)]
mod tests;
