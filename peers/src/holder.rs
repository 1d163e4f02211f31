//! The writer's side: which of its live rows somebody with a certain manifest does not have.

mod listed;

use std::sync::Arc;

use model::{TenantId, TraceId};
use storage::incarnation::Incarnation;
use storage::memory::MemorySource;
use storage::source::Source;
use storage::view::{LiveRows, LiveTable, Reach, TableId};
use storage::{Error, manifest};

use self::listed::ListedTables;
use crate::question::{Answer, Listed, PeerError, Question, Rows};

/// Answers for the live rows of this process. Its methods are CPU work.
#[derive(Clone)]
pub struct Holder {
    live: Arc<dyn LiveRows>,
    manifests: Arc<manifest::Store>,
    listed: Arc<ListedTables>,
}

impl Holder {
    /// Tables that others were told of are kept for a while, within `listed_bytes`, when they are not live any more.
    pub fn new(live: Arc<dyn LiveRows>, manifests: Arc<manifest::Store>, listed_bytes: u64) -> Self {
        Self { live, manifests, listed: Arc::new(ListedTables::within(listed_bytes)) }
    }

    /// # Errors
    /// [`PeerError::Elsewhere`] and [`PeerError::NotWhole`]; [`PeerError::Refused`] when rows cannot be put in columns.
    pub fn answer(&self, question: &Question) -> Result<Answer, PeerError> {
        self.check(&question.incarnation)?;
        let tables = self.live.tables(&question.tenant).map_err(refused)?;
        // Read after the rows were taken: whatever had left them by then was in a manifest that is known here. An older one
        // may lack it; this one or a newer does not, and says so by its watermark.
        let known = self.manifests.snapshot(&question.tenant).map_or(0, |manifest| manifest.sequence);
        if question.manifest < known {
            return Ok(Answer::Gone { manifest: known });
        }
        if !self.live.has_cut_at(question.watermark) {
            return Err(PeerError::Refused("others have published some of its log".to_owned()));
        }
        let beyond = tables.into_iter().filter(|table| table.is_beyond(question.watermark));
        let listed = match question.reach {
            Reach::Everything | Reach::Held => {
                beyond.map(|table| Ok(Some(self.list(&question.tenant, &table)))).collect::<Result<Vec<_>, _>>()
            }
            Reach::Trace(id) => beyond.map(|table| of_trace(&table.source, &id)).collect(),
        };
        Ok(Answer::Rows(listed.map_err(refused)?.into_iter().flatten().collect()))
    }

    fn list(&self, tenant: &TenantId, table: &LiveTable) -> Listed {
        let source = &table.source;
        let rows = match table.id {
            Some(id) => {
                self.listed.keep(tenant, id, source);
                Rows::Kept(id)
            }
            None => Rows::Given(source.table()),
        };
        Listed { block_id: source.block_id(), time_range: source.time_range(), span_count: source.span_count(), rows }
    }

    /// The rows of a table that an answer listed, while they are live and a while longer.
    ///
    /// # Errors
    /// Those of [`answer`](Self::answer).
    pub fn table(
        &self,
        incarnation: &Incarnation,
        tenant: &TenantId,
        id: TableId,
    ) -> Result<Option<spans::SpanTable>, PeerError> {
        self.check(incarnation)?;
        if let Some(rows) = self.listed.find(tenant, id) {
            return Ok(Some(rows.table()));
        }
        let tables = self.live.tables(tenant).map_err(refused)?;
        Ok(tables.into_iter().find(|table| table.id == Some(id)).map(|table| table.source.table()))
    }

    fn check(&self, incarnation: &Incarnation) -> Result<(), PeerError> {
        match () {
            () if self.live.writer().incarnation != *incarnation => Err(PeerError::Elsewhere),
            () if !self.live.is_whole() => Err(PeerError::NotWhole),
            () => Ok(()),
        }
    }
}

/// The spans of one trace: few, whatever the table.
fn of_trace(source: &MemorySource, id: &TraceId) -> Result<Option<Listed>, Error> {
    let Some(table) = source.table_of(id)? else { return Ok(None) };
    let time_range = table.time_range()?.unwrap_or(source.time_range());
    let span_count = table.span_count();
    Ok(Some(Listed { block_id: source.block_id(), time_range, span_count, rows: Rows::Given(table) }))
}

fn refused(error: Error) -> PeerError {
    PeerError::Refused(error.to_string())
}

#[cfg(test)]
mod tests;
