//! Every object key and every local path, built and parsed here only.
//!
//! ```text
//! objects                                                        data folder
//! <tenant>/blocks/<block-id>/{spans,traces,resources,scopes}.parquet   lock        held by the process that uses the folder
//! <tenant>/blocks/<block-id>/{index,directory}.bundle, meta.json       writer-id   identity of the log's writer
//! <tenant>/trace-maps/<trace-map-id>.map                               incarnations   starts of that writer
//! <tenant>/overrides/<20-digit version>.json
//! <tenant>/manifest/<20-digit sequence>.json                           wal/<20-digit sequence>.wal
//! <tenant>/manifest-parts/<part-id>.json
//! create-if-absent                 see [`crate::objects::probe`]       blocks/     root of the local object store
//! cluster/writers/<incarnation>.{json,retired}   see [`crate::members`]
//! cluster/nodes/<node-id>.json     see [`crate::nodes`]
//! cluster/log/<incarnation>/<20-digit number>     see [`crate::bucket_log`]
//! ```
//!
//! A tenant may be named `cluster`: what belongs to it has other names below that prefix.

use std::path::{Path as FilePath, PathBuf};

use model::{BlockId, TenantId};
use object_store::path::{Path, PathPart};

use crate::ids::{Incarnation, ManifestPartId, NodeId, SegmentSequence, TraceMapId};

const BLOCKS: &str = "blocks";
const TRACE_MAPS: &str = "trace-maps";
const TRACE_MAP_EXTENSION: &str = ".map";
const MANIFEST: &str = "manifest";
const MANIFEST_PARTS: &str = "manifest-parts";
const JSON_EXTENSION: &str = ".json";
const CLUSTER: &str = "cluster";
const WRITERS: &str = "writers";
const NODES: &str = "nodes";
const LOG: &str = "log";
const OVERRIDES: &str = "overrides";

/// The objects of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockFile {
    Spans,
    Traces,
    Resources,
    Scopes,
    Index,
    Directory,
    Meta,
}

impl BlockFile {
    pub const ALL: [Self; 7] =
        [Self::Spans, Self::Traces, Self::Resources, Self::Scopes, Self::Index, Self::Directory, Self::Meta];

    pub fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans.parquet",
            Self::Traces => "traces.parquet",
            Self::Resources => "resources.parquet",
            Self::Scopes => "scopes.parquet",
            Self::Index => "index.bundle",
            Self::Directory => "directory.bundle",
            Self::Meta => "meta.json",
        }
    }

    /// The name without its ending, as it stands in metrics and in the log.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Traces => "traces",
            Self::Resources => "resources",
            Self::Scopes => "scopes",
            Self::Index => "index",
            Self::Directory => "directory",
            Self::Meta => "meta",
        }
    }
}

/// What an object key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectKey {
    BlockFile { tenant: TenantId, block_id: BlockId, file: BlockFile },
    TraceMap { tenant: TenantId, id: TraceMapId },
    Manifest { tenant: TenantId, sequence: u64 },
    ManifestPart { tenant: TenantId, id: ManifestPartId },
}

impl ObjectKey {
    /// The inverse of [`block_file`], [`trace_map`], [`manifest`] and [`manifest_part`]; `None` for a key that is not one of ours.
    pub fn parse(key: &Path) -> Option<Self> {
        let parts: Vec<PathPart<'_>> = key.parts().collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts.as_slice() {
            [tenant, BLOCKS, block_id, file] => Some(Self::BlockFile {
                tenant: parse_tenant(tenant)?,
                block_id: block_id.parse().ok().filter(|id: &BlockId| id.to_string() == *block_id)?,
                file: BlockFile::ALL.into_iter().find(|known| known.name() == *file)?,
            }),
            [tenant, TRACE_MAPS, file] => {
                let name = file.strip_suffix(TRACE_MAP_EXTENSION)?;
                let id = name.parse().ok().filter(|id: &TraceMapId| id.to_string() == name)?;
                Some(Self::TraceMap { tenant: parse_tenant(tenant)?, id })
            }
            [tenant, MANIFEST, file] => {
                Some(Self::Manifest { tenant: parse_tenant(tenant)?, sequence: parse_numbered(file, "json")? })
            }
            [tenant, MANIFEST_PARTS, file] => {
                let name = file.strip_suffix(JSON_EXTENSION)?;
                let id = name.parse().ok().filter(|id: &ManifestPartId| id.to_string() == name)?;
                Some(Self::ManifestPart { tenant: parse_tenant(tenant)?, id })
            }
            _ => None,
        }
    }
}

