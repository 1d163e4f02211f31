//! Which blocks of a tenant exist. What no manifest names does not exist, whatever lies in the store.
//!
//! A manifest is the complete list, an object `<tenant>/manifest/<20-digit sequence>.json` that is never changed:
//!
//! ```text
//! {"version": 1, "checksum": CRC-32 of the text of the value of "manifest",
//!  "manifest": {"sequence", "blocks", "trace_maps", "tombstones", "last_tombstone", "wal_watermarks", "incarnations"}}
//! ```
//!
//! Of a tenant with many blocks most entries lie in objects that manifests share (`parts`), so that a commit is small.
//!
//! The newest counts. A commit reads it, changes it and creates the next one, which succeeds for one of many; the others
//! read again. Publishing a block, swapping compaction's inputs for its output and dropping expired blocks are each one
//! commit; so is a new trace map in the place of smaller ones, and a map of which no block is left goes with the last. What
//! a manifest names is durable before the commit, and deleted by [`crate::garbage`] after the one that does not name it.
//! What other processes commit is taken over by the next commit, or by the [`Poller`].

mod format;
mod parts;
mod poll;
mod store;
mod tombstone;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use model::{BlockId, TimeRange, TraceId};
use serde::{Deserialize, Serialize};

use crate::clock::unix_nanos;
use crate::ids::{SegmentSequence, TraceMapId, WriterId};
use crate::incarnation::{Incarnation, Lineage, Writer};
use crate::paths::BlockFile;
use crate::publish_deadline::PublishDeadline;

pub use parts::Part;
pub use poll::Poller;
pub use store::Store;
pub use tombstone::Tombstone;

/// Fields that a later program of the same version has added. They are kept, and written again by the next commit, so that
/// old and new programs can work on one store while it is upgraded.
pub type UnknownFields = BTreeMap<String, serde_json::Value>;

/// The live blocks of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Counts the commits; 0 for a tenant that has none.
    pub sequence: u64,
    /// In the order of their ids, so the oldest first.
    pub blocks: Vec<BlockEntry>,
    /// Which of these blocks may have a trace; a block is in one of them or in none. In the order of their ids. See
    /// [`crate::trace_map`].
    #[serde(default)]
    pub trace_maps: Vec<TraceMapEntry>,
    /// Deleted traces that files may still have, in the order of their numbers. See [`crate::deletion`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tombstones: Vec<Tombstone>,
    /// The highest number that a tombstone has had.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_tombstone: u64,
    /// Up to which segment a writer's log is in blocks, as far as this tenant is concerned.
    pub wal_watermarks: BTreeMap<WriterId, SegmentSequence>,
    /// Which start of a writer raised its watermark last; not of those that did so before there was this field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub incarnations: BTreeMap<WriterId, Incarnation>,
    /// Where entries lie that do not lie in the manifest itself; it has all of them.
    #[serde(skip)]
    pub parts: Vec<Arc<Part>>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// What the manifest knows of a block: enough to plan a query and to read a file without asking for its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockEntry {
    pub id: BlockId,
    pub start_nanos: u64,
    pub end_nanos: u64,
    pub traces: u64,
    pub spans: u64,
    /// How often the spans were compacted; 0 as cut by an ingester.
    pub level: u8,
    /// When the last of the spans was written to a block for the first time; compaction does not change it. In manifests
    /// of before there was this field, when the block's id was made.
    #[serde(default)]
    pub written_nanos: u64,
    /// How many of its traces older blocks had a part of when it was written; `directory.bundle` lists them. Of the blocks
    /// that have parts of a trace, all but one at most list it: so queries know which traces are split without looking at
    /// the others. `None` where that is not known.
    #[serde(default)]
    pub continued_traces: Option<u64>,
    /// Up to the tombstone of this number the block has none of the deleted traces.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redacted_through: u64,
    pub files: BlockFiles,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// Sizes of a block's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFiles {
    pub spans_bytes: u64,
    pub traces_bytes: u64,
    pub resources_bytes: u64,
    pub scopes_bytes: u64,
    /// 0 for a block without an index.
    #[serde(default)]
    pub index_bytes: u64,
    /// 0 for a block of version 1, which has none.
    #[serde(default)]
    pub directory_bytes: u64,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// What the manifest knows of a trace map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceMapEntry {
    pub id: TraceMapId,
    /// Size of the object.
    pub bytes: u64,
    /// By their number in the map. Those that are gone keep their place.
    pub blocks: Vec<BlockId>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// `skip_serializing_if`
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a commit does, as a whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// A block that is already there stays as it is.
    pub add: Vec<BlockEntry>,
    /// With `add`, the blocks that it replaces: all must be there. Alone, those that are gone already do not matter.
    pub remove: Vec<BlockId>,
    /// Names a stored trace map.
    pub add_trace_map: Option<TraceMapEntry>,
    /// Those that are gone already do not matter.
    pub remove_trace_maps: Vec<TraceMapId>,
    /// When the writing of the first object of what is added began; what comes too late is not added. `None` sets no
    /// limit: for a store without a collector.
    pub deadline: Option<PublishDeadline>,
    pub watermark: Option<Watermark>,
    /// Traces to delete, and when that was asked for.
    pub delete_traces: Vec<TraceId>,
    pub deleted_nanos: u64,
    /// Blocks that were looked through, and up to which tombstone they have no deleted trace.
    pub looked_through: Vec<(BlockId, u64)>,
    /// By number.
    pub remove_tombstones: Vec<u64>,
    /// Writers that will never raise their watermarks again.
    pub forget_writers: Vec<WriterId>,
}

