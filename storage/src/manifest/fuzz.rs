//! Whatever a manifest says, it is refused, or it is written again as it was read, and can be changed.

use object_store::path::Path;
use serde_json::json;

use super::format::{decode, encode};
use super::{Change, Manifest};

/// Of a tenant with two blocks, a trace map, a tombstone, two writers and a field of the future.
const MANIFEST: &str = r#"{"sequence":7,"blocks":[{"id":"0192f0c8-7b4a-7c3e-8f00-000000000001","start_nanos":1,"end_nanos":18446744073709551615,"traces":3,"spans":9,"level":255,"written_nanos":0,"continued_traces":null,"redacted_through":1,"files":{"spans_bytes":10,"traces_bytes":20,"resources_bytes":30,"scopes_bytes":18446744073709551615,"index_bytes":0,"directory_bytes":5,"later":1}},{"id":"0192f0c8-7b4a-7c3e-8f00-000000000002","start_nanos":0,"end_nanos":0,"traces":0,"spans":0,"level":0,"files":{"spans_bytes":1,"traces_bytes":1,"resources_bytes":1,"scopes_bytes":1}}],"trace_maps":[{"id":"0192f0c8-7b4a-7c3e-8f00-000000000003","bytes":9,"blocks":["0192f0c8-7b4a-7c3e-8f00-000000000001"]}],"tombstones":[{"trace_id":"0a","number":1,"deleted_nanos":2}],"last_tombstone":1,"wal_watermarks":{"0192f0c8-7b4a-7c3e-8f00-000000000004":12},"incarnations":{"0192f0c8-7b4a-7c3e-8f00-000000000004":"0192f0c8-7b4a-7c3e-8f00-000000000005"},"later":{"a":[1,2,{}]}}"#;

/// The object with this content, its checksum made right.
fn sealed(manifest: &str) -> String {
    format!(r#"{{"version":1,"checksum":{},"manifest":{manifest}}}"#, crc32fast::hash(manifest.as_bytes()))
}

/// Of any sequence: which one is expected is known from the object's name.
fn read(object: &[u8]) -> Option<Manifest> {
    let object_text: serde_json::Value = serde_json::from_slice(object).ok()?;
    let sequence = object_text["manifest"]["sequence"].as_u64()?;
    decode(&Path::from("manifest"), sequence, object).ok()
}

#[test]
fn fuzz_manifest() {
    let example = read(sealed(MANIFEST).as_bytes()).expect("a manifest to begin with");
    assert_eq!((example.blocks.len(), &example.unknown["later"]), (2, &json!({"a": [1, 2, {}]})));
    let make = |random: &mut ::fuzz::SmallRng| {
        let bent = ::fuzz::text::bend(random, &[MANIFEST]);
        match ::fuzz::RngExt::random_range(random, 0..10) {
            0 => ::fuzz::text::bend(random, &[sealed(MANIFEST)]).into_bytes(),
            _ => sealed(&bent).into_bytes(),
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
            assert_eq!(read(&encode(&next)), Some(next), "what follows it can be read");
        }
    });
}
