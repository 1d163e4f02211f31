//! A manifest and its parts as bytes; the layout is drawn in [`super`].

use std::sync::Arc;

use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::parts::{Part, PartEntry};
use super::{BlockEntry, Manifest};
use crate::error::Error;
use crate::ids::ManifestPartId;

/// Of a manifest whose entries all stand in itself, as small ones are written.
const WHOLE: u32 = 1;
/// Of one that has parts.
const IN_PARTS: u32 = 2;
const PART_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    version: u32,
    checksum: u32,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// Read first, because another version may have another envelope.
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// A manifest as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub parts: Vec<PartEntry>,
    /// With the entries that stand in no part.
    own: Manifest,
}

impl Stored {
    /// The manifest, given its parts; `key` is where it comes from.
    pub fn whole(self, key: &Path, parts: Vec<Arc<Part>>) -> Result<Manifest, Error> {
        Manifest::of_parts(self.own, &self.parts, parts).map_err(|reason| damaged(key, reason))
    }
}

pub(super) fn encode(manifest: &Manifest) -> Vec<u8> {
    if manifest.parts.is_empty() {
        return sealed(WHOLE, manifest);
    }
    let layout = manifest.layout();
    let own = Manifest {
        sequence: manifest.sequence,
        blocks: layout.blocks.into_iter().cloned().collect(),
        trace_maps: layout.trace_maps.into_iter().cloned().collect(),
        tombstones: manifest.tombstones.clone(),
        last_tombstone: manifest.last_tombstone,
        wal_watermarks: manifest.wal_watermarks.clone(),
        incarnations: manifest.incarnations.clone(),
        unknown: manifest.unknown.clone(),
        parts: Vec::new(),
    };
    sealed(IN_PARTS, &Stored { parts: layout.parts, own })
}

/// `key` is where the bytes come from; they must be of that `sequence`.
pub(super) fn decode(key: &Path, sequence: u64, bytes: &[u8]) -> Result<Stored, Error> {
    let mut stored = match version(key, bytes)? {
        WHOLE => Stored { parts: Vec::new(), own: opened(key, bytes)? },
        IN_PARTS => opened(key, bytes)?,
        found => return Err(Error::ManifestVersion { key: key.to_string(), found, known: IN_PARTS }),
    };
    if stored.own.sequence != sequence {
        return Err(damaged(key, format!("its sequence is {}", stored.own.sequence)));
    }
    let in_order = |pair: &[BlockEntry]| matches!(pair, [first, second] if first.id < second.id);
    if !stored.own.blocks.windows(2).all(in_order) {
        return Err(damaged(key, "its blocks are not in order"));
    }
    for block in stored.own.blocks.iter_mut().filter(|block| block.written_nanos == 0) {
        block.written_nanos = block.id.created_nanos();
    }
    Ok(stored)
}

pub(super) fn encode_part(part: &Part) -> Vec<u8> {
    sealed(PART_VERSION, part)
}

/// `key` is where the bytes come from; they must be of the part with this `id`.
pub(super) fn decode_part(key: &Path, id: ManifestPartId, bytes: &[u8]) -> Result<Part, Error> {
    let found = version(key, bytes)?;
    if found != PART_VERSION {
        return Err(Error::ManifestVersion { key: key.to_string(), found, known: PART_VERSION });
    }
    let part: Part = opened(key, bytes)?;
    if part.id == id { Ok(part) } else { Err(damaged(key, format!("its id is {}", part.id))) }
}

fn sealed(version: u32, content: &impl Serialize) -> Vec<u8> {
    let content = serde_json::value::to_raw_value(content).expect("a manifest has string keys and no floats");
    let checksum = crc32fast::hash(content.get().as_bytes());
    let envelope = Envelope { version, checksum, manifest: &content };
    serde_json::to_vec(&envelope).expect("an envelope is a manifest and two numbers")
}

fn version(key: &Path, bytes: &[u8]) -> Result<u32, Error> {
    let read = serde_json::from_slice::<VersionOnly>(bytes);
    read.map(|read| read.version).map_err(|error| damaged(key, error.to_string()))
}

fn opened<T: DeserializeOwned>(key: &Path, bytes: &[u8]) -> Result<T, Error> {
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(|error| damaged(key, error.to_string()))?;
    if envelope.checksum != crc32fast::hash(envelope.manifest.get().as_bytes()) {
        return Err(damaged(key, "checksum does not match"));
    }
    serde_json::from_str(envelope.manifest.get()).map_err(|error| damaged(key, error.to_string()))
}

fn damaged(key: &Path, reason: impl Into<String>) -> Error {
    Error::ManifestDamaged { key: key.to_string(), reason: reason.into() }
}
