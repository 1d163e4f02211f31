//! Deletes traces in the name of the API: hides them, then has live rows published, so that compaction can take the traces
//! out of all files.

use api::DeletionError;
use async_trait::async_trait;
use ingester::Ingester;
use model::{TenantId, TraceId};
use storage::deletion::{DeleteError, Deleter};
use tracing::warn;

/// What `/api/deletions` does.
pub(crate) struct Deletions {
    pub deleter: Deleter,
    /// `None` where no spans are taken.
    pub ingester: Option<Ingester>,
}

#[async_trait]
impl api::Deletions for Deletions {
    async fn delete(&self, tenant: &TenantId, ids: &[TraceId]) -> Result<(), DeletionError> {
        self.deleter.delete(tenant, ids).await.map_err(|error| match error {
            DeleteError::TooMany(_) => DeletionError::TooMany(error.to_string()),
            DeleteError::Storage(_) => DeletionError::Failed(error.to_string()),
        })?;
        // they are hidden: that rows leave memory later is no failure
        if let Some(ingester) = &self.ingester
            && let Err(error) = ingester.flush().await
        {
            warn!(%tenant, %error, "live spans of deleted traces stay until they are cut");
        }
        Ok(())
    }

    async fn report(&self, tenant: &TenantId) -> Result<String, DeletionError> {
        let report = self.deleter.report(tenant).await;
        let report = report.map_err(|error| DeletionError::Failed(error.to_string()))?;
        serde_json::to_string(&report).map_err(|error| DeletionError::Failed(error.to_string()))
    }
}
