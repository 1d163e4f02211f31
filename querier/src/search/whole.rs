//! Traces of which several sources have parts: for queries that look at the trace as a whole, and where a part lies outside
//! the range.

use std::cmp::Reverse;
use std::sync::Mutex;

use hashbrown::HashSet;
use model::TraceId;

use super::collect::{self, Hits, Place};
use super::{Search, locked};
use crate::engine::parts::{NumberedPart, time_range_of};
use crate::engine::scan::Run;
use crate::engine::sources::whole::Parts;
use crate::error::Error;

/// Stands for the place of a trace that was put together, until it is named by its first part.
const NOWHERE: (usize, usize) = (0, 0);

impl Search<'_> {
    /// Traces that are evaluated as a whole from the start: several sources have parts, and either the query looks at the
    /// whole, or the page before this one ended between the parts, or a part that may match begins after the range.
    pub(super) async fn split_traces(&self) -> Result<HashSet<TraceId>, Error> {
        let needs_whole = self.query.matcher.needs_whole_traces();
        let ids = if needs_whole || self.after.is_some() {
            self.sources.split_traces(&self.query.matcher).await?.ids
        } else {
            self.sources.split_after_range().await?
        };
        if ids.is_empty() {
            return Ok(ids);
        }
        let find = async || self.sources.parts_of(&ids).await;
        let parts = self.split_parts.get_or_try_init(find).await?;
        if needs_whole {
            return Ok(parts.by_trace.keys().copied().collect());
        }
        Ok(split_where(parts, |of_trace, place| {
            let latest_start = of_trace.iter().map(|part| part.time_range.start_nanos).max().unwrap_or(0);
            let is_on_two_pages = self.is_asked(&place) && !self.is_asked(&(Reverse(latest_start), place.1));
            is_on_two_pages || latest_start > self.sources.range.end_nanos
        }))
    }

    /// Adds the matches among traces of which a part ended before the range, where the others may not match. They begin
    /// before it, too, and so come last: mostly there is no room for them, and nothing is read.
    pub(super) async fn find_earlier(&self, hits: &Mutex<Hits>) -> Result<(), Error> {
        let start_nanos = self.sources.range.start_nanos;
        if !self.may_begin_earlier() || !locked(hits).could_keep(start_nanos) {
            return Ok(());
        }
        let find = async || {
            let split = self.sources.split_before_range().await?;
            self.sources.parts_of(&split).await
        };
        let parts = self.earlier_parts.get_or_try_init(find).await?;
        let earlier =
            split_where(parts, |of_trace, _| of_trace.iter().any(|part| part.time_range.end_nanos < start_nanos));
        self.find_split(&self.split_places(&earlier, Some(parts)), Some(parts), hits).await
    }

    /// Whether [`find_earlier`](Self::find_earlier) may find something.
    pub(super) fn may_begin_earlier(&self) -> bool {
        !self.query.matcher.needs_whole_traces() && self.sources.begins_before_range()
    }

    /// The places of split traces that overlap the range and may match, in the order of the answer.
    pub(super) fn split_places(&self, split: &HashSet<TraceId>, parts: Option<&Parts>) -> Vec<Place> {
        let Some(parts) = parts else { return Vec::new() };
        let mut places: Vec<Place> = Vec::new();
        for (id, of_trace) in parts.by_trace.iter().filter(|(id, _)| split.contains(*id)) {
            let time = time_range_of(of_trace);
            let place = (Reverse(time.start_nanos), *id);
            let may_match = parts.may_match(&self.query.matcher, id);
            if may_match && time.overlaps(&self.sources.range) && self.is_asked(&place) {
                places.push(place);
            }
        }
        places.sort_unstable();
        places
    }

    /// Adds the matches among traces that are evaluated as a whole, at these places.
    pub(super) async fn find_split(
        &self,
        places: &[Place],
        parts: Option<&Parts>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let Some(parts) = parts.filter(|_| !places.is_empty()) else { return Ok(()) };
        let ids: Vec<TraceId> = places.iter().map(|(_, id)| *id).collect();
        for batch in parts.batches(&ids) {
            let places = &places[batch];
            let keepable =
                |hits: &Hits| places.iter().take_while(|(Reverse(start), _)| hits.could_keep(*start)).count();
            let places = &places[..keepable(&locked(hits))];
            if places.is_empty() {
                break;
            }
            let columns = self.query.matcher.projection();
            let whole = self.sources.read_whole(parts, places.iter().map(|(_, id)| *id), &columns).await?;
            let query = self.query.clone();
            let found = move || {
                let runs = Run::all(&whole.table)?;
                let decided = query.matcher.on_dimensions(&whole.table)?;
                collect::matches(&query.matcher, &whole.table, &runs, &decided, NOWHERE, 0)
            };
            let found = self.sources.run(found).await??;
            let mut hits = locked(hits);
            for mut hit in found {
                let Some(first) = parts.by_trace.get(&hit.trace_id).and_then(|parts| parts.first()) else { continue };
                hit.part = *first;
                hits.add(hit)?;
            }
        }
        Ok(())
    }
}

/// Split traces of which this is true; it is told their parts, and their place.
fn split_where(parts: &Parts, is_wanted: impl Fn(&[NumberedPart], Place) -> bool) -> HashSet<TraceId> {
    let place = |id: &TraceId, of_trace: &[NumberedPart]| (Reverse(time_range_of(of_trace).start_nanos), *id);
    let wanted = parts.by_trace.iter().filter(|(id, of_trace)| is_wanted(of_trace, place(id, of_trace)));
    wanted.map(|(id, _)| *id).collect()
}
