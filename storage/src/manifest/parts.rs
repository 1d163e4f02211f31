//! Most entries of a large manifest lie in parts, objects that many manifests share. So a commit writes what is new and a
//! line for each part, however many blocks there are.
//!
//! ```text
//! entries ─▶ in the manifest itself ─[`SEAL_AT`]─▶ a part ─ entries go or change ─▶ less than half are left ─▶ in the manifest
//! ```
//!
//! A part never changes. Of its entries those count that the manifest has as they stand in it; which do not, the manifest says
//! by their places. An entry that has changed stands in the manifest itself.
//!
//! A part is stored after its commit has read the manifest that it builds on, for this commit alone, and named by it: so what
//! [`crate::garbage`] says of the deletion of blocks holds for parts, too, and by its fence alone.

use std::collections::HashSet;
use std::sync::Arc;

use model::BlockId;
use serde::{Deserialize, Serialize};

use super::{BlockEntry, Manifest, TraceMapEntry};
use crate::ids::{ManifestPartId, TraceMapId};

/// Entries of a part: of some 400 bytes each. The more they are, the more a manifest has beside its parts; the fewer, the more
/// parts there are. At 20,000 blocks both take some 80 KB.
pub(super) const PART_ENTRIES: usize = 128;
/// From so many entries on that stand in the manifest itself the oldest become a part.
const SEAL_AT: usize = 2 * PART_ENTRIES;
/// So many blocks of a trace map take as much room as the entry of a block.
const MAPPED_BLOCKS: usize = 10;

/// Entries that stand in an object of their own.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub id: ManifestPartId,
    /// In the order of their ids.
    pub(super) blocks: Vec<BlockEntry>,
    pub(super) trace_maps: Vec<TraceMapEntry>,
}

/// What a manifest says of a part: its entries but for those in these places.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartEntry {
    pub id: ManifestPartId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks_gone: Vec<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trace_maps_gone: Vec<usize>,
}

/// Where the entries of a manifest stand.
pub(super) struct Layout<'m> {
    pub parts: Vec<PartEntry>,
    /// In the manifest itself.
    pub blocks: Vec<&'m BlockEntry>,
    pub trace_maps: Vec<&'m TraceMapEntry>,
}

impl Part {
    /// The places of entries that the manifest does not have, or has changed.
    fn entry(&self, manifest: &Manifest) -> PartEntry {
        let is_gone = |block: &BlockEntry| manifest.block(&block.id) != Some(block);
        let is_map_gone = |map: &TraceMapEntry| manifest.trace_map(&map.id) != Some(map);
        PartEntry {
            id: self.id,
            blocks_gone: places(&self.blocks, is_gone),
            trace_maps_gone: places(&self.trace_maps, is_map_gone),
        }
    }
}

fn places<T>(entries: &[T], is_gone: impl Fn(&T) -> bool) -> Vec<usize> {
    entries.iter().enumerate().filter(|(_, entry)| is_gone(entry)).map(|(place, _)| place).collect()
}

fn left<'p, T>(entries: &'p [T], gone: &[usize]) -> impl Iterator<Item = &'p T> {
    let gone: HashSet<usize> = gone.iter().copied().collect();
    entries.iter().enumerate().filter(move |(place, _)| !gone.contains(place)).map(|(_, entry)| entry)
}

impl PartEntry {
    /// The entries of the part that count.
    pub fn blocks<'p>(&self, part: &'p Part) -> impl Iterator<Item = &'p BlockEntry> {
        left(&part.blocks, &self.blocks_gone)
    }

    pub fn trace_maps<'p>(&self, part: &'p Part) -> impl Iterator<Item = &'p TraceMapEntry> {
        left(&part.trace_maps, &self.trace_maps_gone)
    }

    fn is_worth_a_line(&self, part: &Part) -> bool {
        let all = part.blocks.len() + part.trace_maps.len();
        2 * (self.blocks_gone.len() + self.trace_maps_gone.len()) <= all
    }
}

impl Manifest {
    /// Where its entries stand, given its parts.
    pub(super) fn layout(&self) -> Layout<'_> {
        let parts: Vec<PartEntry> = self.parts.iter().map(|part| part.entry(self)).collect();
        let (mut in_parts, mut maps_in_parts) = (HashSet::<BlockId>::new(), HashSet::<TraceMapId>::new());
        for (entry, part) in parts.iter().zip(&self.parts) {
            in_parts.extend(entry.blocks(part).map(|block| block.id));
            maps_in_parts.extend(entry.trace_maps(part).map(|map| map.id));
        }
        Layout {
            parts,
            blocks: self.blocks.iter().filter(|block| !in_parts.contains(&block.id)).collect(),
            trace_maps: self.trace_maps.iter().filter(|map| !maps_in_parts.contains(&map.id)).collect(),
        }
    }

    /// The same content with its entries in as many parts as it takes to be small. Those that are new come last and are
    /// returned, too: they must be stored before this manifest.
    pub(super) fn in_parts(mut self) -> (Self, Vec<Arc<Part>>) {
        let is_worth = |entry: &PartEntry, part: &Arc<Part>| entry.is_worth_a_line(part).then(|| part.clone());
        let mut layout = self.layout();
        let worth: Vec<_> =
            layout.parts.iter().zip(&self.parts).filter_map(|(entry, part)| is_worth(entry, part)).collect();
        if worth.len() < self.parts.len() {
            self.parts = worth;
            layout = self.layout();
        }
        let mut new = Vec::new();
        while let Some(part) = layout.part().map(Arc::new) {
            self.parts.push(part.clone());
            new.push(part);
            layout = self.layout();
        }
        (self, new)
    }

    /// What was stored as `own` and these parts, whose entries `entries` says.
    ///
    /// # Errors
    /// Why they cannot be one manifest.
    pub(super) fn of_parts(own: Self, entries: &[PartEntry], parts: Vec<Arc<Part>>) -> Result<Self, String> {
        let mut whole = own;
        for (entry, part) in entries.iter().zip(&parts) {
            whole.blocks.extend(entry.blocks(part).cloned());
            whole.trace_maps.extend(entry.trace_maps(part).cloned());
        }
        whole.parts = parts;
        whole.blocks.sort_by_key(|block| block.id);
        whole.trace_maps.sort_by_key(|map| map.id);
        let is_twice = |pair: &[BlockEntry]| pair[0].id == pair[1].id;
        match whole.blocks.windows(2).find(|pair| is_twice(pair)) {
            Some(pair) => Err(format!("it has block {} twice", pair[0].id)),
            None => Ok(whole),
        }
    }
}

impl Layout<'_> {
    /// A part of the oldest entries, if those that stand in the manifest itself are too many.
    fn part(&self) -> Option<Part> {
        let of_map = |map: &TraceMapEntry| map.blocks.len().div_ceil(MAPPED_BLOCKS);
        let entries = self.blocks.len() + self.trace_maps.iter().map(|map| of_map(map)).sum::<usize>();
        if entries < SEAL_AT {
            return None;
        }
        // small maps are soon in a larger one
        let is_large = |map: &&&TraceMapEntry| of_map(map) > 1;
        let trace_maps: Vec<_> = self.trace_maps.iter().filter(is_large).map(|map| (*map).clone()).collect();
        let blocks: Vec<_> = self.blocks.iter().take(PART_ENTRIES).map(|block| (*block).clone()).collect();
        let has_some = !blocks.is_empty() || !trace_maps.is_empty();
        has_some.then(|| Part { id: ManifestPartId::generate(), blocks, trace_maps })
    }
}

#[cfg(test)]
mod tests;
