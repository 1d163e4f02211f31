//! From settings to an object store: where it is, that what it stored stays stored, and what it costs.
//!
//! Knows nothing of keys. A put of every store opened here is durable when it returns, and a put in
//! [`object_store::PutMode::Create`] succeeds for one of many.

mod counted;
mod local;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::config::{Backend, TraceConfig};
use crate::error::Error;
use crate::paths::DataDir;
use crate::telemetry::Telemetry;
use counted::Counted;

/// Opens the store that the settings name. The caller holds the data folder's lock.
pub fn open(config: &TraceConfig, dir: &DataDir, telemetry: &Telemetry) -> Result<Arc<dyn ObjectStore>, Error> {
    let store: Arc<dyn ObjectStore> = match config.backend {
        Backend::Local => Arc::new(local::open(dir.blocks_dir())?),
        Backend::Memory => Arc::new(InMemory::new()),
    };
    Ok(Arc::new(Counted::new(store, telemetry.clone())))
}

#[cfg(test)]
mod tests;
