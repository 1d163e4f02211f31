//! The task that sorts full chunks of live rows, so that neither the applier nor the first query has to.

use std::sync::Arc;

use storage::cpu::CpuPool;
use tokio::sync::mpsc;

use crate::live::Chunk;

/// Chunks that may wait to be sorted. With more, whoever fills the next one sorts it: queries meet few unsorted ones.
pub(crate) const MAX_QUEUED_CHUNKS: usize = 2;

/// Runs until the applier is gone.
pub(crate) async fn run(cpu: CpuPool, mut full_chunks: mpsc::Receiver<Arc<Chunk>>) {
    while let Some(chunk) = full_chunks.recv().await {
        if let Err(error) = cpu.run(move || sort(&chunk)).await {
            tracing::error!(%error, "live spans could not be sorted, the next query tries again");
        }
    }
}

/// Passes a chunk on to the task, or sorts it here when the task is behind.
pub(crate) fn hand_to_sorter(full_chunks: &mpsc::Sender<Arc<Chunk>>, chunk: Arc<Chunk>) {
    if let Err(refused) = full_chunks.try_send(chunk) {
        sort(&refused.into_inner());
    }
}

/// Sorts now rather than when somebody asks.
pub(crate) fn sort(chunk: &Chunk) {
    if let Err(error) = chunk.source() {
        tracing::error!(%error, "live spans could not be sorted, the next query tries again");
    }
}
