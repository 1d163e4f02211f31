//! What the way in needs of storage, to write blocks and to commit them.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use storage::block::BlockCache;
use storage::cpu::CpuPool;
use storage::incarnation::Lineage;
use storage::manifest;

/// Where blocks and manifests go.
#[derive(Clone)]
pub struct Storage {
    pub objects: Arc<dyn ObjectStore>,
    pub manifests: Arc<manifest::Store>,
    pub cpu: CpuPool,
    pub telemetry: storage::Telemetry,
    /// Whose log it is.
    pub lineage: Arc<Lineage>,
    /// Whether a put may still arrive after the death of the process that made it, as it may over a network. The file
    /// system of this machine has done with a process before it frees its lock on the data folder.
    pub puts_may_be_late: bool,
    /// What is kept of published blocks: a block that is written is told which traces they have, too.
    pub cache: BlockCache,
    /// How far apart in time parts of a trace are looked for.
    pub trace_reach: Duration,
}

impl Storage {
    /// Has the data folder know this start before a manifest does.
    pub(crate) async fn record_incarnation(&self) -> Result<(), storage::Error> {
        if self.lineage.is_recorded() {
            return Ok(());
        }
        let named = self.manifests.incarnations_of(&self.lineage.writer().id);
        let lineage = self.lineage.clone();
        self.cpu.run(move || lineage.record(named.as_ref())).await?
    }
}
