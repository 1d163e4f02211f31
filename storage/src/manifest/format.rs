//! A manifest as bytes; the layout is drawn in [`super`].

use object_store::path::Path;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{BlockEntry, Manifest};
use crate::error::Error;

const VERSION: u32 = 1;

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

pub(super) fn encode(manifest: &Manifest) -> Vec<u8> {
    let content = serde_json::value::to_raw_value(manifest).expect("a manifest has string keys and no floats");
    let checksum = crc32fast::hash(content.get().as_bytes());
    let envelope = Envelope { version: VERSION, checksum, manifest: &content };
    serde_json::to_vec(&envelope).expect("an envelope is a manifest and two numbers")
}

/// `key` is where the bytes come from; they must be of that `sequence`.
pub(super) fn decode(key: &Path, sequence: u64, bytes: &[u8]) -> Result<Manifest, Error> {
    let damaged = |reason: String| Error::ManifestDamaged { key: key.to_string(), reason };
    let found = serde_json::from_slice::<VersionOnly>(bytes).map_err(|error| damaged(error.to_string()))?.version;
    if found != VERSION {
        return Err(Error::ManifestVersion { key: key.to_string(), found, known: VERSION });
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if envelope.checksum != crc32fast::hash(envelope.manifest.get().as_bytes()) {
        return Err(damaged("checksum does not match".to_owned()));
    }
    let mut manifest: Manifest =
        serde_json::from_str(envelope.manifest.get()).map_err(|error| damaged(error.to_string()))?;
    if manifest.sequence != sequence {
        return Err(damaged(format!("its sequence is {}", manifest.sequence)));
    }
    let in_order = |pair: &[BlockEntry]| matches!(pair, [first, second] if first.id < second.id);
    if !manifest.blocks.windows(2).all(in_order) {
        return Err(damaged("its blocks are not in order".to_owned()));
    }
    for block in manifest.blocks.iter_mut().filter(|block| block.written_nanos == 0) {
        block.written_nanos = block.id.created_nanos();
    }
    Ok(manifest)
}