/// Raises the watermark of a writer. Where the same start of it has raised it as high already, the change was made before,
/// whatever has become of its blocks since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    pub by: Arc<Lineage>,
    pub segment: SegmentSequence,
    /// Where it must stand before, because others may publish the same log: what is added was made of what lies between the
    /// two. `None` where nobody else can.
    pub from: Option<SegmentSequence>,
}

/// Why a change is not made.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// The first of the blocks to replace that is gone.
    BlockGone(BlockId),
    /// Another process writes under the id of this writer.
    WriterElsewhere(WriterId),
    /// The watermark is not where it was when the change was decided.
    WatermarkMoved(WriterId),
}

impl BlockFiles {
    /// Size of a file; `None` for the one whose size is not kept here.
    pub fn bytes_of(&self, file: BlockFile) -> Option<u64> {
        match file {
            BlockFile::Spans => Some(self.spans_bytes),
            BlockFile::Traces => Some(self.traces_bytes),
            BlockFile::Resources => Some(self.resources_bytes),
            BlockFile::Scopes => Some(self.scopes_bytes),
            BlockFile::Index => Some(self.index_bytes),
            BlockFile::Directory => Some(self.directory_bytes),
            BlockFile::Meta => None,
        }
    }
}

impl BlockEntry {
    pub fn time_range(&self) -> TimeRange {
        TimeRange::new(self.start_nanos, self.end_nanos)
    }

    /// The entry of a block whose spans are written to a block for the first time.
    #[must_use]
    pub fn written_now(self) -> Self {
        Self { written_nanos: unix_nanos(), ..self }
    }

    /// From when on retention counts: spans that arrive late stay as long as others.
    pub fn kept_from_nanos(&self) -> u64 {
        self.end_nanos.max(self.written_nanos)
    }

    /// As it stands in a manifest, for another process that is to read the block.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts have a form in JSON")
    }

    /// The inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// When the bytes are no entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Size at rest.
    pub fn bytes(&self) -> u64 {
        BlockFile::ALL.into_iter().filter_map(|file| self.files.bytes_of(file)).fold(0, u64::saturating_add)
    }
}

impl Manifest {
    pub fn block(&self, id: &BlockId) -> Option<&BlockEntry> {
        let index = self.blocks.binary_search_by_key(id, |block| block.id).ok()?;
        self.blocks.get(index)
    }

    pub fn trace_map(&self, id: &TraceMapId) -> Option<&TraceMapEntry> {
        self.trace_maps.iter().find(|map| map.id == *id)
    }

    /// The trace map that has this block.
    pub fn trace_map_of(&self, block_id: &BlockId) -> Option<&TraceMapEntry> {
        self.trace_maps.iter().find(|map| map.blocks.contains(block_id))
    }

    /// Segments of this writer up to here need no replay for this tenant.
    pub fn watermark(&self, writer: &WriterId) -> SegmentSequence {
        self.wal_watermarks.get(writer).copied().unwrap_or(SegmentSequence::NONE)
    }

    /// Up to which segment this start of a writer has published its log. What starts before it have published was never
    /// among its live rows, and what others publish under its id says nothing about them.
    pub fn published_by(&self, writer: &Writer) -> SegmentSequence {
        match self.incarnations.get(&writer.id) {
            Some(incarnation) if *incarnation == writer.incarnation => self.watermark(&writer.id),
            _ => SegmentSequence::NONE,
        }
    }

