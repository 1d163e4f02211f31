//! What is said of a writer, as JSON. A version that is not known is not guessed at.

use std::collections::BTreeMap;

use model::TenantId;
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ids::WriterId;
use crate::incarnation::{Incarnation, Writer};

/// Of both files. Fields may be added without another version.
const VERSION: u32 = 1;

/// A start of a writer, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    pub incarnation: Incarnation,
    /// Whose log it writes.
    pub writer: WriterId,
    /// Host and port where others ask for its live rows.
    pub address: String,
    /// Where it stands: the name of a zone, or nothing.
    #[serde(default)]
    pub zone: String,
    /// The version of the program.
    #[serde(default)]
    pub build: String,
    /// Where what it has acknowledged can be read when it does not answer.
    #[serde(default, skip_serializing_if = "LogPlace::is_local")]
    pub log: LogPlace,
    /// Whether the bucket has a log on a disk as well, all but what was acknowledged last. A field of its own, so that a
    /// program that does not know it takes the log for one that only the writer can read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_shipped: bool,
}

/// Where the log of a writer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogPlace {
    /// On a disk that only the writer has.
    #[default]
    Local,
    /// Beside the blocks, for everybody to read ([`crate::bucket_log`]).
    Bucket,
}

impl LogPlace {
    fn is_local(&self) -> bool {
        *self == Self::Local
    }
}

/// That a start of a writer need not be asked any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    version: u32,
    /// By tenant, the manifest that has what the writer has published.
    manifests: BTreeMap<String, u64>,
}

impl Record {
    pub fn new(writer: Writer, address: String, zone: String, build: &str) -> Self {
        let Writer { id, incarnation } = writer;
        let (build, log) = (build.to_owned(), LogPlace::Local);
        Self { version: VERSION, incarnation, writer: id, address, zone, build, log, is_shipped: false }
    }

    /// The same, of a writer whose log is on the bucket.
    #[must_use]
    pub fn with_log_on_bucket(self) -> Self {
        Self { log: LogPlace::Bucket, ..self }
    }

    /// The same, of a writer that acknowledges what is on its disk, and ships it to the bucket afterwards.
    #[must_use]
    pub fn with_shipped_log(self) -> Self {
        Self { log: LogPlace::Local, is_shipped: true, ..self }
    }

    /// Whether something of its log is on the bucket.
    pub fn is_on_bucket(&self) -> bool {
        self.log == LogPlace::Bucket || self.is_shipped
    }

    pub fn writer(&self) -> Writer {
        Writer { id: self.writer, incarnation: self.incarnation }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(key: &Path, bytes: &[u8]) -> Result<Self, Error> {
        decode(key, bytes, |record: &Self| record.version)
    }
}

impl Retired {
    pub fn new(manifests: impl IntoIterator<Item = (TenantId, u64)>) -> Self {
        let manifests = manifests.into_iter().map(|(tenant, sequence)| (tenant.to_string(), sequence)).collect();
        Self { version: VERSION, manifests }
    }

    pub(super) fn manifests(&self) -> impl Iterator<Item = (TenantId, u64)> {
        self.manifests.iter().filter_map(|(tenant, sequence)| Some((TenantId::parse(tenant).ok()?, *sequence)))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(key: &Path, bytes: &[u8]) -> Result<Self, Error> {
        decode(key, bytes, |mark: &Self| mark.version)
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers have a form in JSON")
}

fn decode<T: DeserializeOwned>(key: &Path, bytes: &[u8], version: impl Fn(&T) -> u32) -> Result<T, Error> {
    let value: T =
        serde_json::from_slice(bytes).map_err(|error| Error::members(key, format!("cannot be read: {error}")))?;
    match version(&value) {
        VERSION => Ok(value),
        other => Err(Error::members(key, format!("has version {other}, this program knows version {VERSION}"))),
    }
}
