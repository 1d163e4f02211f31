//! From settings to an object store: where it is, that what it stored stays stored, and what it costs.
//!
//! Knows nothing of what the keys mean. A put of every store opened here is durable when it returns, and a put in
//! [`object_store::PutMode::Create`] succeeds for one of many.
//!
//! ```text
//! cached      keeps pages of columns, forgets what is deleted                around all, for those who read blocks
//! portioned   joins reads of near ranges, uploads large objects in parts      remote stores only
//! limit       bounds the requests that are under way                          remote stores only
//! counted     counts and times requests
//! prefix      puts a folder in front of every key                             remote stores only
//! client      retries with backoff, times out: object_store's own
//! ```

mod azure;
mod cached;
mod counted;
mod gcs;
mod local;
mod portioned;
mod remote;
mod s3;

use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, PutMode};

use crate::block::BlockCache;
use crate::config::{Backend, DEFAULT_PART_BYTES, TraceConfig};
use crate::error::Error;
use crate::paths::{self, DataDir};
use crate::telemetry::Telemetry;
use counted::Counted;

/// Opens the store that the settings name. The caller holds the data folder's lock. No request is made.
///
/// # Errors
/// [`Error::Setting`] when the settings cannot work.
pub fn open(config: &TraceConfig, dir: &DataDir, telemetry: &Telemetry) -> Result<Arc<dyn ObjectStore>, Error> {
    open_with(config, telemetry, || local::open(dir.blocks_dir(), dir.blocks_are_shared()))
}

/// As [`open`], to look beside the process that uses the data folder: what lies there is left as it is, and the caller
/// writes nothing.
///
/// # Errors
/// [`Error::Io`] when a local folder is not there.
pub fn open_to_read(config: &TraceConfig, dir: &DataDir, telemetry: &Telemetry) -> Result<Arc<dyn ObjectStore>, Error> {
    open_with(config, telemetry, || local::open_to_read(dir.blocks_dir()))
}

fn open_with(
    config: &TraceConfig,
    telemetry: &Telemetry,
    local: impl FnOnce() -> Result<LocalFileSystem, Error>,
) -> Result<Arc<dyn ObjectStore>, Error> {
    Ok(match config.backend {
        Backend::Local => Arc::new(Counted::new(local::Files::of(local()?), telemetry.clone())),
        Backend::Memory => Arc::new(Counted::new(InMemory::new(), telemetry.clone())),
        Backend::S3 => {
            let prefix = remote::prefix("storage.trace.s3.prefix", &config.s3.prefix)?;
            Arc::new(remote::wrap(s3::build(&config.s3)?, prefix, config.s3.part_size, telemetry))
        }
        Backend::Gcs => {
            let prefix = remote::prefix("storage.trace.gcs.prefix", &config.gcs.prefix)?;
            Arc::new(remote::wrap(gcs::build(&config.gcs)?, prefix, DEFAULT_PART_BYTES, telemetry))
        }
        Backend::Azure => {
            let prefix = remote::prefix("storage.trace.azure.prefix", &config.azure.prefix)?;
            Arc::new(remote::wrap(azure::build(&config.azure)?, prefix, DEFAULT_PART_BYTES, telemetry))
        }
    })
}

/// The store with a cache around it: for all who read or delete files of blocks.
pub fn cached(objects: Arc<dyn ObjectStore>, cache: BlockCache) -> Arc<dyn ObjectStore> {
    Arc::new(cached::Cached::new(objects, cache))
}

/// Checks the settings as far as that goes without a folder and without a request.
///
/// # Errors
/// [`Error::Setting`] names the key that cannot work.
pub fn check(config: &TraceConfig) -> Result<(), Error> {
    match config.backend.is_remote() {
        true => open(config, &DataDir::new(""), &Telemetry::unregistered()).map(drop),
        false => Ok(()),
    }
}

/// Asks the store whether it can be reached and written, and whether it creates an object only if it is absent, on which
/// manifests rely.
///
/// # Errors
/// [`Error::CreateOverwrites`] when it does not.
pub async fn probe(objects: &dyn ObjectStore) -> Result<(), Error> {
    let key = paths::create_probe();
    // the first of these makes the object that the second must not replace
    for _ in 0..2 {
        match objects.put_opts(&key, "mosso creates this object once\n".into(), PutMode::Create.into()).await {
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(()),
            result => drop(result.map_err(Error::objects("create", &key))?),
        }
    }
    Err(Error::CreateOverwrites)
}

#[cfg(test)]
mod tests;
