//! A trace map read whole: to be merged, and to be compared with its blocks.

use std::sync::Arc;

use model::{BlockId, TenantId, TraceId};
use object_store::ObjectStore;

use crate::block::{BlockCache, BlockSource};
use crate::cpu::CpuPool;
use crate::damage::Damage;
use crate::error::Error;
use crate::manifest::{Manifest, TraceMapEntry};
use crate::telemetry::Telemetry;
use crate::trace_ids::TraceHash;
use crate::trace_map::format::{self, Pair};
use crate::{exact, paths};

/// What is wrong with a trace map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not as it was written, for this reason. It costs speed: its blocks are asked themselves.
    Damaged(String),
    /// It is as it was written, and lacks a trace of a block: a look-up does not find the trace there.
    Lacks { trace_id: TraceId, block_id: BlockId },
}

/// What is wrong with a trace map of the manifest, if anything. Reads the map and the traces of its blocks; a block whose
/// own files are damaged or gone says nothing of it.
///
/// # Errors
/// When the store cannot be read, which says nothing of the map.
pub async fn fault(
    tenant: &TenantId,
    map: &TraceMapEntry,
    manifest: &Manifest,
    objects: &Arc<dyn ObjectStore>,
    cpu: &CpuPool,
) -> Result<Option<Fault>, Error> {
    let pairs = match read_whole(tenant, map, objects.as_ref(), cpu).await? {
        Ok(pairs) => pairs,
        Err(reason) => return Ok(Some(Fault::Damaged(reason))),
    };
    let cache = BlockCache::new(0, Telemetry::unregistered()); // each block is asked once
    for (number, block_id) in map.blocks.iter().enumerate() {
        let Some(entry) = manifest.block(block_id) else { continue };
        let block = BlockSource::new(tenant.clone(), entry.clone(), objects.clone(), cpu.clone(), cache.clone());
        let ids = match block.trace_ids().await {
            Err(error) if Damage::of(&error).is_some() => continue,
            ids => ids?,
        };
        let has = |id: &TraceId| pairs.binary_search(&Pair::new(TraceHash::of(id), number)).is_ok();
        if let Some(trace_id) = ids.into_iter().find(|id| !has(id)) {
            return Ok(Some(Fault::Lacks { trace_id, block_id: *block_id }));
        }
    }
    Ok(None)
}

/// All that a map says, ascending; the inner error is what is wrong with it.
pub(super) async fn read_whole(
    tenant: &TenantId,
    map: &TraceMapEntry,
    objects: &dyn ObjectStore,
    cpu: &CpuPool,
) -> Result<Result<Vec<Pair>, String>, Error> {
    let (key, bytes, block_count) = (paths::trace_map(tenant, &map.id), map.bytes, map.blocks.len());
    let object = match exact::whole(objects, &key).await {
        Ok(object) => object,
        Err(object_store::Error::NotFound { .. }) => return Ok(Err("it is not there".to_owned())),
        Err(error) => return Err(Error::objects("read", &key)(error)),
    };
    if object.len() as u64 != bytes {
        return Ok(Err(format!("it has {} bytes, the manifest says {bytes}", object.len())));
    }
    cpu.run(move || format::decode(&object, block_count)).await
}
