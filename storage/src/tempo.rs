//! Blocks that a Tempo wrote, where it stored them: which there are, and their rows. Nothing is written.
//!
//! ```text
//! <tenant>/<block id>/meta.json               what the block is; meta.compacted.json once others have its traces
//! <tenant>/<block id>/data.parquet            a row for each trace, nested down to attributes
//! ```
//!
//! Knows where blocks lie and how a file is read, not what its columns mean: `mosso import` does.

mod block;
mod meta;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::config::TraceConfig;
use crate::error::Error;
use crate::{Telemetry, objects};

pub use block::TempoBlock;
use meta::Described;
pub use meta::{DedicatedColumn, DedicatedScope, DedicatedType, Format, TempoBlockMeta, UnknownBlock};

const META: &str = "meta.json";
const DATA: &str = "data.parquet";
/// Metas that are read at the same time.
const METAS_AT_A_TIME: usize = 16;

/// The bucket or folder of a Tempo.
pub struct TempoStore {
    objects: Arc<dyn ObjectStore>,
}

/// The blocks of a tenant, by the time of their first span.
#[derive(Default)]
pub struct TempoBlocks {
    pub readable: Vec<TempoBlock>,
    /// Of a schema that is not known here.
    pub unknown: Vec<UnknownBlock>,
}

/// What lies in a block's folder.
enum Found {
    Readable(TempoBlock),
    Unknown(UnknownBlock),
}

impl TempoStore {
    /// Opens what `storage.trace` names, which Tempo's configuration has under the same keys. No request is made.
    ///
    /// # Errors
    /// [`Error::Setting`] when the settings cannot work, [`Error::Io`] when a local folder is not there.
    pub fn open(config: &TraceConfig) -> Result<Self, Error> {
        let objects = objects::open_to_read(config, &config.data_dir(""), &Telemetry::unregistered())?;
        Ok(Self { objects })
    }

    /// The tenants that have blocks.
    ///
    /// # Errors
    /// [`Error::Objects`] when the store cannot be listed.
    pub async fn tenants(&self) -> Result<Vec<String>, Error> {
        self.folders(&Path::default()).await
    }

    /// The blocks of a tenant that are not compacted into others. A folder without a meta is one that is being written or
    /// deleted.
    ///
    /// # Errors
    /// [`Error::Objects`] when the store cannot be read, [`Error::BlockDamaged`] for a meta that is none of Tempo's.
    pub async fn blocks(&self, tenant: &str) -> Result<TempoBlocks, Error> {
        let tenant_folder = Path::from(tenant);
        let metas =
            self.folders(&tenant_folder).await?.into_iter().map(|id| self.block(tenant_folder.clone().join(id)));
        let mut metas = futures::stream::iter(metas).buffered(METAS_AT_A_TIME);
        let mut blocks = TempoBlocks::default();
        while let Some(found) = metas.try_next().await? {
            match found {
                Some(Found::Readable(block)) => blocks.readable.push(block),
                Some(Found::Unknown(block)) => blocks.unknown.push(block),
                None => {}
            }
        }
        blocks.readable.sort_by_key(|block| (block.meta.start_seconds, block.meta.block_id));
        blocks.unknown.sort_by_key(|block| (block.start_seconds, block.block_id));
        Ok(blocks)
    }

    async fn block(&self, folder: Path) -> Result<Option<Found>, Error> {
        let path = folder.clone().join(META);
        let read = async { self.objects.get(&path).await?.bytes().await };
        let text = match read.await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            text => text.map_err(Error::objects("read", &path))?,
        };
        let described = Described::parse(&text).map_err(|reason| Error::block_damaged(path.as_ref(), reason))?;
        Ok(Some(match described {
            Described::Known(meta) => {
                Found::Readable(TempoBlock { objects: self.objects.clone(), data: folder.join(DATA), meta })
            }
            Described::Unknown(block) => Found::Unknown(block),
        }))
    }

    /// The names of the folders right below one.
    async fn folders(&self, folder: &Path) -> Result<Vec<String>, Error> {
        let listed = self.objects.list_with_delimiter(Some(folder)).await.map_err(Error::objects("list", folder))?;
        let mut names: Vec<_> =
            listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }
}
