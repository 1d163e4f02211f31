//! The values of a tag that single blocks have. Drop-downs ask for the same again and again, and a block never changes: one
//! that lies in the range whole is looked through once, or its index asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::BlockId;
use storage::Telemetry;
use storage::cache::{ByteCache, Capacity};
use storage::source::Source;

use super::TagScan;
use crate::answer::TagValue;
use crate::request::TagValuesRequest;

/// Values of blocks within a byte budget.
pub(crate) type ValuesCache = ByteCache<ValuesKey, Arc<BTreeSet<TagValue>>>;

/// What was asked of a block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ValuesKey {
    block_id: BlockId,
    /// As it was asked for.
    tag: Arc<str>,
    filter: Arc<str>,
}

const EXPECTED_ANSWERS: usize = 256;

pub(crate) fn values_cache(capacity_bytes: u64, telemetry: &Telemetry) -> ValuesCache {
    let bytes_of = |key: &ValuesKey, values: &Arc<BTreeSet<TagValue>>| {
        let of_value = |value: &TagValue| size_of::<TagValue>() + value.text.len();
        size_of::<ValuesKey>() + key.tag.len() + key.filter.len() + values.iter().map(of_value).sum::<usize>()
    };
    let capacity = Capacity { name: "tag_values", bytes: capacity_bytes, entries: EXPECTED_ANSWERS, bytes_of };
    ByteCache::new(&capacity, telemetry)
}

/// A request, as far as the values of a block follow from it.
pub(super) struct Remembered {
    tag: Arc<str>,
    filter: Arc<str>,
}

impl Remembered {
    pub fn of(request: &TagValuesRequest) -> Self {
        let tag = format!("{:?}", request.tag).into();
        Self { tag, filter: request.query.as_deref().unwrap_or_default().into() }
    }

    /// Under which the values of a source are remembered; `None` where they may be others the next time.
    pub fn key(&self, scan: &TagScan<'_>, source: &dyn Source) -> Option<ValuesKey> {
        let (range, of_source) = (&scan.sources.range, source.time_range());
        let is_whole = range.start_nanos <= of_source.start_nanos && of_source.end_nanos <= range.end_nanos;
        let is_whole = is_whole && source.deleted_traces().is_none();
        let lasts = scan.split.is_empty() && !source.is_live() && is_whole;
        lasts.then(|| ValuesKey { block_id: source.block_id(), tag: self.tag.clone(), filter: self.filter.clone() })
    }
}