/// Shows whether the store creates an object only if it is absent. Beside the tenants' folders, not in one.
pub fn create_probe() -> Path {
    Path::from("create-if-absent")
}

/// The prefix of all that belongs to a tenant.
pub fn tenant(tenant: &TenantId) -> Path {
    Path::from_iter([tenant.as_str()])
}

/// The inverse of [`tenant`].
pub fn tenant_of(prefix: &Path) -> Option<TenantId> {
    let mut parts = prefix.parts();
    let tenant = parse_tenant(parts.next()?.as_ref())?;
    parts.next().is_none().then_some(tenant)
}

/// The prefix of a tenant's blocks.
pub fn blocks(tenant: &TenantId) -> Path {
    Path::from_iter([tenant.as_str(), BLOCKS])
}

/// The prefix of a block's objects.
pub fn block(tenant: &TenantId, block_id: &BlockId) -> Path {
    Path::from_iter([tenant.as_str(), BLOCKS, &block_id.to_string()])
}

pub fn block_file(tenant: &TenantId, block_id: &BlockId, file: BlockFile) -> Path {
    Path::from_iter([tenant.as_str(), BLOCKS, &block_id.to_string(), file.name()])
}

pub fn trace_map(tenant: &TenantId, id: &TraceMapId) -> Path {
    Path::from_iter([tenant.as_str(), TRACE_MAPS, &format!("{id}{TRACE_MAP_EXTENSION}")])
}

/// The prefix of a tenant's manifests.
pub fn manifests(tenant: &TenantId) -> Path {
    Path::from_iter([tenant.as_str(), MANIFEST])
}

/// Keys sort as their sequences do.
pub fn manifest(tenant: &TenantId, sequence: u64) -> Path {
    Path::from_iter([tenant.as_str(), MANIFEST, &numbered(sequence, "json")])
}

pub fn manifest_part(tenant: &TenantId, id: &ManifestPartId) -> Path {
    Path::from_iter([tenant.as_str(), MANIFEST_PARTS, &format!("{id}{JSON_EXTENSION}")])
}

/// What is said of a start of a writer that others ask for its live rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterFile {
    /// Where it is.
    Record,
    /// All that it has acknowledged is in blocks, or with another start.
    Retired,
}

impl WriterFile {
    const ALL: [Self; 2] = [Self::Record, Self::Retired];

    fn extension(self) -> &'static str {
        match self {
            Self::Record => JSON_EXTENSION,
            Self::Retired => ".retired",
        }
    }
}

/// The prefix of what is said of all writers.
pub fn writers() -> Path {
    Path::from_iter([CLUSTER, WRITERS])
}

pub fn writer(incarnation: &Incarnation, file: WriterFile) -> Path {
    Path::from_iter([CLUSTER, WRITERS, &format!("{incarnation}{}", file.extension())])
}

/// The inverse of [`writer`].
pub fn parse_writer(key: &Path) -> Option<(Incarnation, WriterFile)> {
    let parts: Vec<PathPart<'_>> = key.parts().collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    let [CLUSTER, WRITERS, name] = parts.as_slice() else { return None };
    WriterFile::ALL.into_iter().find_map(|file| {
        let id = name.strip_suffix(file.extension())?;
        let incarnation = id.parse().ok().map(Incarnation).filter(|known| known.to_string() == id)?;
        Some((incarnation, file))
    })
}

/// The prefix of what is said of all nodes.
pub fn nodes() -> Path {
    Path::from_iter([CLUSTER, NODES])
}

pub fn node(id: &NodeId) -> Path {
    Path::from_iter([CLUSTER, NODES, &format!("{id}{JSON_EXTENSION}")])
}

/// The inverse of [`node`].
pub fn parse_node(key: &Path) -> Option<NodeId> {
    let id = key.prefix_match(&nodes())?.map(|part| part.as_ref().to_owned()).collect::<String>();
    let id = id.strip_suffix(JSON_EXTENSION)?;
    id.parse().ok().map(NodeId).filter(|known| known.to_string() == id)
}

/// The prefix of all logs on the bucket.
pub fn logs() -> Path {
    Path::from_iter([CLUSTER, LOG])
}

/// The prefix of the log of one start of a writer.
pub fn log(writer: &Incarnation) -> Path {
    Path::from_iter([CLUSTER, LOG, &writer.to_string()])
}

