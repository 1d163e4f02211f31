//! Traces of which several sources have parts, for queries that look at the trace as a whole.

use std::cmp::Reverse;
use std::sync::Mutex;

use hashbrown::HashSet;
use model::TraceId;

use super::collect::{self, Hits, Place};
use super::{Search, locked};
use crate::error::Error;
use crate::scan::Run;

impl Search<'_> {
    /// Traces that must be evaluated as a whole: several sources have parts, and either the query looks at the whole, or
    /// the page before this one ended between the parts.
    pub(super) async fn split_traces(&self) -> Result<HashSet<TraceId>, Error> {
        let needs_whole = self.query.finder.needs_whole_traces();
        if !needs_whole && self.after.is_none() {
            return Ok(HashSet::new());
        }
        let mut split = self.reading.split_traces(&self.query.finder).await?;
        if !needs_whole {
            let parts = self.reading.parts_of(&split, &self.reading.range).await?;
            split.clear();
            for (id, of_trace) in &parts.by_trace {
                if self.is_asked(&(Reverse(parts.time_range(of_trace)?.start_nanos), *id))
                    && !self.is_asked(&(Reverse(parts.latest_start(of_trace)?), *id))
                {
                    split.insert(*id);
                }
            }
        }
        Ok(split)
    }

    /// Adds the matches among traces that are evaluated as a whole, the newest first.
    pub(super) async fn find_split(&self, split: &HashSet<TraceId>, hits: &Mutex<Hits>) -> Result<(), Error> {
        let parts = self.reading.parts_of(split, &self.reading.range).await?;
        let mut places: Vec<Place> = Vec::new();
        for (id, of_trace) in &parts.by_trace {
            let time = parts.time_range(of_trace)?;
            let place = (Reverse(time.start_nanos), *id);
            if time.overlaps(&self.reading.range) && self.is_asked(&place) {
                places.push(place);
            }
        }
        places.sort_unstable();
        let ids: Vec<TraceId> = places.iter().map(|(_, id)| *id).collect();
        for batch in parts.batches(&ids)? {
            let places = &places[batch];
            let keepable =
                |hits: &Hits| places.iter().take_while(|(Reverse(start), _)| hits.could_keep(*start)).count();
            let places = &places[..keepable(&locked(hits))];
            if places.is_empty() {
                break;
            }
            let whole = self.reading.read_whole(&parts, places.iter().map(|(_, id)| *id)).await?;
            let query = self.query.clone();
            let found = move || {
                let runs = Run::all(&whole.table)?;
                let decided = query.finder.on_dimensions(&whole.table)?;
                collect::matches(&query.finder, &whole.table, &runs, &decided, 0, 0)
            };
            let found = self.reading.inner.cpu.run(found).await??;
            let mut hits = locked(hits);
            for mut hit in found {
                let Some(first) = parts.by_trace.get(&hit.trace_id).and_then(|parts| parts.first()) else { continue };
                (hit.source, hit.trace) = (first.source, first.trace);
                hits.add(hit)?;
            }
        }
        Ok(())
    }
}