    /// False when another process has raised the writer's watermark: what it says is not about this writer's log.
    pub fn is_of(&self, lineage: &Lineage) -> bool {
        self.incarnations.get(&lineage.writer().id).is_none_or(|incarnation| lineage.includes(incarnation))
    }

    /// Size at rest of all blocks.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(BlockEntry::bytes).fold(0, u64::saturating_add)
    }

    /// The next manifest; `None` when the change is already in this one.
    ///
    /// # Errors
    /// When the change was decided on something else than this manifest.
    fn apply(&self, change: &Change) -> Result<Option<Self>, Refused> {
        if let Some(watermark) = &change.watermark
            && self.has_raised(watermark)?
        {
            return Ok(None);
        }
        let adds_something = change.add.iter().any(|block| self.block(&block.id).is_none());
        if let Some(gone) = change.remove.iter().find(|id| adds_something && self.block(id).is_none()) {
            return Err(Refused::BlockGone(*gone));
        }
        let mut next = self.clone();
        let removed: BTreeSet<&BlockId> = change.remove.iter().collect();
        next.blocks.retain(|block| !removed.contains(&block.id));
        next.blocks.extend(change.add.iter().filter(|block| self.block(&block.id).is_none()).cloned());
        next.blocks.sort_by_key(|block| block.id);
        next.blocks.dedup_by_key(|block| block.id);
        next.trace_maps.retain(|map| !change.remove_trace_maps.contains(&map.id));
        let new_map = change.add_trace_map.as_ref().filter(|map| next.trace_map(&map.id).is_none()).cloned();
        next.trace_maps.extend(new_map);
        next.trace_maps.sort_by_key(|map| map.id);
        let live: HashSet<BlockId> = next.blocks.iter().map(|block| block.id).collect();
        next.trace_maps.retain(|map| map.blocks.iter().any(|block_id| live.contains(block_id)));
        next.change_tombstones(change);
        next.wal_watermarks.retain(|writer, _| !change.forget_writers.contains(writer));
        next.incarnations.retain(|writer, _| !change.forget_writers.contains(writer));
        if let Some(Watermark { by, segment, .. }) = &change.watermark {
            let Writer { id, incarnation } = by.writer();
            next.wal_watermarks.insert(id, *segment);
            next.incarnations.insert(id, incarnation);
        }
        Ok((next != *self).then(|| next.following()))
    }

    fn change_tombstones(&mut self, change: &Change) {
        for block in &mut self.blocks {
            let looked_through =
                change.looked_through.iter().filter(|(id, _)| *id == block.id).map(|(_, number)| *number);
            block.redacted_through = looked_through.fold(block.redacted_through, u64::max);
        }
        // a trace that is deleted again may have come back meanwhile
        let is_deleted_again = |stone: &Tombstone| change.delete_traces.contains(&stone.trace_id);
        self.tombstones.retain(|stone| !change.remove_tombstones.contains(&stone.number) && !is_deleted_again(stone));
        for trace_id in &change.delete_traces {
            self.last_tombstone = self.last_tombstone.saturating_add(1);
            let (number, deleted_nanos) = (self.last_tombstone, change.deleted_nanos);
            self.tombstones.push(Tombstone { trace_id: *trace_id, number, deleted_nanos, unknown: Default::default() });
        }
    }

    /// Whether this start of the writer has raised its watermark so far. Nobody else may have: a writer's rows lie in
    /// segments beyond the watermark that it found when it started.
    fn has_raised(&self, watermark: &Watermark) -> Result<bool, Refused> {
        let (writer, segment) = (watermark.by.writer(), watermark.segment);
        let is_raised = segment <= self.published_by(&writer);
        let is_raised_by_others = !is_raised && segment <= self.watermark(&writer.id);
        if is_raised_by_others || !self.is_of(&watermark.by) {
            return Err(Refused::WriterElsewhere(writer.id));
        }
        if !is_raised && watermark.from.is_some_and(|from| from != self.published_by(&writer)) {
            return Err(Refused::WatermarkMoved(writer.id));
        }
        Ok(is_raised)
    }

    /// The same content under the next sequence.
    fn following(mut self) -> Self {
        self.sequence = self.sequence.saturating_add(1);
        self
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