/// The inverse of [`log`].
pub fn log_of(prefix: &Path) -> Option<Incarnation> {
    let parts: Vec<PathPart<'_>> = prefix.parts().collect();
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [CLUSTER, LOG, id] => id.parse().ok().map(Incarnation).filter(|writer| writer.to_string() == *id),
        _ => None,
    }
}

/// Keys sort as their numbers do.
pub fn log_object(writer: &Incarnation, number: u64) -> Path {
    Path::from_iter([CLUSTER, LOG, &writer.to_string(), &format!("{number:020}")])
}

/// The number that a key of [`log_object`] ends with.
pub fn parse_log_object(key: &Path) -> Option<u64> {
    parse_20_digits(key.filename()?)
}

/// The prefix of a tenant's own settings.
pub fn overrides(tenant: &TenantId) -> Path {
    Path::from_iter([tenant.as_str(), OVERRIDES])
}

pub fn overrides_version(tenant: &TenantId, version: u64) -> Path {
    Path::from_iter([tenant.as_str(), OVERRIDES, &numbered(version, "json")])
}

/// The version that a key of [`overrides_version`] ends with.
pub fn parse_overrides(key: &Path) -> Option<u64> {
    parse_numbered(key.filename()?, "json")
}

/// The layout of a data folder. What the log needs (lock, identity) lies beside it, or in it when it is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
    wal: PathBuf,
    blocks: PathBuf,
    blocks_are_shared: bool,
}

impl DataDir {
    /// Everything under `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self { wal: root.join("wal"), blocks: root.join(BLOCKS), root, blocks_are_shared: false }
    }

    /// Keeps the log elsewhere.
    pub fn with_wal_dir(self, wal: impl Into<PathBuf>) -> Self {
        let wal = wal.into();
        Self { root: wal.clone(), wal, ..self }
    }

    /// Keeps the local object store elsewhere. No other process may write there, unless it is said to be shared.
    pub fn with_blocks_dir(self, blocks: impl Into<PathBuf>) -> Self {
        Self { blocks: blocks.into(), ..self }
    }

    /// Other processes write to the local object store, too.
    pub fn with_shared_blocks(self) -> Self {
        Self { blocks_are_shared: true, ..self }
    }

    /// See [`with_shared_blocks`](Self::with_shared_blocks).
    pub fn blocks_are_shared(&self) -> bool {
        self.blocks_are_shared
    }

    /// What the lock guards.
    pub fn root(&self) -> &FilePath {
        &self.root
    }

    pub fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn writer_id_file(&self) -> PathBuf {
        self.root.join("writer-id")
    }

    /// See [`crate::incarnation`].
    pub fn incarnations_file(&self) -> PathBuf {
        self.root.join("incarnations")
    }

    /// Where the log's segments lie.
    pub fn wal_dir(&self) -> &FilePath {
        &self.wal
    }

    /// Where the segments of one start lie, of a writer whose log is shipped to the bucket.
    pub fn shipped_log_dir(&self, writer: &Incarnation) -> PathBuf {
        self.wal.join(writer.to_string())
    }

    /// The root of the local object store.
    pub fn blocks_dir(&self) -> &FilePath {
        &self.blocks
    }
}

/// A segment's file in the log's folder.
pub fn segment(wal_dir: &FilePath, sequence: SegmentSequence) -> PathBuf {
    wal_dir.join(numbered(sequence.0, "wal"))
}

/// The inverse of [`DataDir::shipped_log_dir`].
pub fn parse_shipped_log_dir(path: &FilePath) -> Option<Incarnation> {
    path.file_name()?.to_str()?.parse().ok().map(Incarnation)
}

/// The inverse of [`segment`].
pub fn parse_segment(path: &FilePath) -> Option<SegmentSequence> {
    parse_numbered(path.file_name()?.to_str()?, "wal").map(SegmentSequence)
}

/// True for the half-written file of a put that was cut short; [`object_store::local`] names them `<key>#<number>`.
pub fn is_staged_object(path: &FilePath) -> bool {
    let suffix = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('#'));
    suffix.is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn numbered(sequence: u64, extension: &str) -> String {
    format!("{sequence:020}.{extension}")
}

fn parse_numbered(name: &str, extension: &str) -> Option<u64> {
    parse_20_digits(name.strip_suffix(extension)?.strip_suffix('.')?)
}

