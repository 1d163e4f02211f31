//! Whatever a manifest says, it is refused, or it is written again as it was read, and can be changed.

use std::sync::Arc;

use object_store::path::Path;
use serde_json::json;

use super::format::{decode, encode};
use super::{Change, Manifest, Part};

/// Of a tenant with two blocks, a trace map, a tombstone, two writers and a field of the future.
const MANIFEST: &str = r#"{"sequence":7,"blocks":[{"id":"0192f0c8-7b4a-7c3e-8f00-000000000001","start_nanos":1,"end_nanos":18446744073709551615,"traces":3,"spans":9,"level":255,"written_nanos":0,"continued_traces":null,"redacted_through":1,"files":{"spans_bytes":10,"traces_bytes":20,"resources_bytes":30,"scopes_bytes":18446744073709551615,"index_bytes":0,"directory_bytes":5,"later":1}},{"id":"0192f0c8-7b4a-7c3e-8f00-000000000002","start_nanos":0,"end_nanos":0,"traces":0,"spans":0,"level":0,"files":{"spans_bytes":1,"traces_bytes":1,"resources_bytes":1,"scopes_bytes":1}}],"trace_maps":[{"id":"0192f0c8-7b4a-7c3e-8f00-000000000003","bytes":9,"blocks":["0192f0c8-7b4a-7c3e-8f00-000000000001"]}],"tombstones":[{"trace_id":"0a","number":1,"deleted_nanos":2}],"last_tombstone":1,"wal_watermarks":{"0192f0c8-7b4a-7c3e-8f00-000000000004":12},"incarnations":{"0192f0c8-7b4a-7c3e-8f00-000000000004":"0192f0c8-7b4a-7c3e-8f00-000000000005"},"later":{"a":[1,2,{}]}}"#;

/// A part of two blocks and a trace map; manifests have the first block of it.
const PART: &str = r#"{"id":"0192f0c8-7b4a-7c3e-8f00-00000000000a","blocks":[{"id":"0192f0c8-7b4a-7c3e-8f00-00000000000b","start_nanos":1,"end_nanos":2,"traces":3,"spans":9,"level":1,"written_nanos":5,"files":{"spans_bytes":10,"traces_bytes":20,"resources_bytes":30,"scopes_bytes":4}},{"id":"0192f0c8-7b4a-7c3e-8f00-00000000000c","start_nanos":1,"end_nanos":2,"traces":3,"spans":9,"level":1,"written_nanos":5,"files":{"spans_bytes":10,"traces_bytes":20,"resources_bytes":30,"scopes_bytes":4}}],"trace_maps":[{"id":"0192f0c8-7b4a-7c3e-8f00-00000000000d","bytes":9,"blocks":["0192f0c8-7b4a-7c3e-8f00-00000000000b"]}]}"#;
const PARTS: &str = r#"{"id":"0192f0c8-7b4a-7c3e-8f00-00000000000a","blocks_gone":[1],"trace_maps_gone":[0]}"#;

/// The object with this content, its checksum made right.
fn sealed(version: u32, content: &str) -> String {
    format!(r#"{{"version":{version},"checksum":{},"manifest":{content}}}"#, crc32fast::hash(content.as_bytes()))
}

/// Of any sequence: which one is expected is known from the object's name. All its parts are the same one.
fn read(object: &[u8], part: &Arc<Part>) -> Option<Manifest> {
    let object_text: serde_json::Value = serde_json::from_slice(object).ok()?;
    let content = &object_text["manifest"];
    let sequence = content["sequence"].as_u64().or(content["own"]["sequence"].as_u64())?;
    let key = Path::from("manifest");
    let stored = decode(&key, sequence, object).ok()?;
    let parts = stored.parts.iter().map(|_| part.clone()).collect();
    stored.whole(&key, parts).ok()
}

#[test]
fn fuzz_manifest() {
    let part: Arc<Part> = Arc::new(serde_json::from_str(PART).expect("a part to begin with"));
    let read = |object: &[u8]| read(object, &part);
    let in_parts = format!(r#"{{"parts":[{PARTS}],"own":{MANIFEST}}}"#);
    let whole = read(sealed(1, MANIFEST).as_bytes()).expect("a manifest to begin with");
    let example = read(sealed(2, &in_parts).as_bytes()).expect("one in parts to begin with");
    assert_eq!((whole.blocks.len(), &whole.unknown["later"]), (2, &json!({"a": [1, 2, {}]})));
    assert_eq!((example.blocks.len(), example.trace_maps.len()), (3, 1));
    let make = |random: &mut ::fuzz::SmallRng| {
        let (version, content) = match ::fuzz::RngExt::random_range(random, 0..2) {
            0 => (1, MANIFEST),
            _ => (2, in_parts.as_str()),
        };
        match ::fuzz::RngExt::random_range(random, 0..10) {
            0 => ::fuzz::text::bend(random, &[sealed(version, content)]).into_bytes(),
            _ => sealed(version, &::fuzz::text::bend(random, &[content])).into_bytes(),
        }
    };
    ::fuzz::fuzz("manifest", make, |input| {
        let Some(manifest) = read(input) else { return };
        assert_eq!(read(&encode(&manifest)).as_ref(), Some(&manifest), "it is written as it was read");
        let _sizes = (manifest.bytes(), manifest.blocks.iter().map(|block| block.time_range()).collect::<Vec<_>>());
        let change = Change {
            remove: example.blocks.iter().map(|block| block.id).collect(),
            delete_traces: example.tombstones.iter().map(|stone| stone.trace_id).collect(),
            ..Change::default()
        };
        if let Some(next) = manifest.apply(&change).expect("what is removed may be gone already") {
            let (next, new) = next.in_parts();
            assert!(new.is_empty(), "it is small");
            assert_eq!(read(&encode(&next)), Some(next), "what follows it can be read");
        }
    });
}
