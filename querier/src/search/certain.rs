//! What is certain of an answer while the search still runs, for those who want to see it grow.
//!
//! An entry is certain when nothing that is still to be read can come before it or change it: every source that may hold
//! a newer trace is done, and its own parts were looked up wherever they lie. So certain entries come in the order of the
//! answer, and the end of the search takes them as they are.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use hashbrown::HashSet;
use model::TraceId;
use tokio::sync::watch;
use tracing::debug;

use super::Search;
use super::collect::Hits;
use crate::answer::{FoundTrace, SearchAnswer};
use crate::error::Error;
use crate::lock::locked;

/// Time between two looks at what has become certain. Tempo's pace, which clients are used to.
const TELLING_INTERVAL: Duration = Duration::from_millis(500);

impl Search<'_> {
    /// Does `work`, and meanwhile tells what the matches that it adds to `hits` make certain.
    pub(super) async fn while_telling<T>(
        &self,
        hits: &Mutex<Hits>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(certain) = self.certain else { return work.await };
        let telling = async {
            // What cannot be read now decides nothing: the end of the search tries again, and reports it.
            let Err(error) = self.tell(hits, certain).await;
            debug!(%error, "nothing more is told before the end of a search");
            std::future::pending().await
        };
        tokio::select! {
            done = work => done,
            never = telling => never,
        }
    }

    async fn tell(&self, hits: &Mutex<Hits>, certain: &watch::Sender<SearchAnswer>) -> Result<Infallible, Error> {
        loop {
            tokio::time::sleep(TELLING_INTERVAL).await;
            // one that may begin again would see what came meanwhile before what it told
            if !self.sources.budget.is_scan() {
                continue;
            }
            let news = self.settle(hits).await?;
            let metrics = self.sources.budget.spent();
            certain.send_if_modified(|known| {
                let is_news = !news.is_empty() || known.metrics != metrics;
                known.traces.extend(news);
                known.metrics = metrics;
                is_news
            });
        }
    }

    /// The entries that have become certain since the last time.
    async fn settle(&self, hits: &Mutex<Hits>) -> Result<Vec<FoundTrace>, Error> {
        let known = self.known_ids();
        let (settled, open_from) = {
            let hits = locked(hits);
            let news = hits.settled().filter(|hit| !known.contains(&hit.trace_id));
            (news.cloned().collect::<Vec<_>>(), hits.open_from())
        };
        if settled.is_empty() {
            return Ok(Vec::new());
        }
        let mut placed = self.place(settled).await?;
        // Other parts may have moved a trace to where the answer is still open.
        placed.places.retain(|place| open_from.is_none_or(|open| *place < open));
        placed.places.truncate(self.limit - known.len());
        self.show(placed).await
    }

    /// Traces whose entries are certain and told.
    pub(super) fn known_ids(&self) -> HashSet<TraceId> {
        let ids = |certain: &watch::Sender<SearchAnswer>| {
            certain.borrow().traces.iter().map(|trace| trace.trace_id).collect()
        };
        self.certain.map(ids).unwrap_or_default()
    }

    /// The entries that are certain and told, newest first.
    pub(super) fn known(&self) -> Vec<FoundTrace> {
        self.certain.map(|certain| certain.borrow().traces.clone()).unwrap_or_default()
    }
}