fn parse_20_digits(digits: &str) -> Option<u64> {
    let well_formed = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    well_formed.then(|| digits.parse().ok())?
}

/// Of all characters that a tenant id may have, object keys escape only `*`; and no tenant id has a `%`.
fn parse_tenant(part: &str) -> Option<TenantId> {
    let text = part.replace("%2A", "*");
    TenantId::parse(&text).ok().filter(|tenant| tenant.as_str() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_tenant() -> impl Strategy<Value = TenantId> {
        let characters: Vec<char> = "azAZ09!-_.*'()".chars().collect();
        proptest::collection::vec(proptest::sample::select(characters), 1..150)
            .prop_filter_map("dots are not tenants", |text| TenantId::parse(&text.iter().collect::<String>()).ok())
    }

    proptest! {
        #[test]
        fn keys_parse_back(tenant in any_tenant(), sequence: u64, id: u128, file in 0..BlockFile::ALL.len()) {
            let (file, block_id) = (BlockFile::ALL[file], BlockId(uuid::Uuid::from_u128(id)));
            prop_assert_eq!(tenant_of(&super::tenant(&tenant)), Some(tenant.clone()));
            let key = block_file(&tenant, &block_id, file);
            prop_assert!(key.prefix_matches(&block(&tenant, &block_id)) && key.prefix_matches(&blocks(&tenant)));
            prop_assert_eq!(ObjectKey::parse(&key), Some(ObjectKey::BlockFile { tenant: tenant.clone(), block_id, file }));
            let map_id = TraceMapId(uuid::Uuid::from_u128(id));
            let key = trace_map(&tenant, &map_id);
            prop_assert_eq!(ObjectKey::parse(&key), Some(ObjectKey::TraceMap { tenant: tenant.clone(), id: map_id }));
            let key = manifest(&tenant, sequence);
            prop_assert!(key.prefix_matches(&manifests(&tenant)));
            prop_assert_eq!(ObjectKey::parse(&key), Some(ObjectKey::Manifest { tenant: tenant.clone(), sequence }));
            let part_id = ManifestPartId(uuid::Uuid::from_u128(id));
            let part = manifest_part(&tenant, &part_id);
            prop_assert!(!part.prefix_matches(&manifests(&tenant)));
            prop_assert_eq!(ObjectKey::parse(&part), Some(ObjectKey::ManifestPart { tenant, id: part_id }));
        }

        #[test]
        fn what_is_said_of_writers_parses_back(id: u128) {
            let incarnation = Incarnation(uuid::Uuid::from_u128(id));
            for file in WriterFile::ALL {
                let key = writer(&incarnation, file);
                prop_assert!(key.prefix_matches(&writers()) && ObjectKey::parse(&key).is_none());
                prop_assert_eq!(parse_writer(&key), Some((incarnation, file)));
            }
        }

        #[test]
        fn logs_on_the_bucket_parse_back(id: u128, number: u64) {
            let writer = Incarnation(uuid::Uuid::from_u128(id));
            let key = log_object(&writer, number);
            prop_assert!(key.prefix_matches(&log(&writer)) && log(&writer).prefix_matches(&logs()));
            prop_assert!(ObjectKey::parse(&key).is_none() && parse_writer(&key).is_none());
            prop_assert_eq!((log_of(&log(&writer)), parse_log_object(&key)), (Some(writer), Some(number)));
        }

        #[test]
        fn segments_parse_back(sequence: u64) {
            let sequence = SegmentSequence(sequence);
            prop_assert_eq!(parse_segment(&segment(FilePath::new("/data/wal"), sequence)), Some(sequence));
        }
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for key in
            ["a/manifest/1.json", "a/manifest/00000000000000000001.json/x", "a+b/manifest/00000000000000000001.json"]
        {
            assert_eq!(ObjectKey::parse(&Path::parse(key).unwrap()), None, "{key}");
        }
        for name in ["1.wal", "00000000000000000001.tmp", "+0000000000000000001.wal"] {
            assert_eq!(parse_segment(FilePath::new(name)), None, "{name}");
        }
    }

    #[test]
    fn staged_objects_are_told_from_whole_ones() {
        assert!(is_staged_object(FilePath::new("/a/spans.parquet#12")));
        for name in ["/a/spans.parquet", "/a/x#", "/a/x#1a", "/a#1/x"] {
            assert!(!is_staged_object(FilePath::new(name)), "{name}");
        }
    }
}
