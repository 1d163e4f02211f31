//! What earlier starts of this process left on its disk, of a log that is shipped to the bucket: they ended before all of it was
//! shipped, or were adopted. It becomes blocks, in their name; then nobody needs to ask them any more, and their folders go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ingester::Adopter;
use storage::Error;
use storage::cpu::CpuPool;
use storage::ids::WriterId;
use storage::incarnation::{Incarnation, Writer};
use storage::manifest;
use storage::members::{Members, Retired};
use storage::wal::{self, LocalFiles};
use tracing::{info, warn};

use super::cluster::Cluster;
use super::store::Store;

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Publishes what is there when it begins.
pub(super) struct EarlierLogs {
    dir: PathBuf,
    /// Whose log is not an earlier one.
    own: Option<Incarnation>,
    members: Arc<Members>,
    manifests: Arc<manifest::Store>,
    adopter: Adopter,
    cpu: CpuPool,
}

impl EarlierLogs {
    pub(super) fn new(cluster: &Cluster, store: &Store, adopter: Adopter) -> Self {
        Self {
            dir: store.dir.wal_dir().to_owned(),
            own: cluster.incarnation_on_bucket(),
            members: cluster.members(),
            manifests: store.manifests.clone(),
            adopter,
            cpu: store.background.clone(),
        }
    }

    /// Until all are published; then waits until it is dropped.
    pub(super) async fn run(self) {
        while let Err(error) = self.publish_all().await {
            warn!(%error, "spans that an earlier start left on the disk could not be published, will retry");
            tokio::time::sleep(RETRY).await;
        }
        std::future::pending().await
    }

    async fn publish_all(&self) -> Result<(), Error> {
        let dir = self.dir.clone();
        let logs = self.cpu.run(move || wal::shipped_logs(&LocalFiles::default(), &dir)).await??;
        for (writer, log) in logs.into_iter().filter(|(writer, _)| Some(*writer) != self.own) {
            match self.publish(writer, &log).await {
                Err(Error::WriterRetired) if !self.members.is_retired(&writer).await? => {
                    // deleted by somebody who took its spans for lost, and perhaps stored since
                    warn!(%writer, log = %log.display(), "an earlier start is no member any more, its log is left as it is: delete it when its spans are not missed");
                }
                Ok(()) | Err(Error::WriterRetired) => self.cpu.run(move || remove(&log)).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn publish(&self, incarnation: Incarnation, log: &Path) -> Result<(), Error> {
        let writer = Writer { id: WriterId(incarnation.0), incarnation };
        self.adopter.adopt_disk(writer, Arc::new(LocalFiles::default()), log).await?;
        self.members.retire(&incarnation, &Retired::new(self.manifests.sequences())).await?;
        info!(writer = %incarnation, "what an earlier start left on the disk is in blocks");
        Ok(())
    }
}

/// Removes a log that blocks have.
pub(super) fn remove(log: &Path) {
    if let Err(error) = std::fs::remove_dir_all(log) {
        warn!(log = %log.display(), %error, "a log that is in blocks could not be removed, the next start tries again");
    }
}
