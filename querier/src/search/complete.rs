//! From the newest matches to the answer: their other parts are found, whole traces put together, and what is shown read.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use hashbrown::HashSet;
use model::{TimeRange, TraceId};
use storage::cpu::Effort;

use super::Search;
use super::collect::{Hit, Hits, Place};
use super::query::SearchQuery;
use super::render::{self, ToShow};
use crate::answer::FoundTrace;
use crate::engine::budget::Budget;
use crate::engine::concurrent::try_all;
use crate::engine::matcher::HitSet;
use crate::engine::parts::{NumberedPart, time_range_of};
use crate::engine::scan::{FetchedRows, OpenGroup, OpenSource, Run};
use crate::engine::sources::whole::Parts;
use crate::error::Error;
use crate::lock::locked;

/// Matches with their places in the answer, and all that is needed to show them.
pub(super) struct Placed {
    /// Best first.
    pub places: Vec<Place>,
    hits: Vec<Hit>,
    parts: Parts,
}

impl Search<'_> {
    /// The answer, or `None` when `hits` hold too few matches to be sure of it.
    pub(super) async fn complete(&self, hits: Hits) -> Result<Option<Vec<FoundTrace>>, Error> {
        let complete_to = hits.complete_to();
        let mut found = self.known();
        let known = self.known_ids();
        let missing = self.limit - found.len();
        let (hits, _held) = hits.into_hits();
        let hits: Vec<Hit> = hits.filter(|hit| !known.contains(&hit.trace_id)).collect();
        if hits.is_empty() || missing == 0 {
            return Ok(Some(found));
        }
        let mut placed = self.place(hits).await?;
        placed.places.retain(|place| self.is_asked(place));
        let is_sure = complete_to.is_none_or(|sure| placed.places.get(missing - 1).is_some_and(|last| *last <= sure));
        if !is_sure {
            return Ok(None);
        }
        placed.places.truncate(missing);
        found.extend(self.show(placed).await?);
        Ok(Some(found))
    }

    /// Finds the other parts of matches, and with them where each trace stands.
    pub(super) async fn place(&self, hits: Vec<Hit>) -> Result<Placed, Error> {
        let parts = self.find_parts(&hits).await?;
        let place =
            |(id, of_trace): (&TraceId, &Vec<NumberedPart>)| (Reverse(time_range_of(of_trace).start_nanos), *id);
        let mut places: Vec<Place> = parts.by_trace.iter().map(place).collect();
        let shown = hits.iter().filter(|hit| !parts.by_trace.contains_key(&hit.trace_id));
        places.extend(shown.map(|hit| (Reverse(hit.start_nanos), hit.trace_id)));
        places.sort_unstable();
        Ok(Placed { places, hits, parts })
    }

    /// The entries of the answer at these places.
    pub(super) async fn show(&self, Placed { places, hits, parts }: Placed) -> Result<Vec<FoundTrace>, Error> {
        let is_whole = |id: &TraceId| parts.by_trace.get(id).is_none_or(|of_trace| of_trace.len() == 1);
        let (whole, split): (Vec<TraceId>, Vec<TraceId>) = places.into_iter().map(|(_, id)| id).partition(is_whole);
        let mut found = self.show_split(&parts, &split).await?;
        let whole: HashSet<TraceId> = whole.into_iter().collect();
        let (mut shown, mut to_show) = (Vec::new(), Vec::new());
        for mut hit in hits.into_iter().filter(|hit| whole.contains(&hit.trace_id)) {
            match hit.shown.take() {
                Some(entry) => shown.push(Arc::unwrap_or_clone(entry)),
                None => to_show.push(hit),
            }
        }
        self.hold_shown(&shown)?;
        found.extend(shown);
        found.extend(self.show_whole(to_show).await?.into_iter().map(|(_, entry)| entry));
        found.sort_by_key(|trace| (Reverse(trace.start_nanos), trace.trace_id));
        Ok(found)
    }

    /// All parts of the traces, wherever they lie.
    async fn find_parts(&self, hits: &[Hit]) -> Result<Parts, Error> {
        let ids: HashSet<TraceId> = hits.iter().map(|hit| hit.trace_id).collect();
        let times = hits.iter().map(|hit| TimeRange::new(hit.start_nanos, hit.start_nanos));
        let time = times.reduce(|all, one| all.union(&one)).unwrap_or(self.sources.range);
        let mut found = self.sources.find_parts(&ids, &time).await?;
        for hit in hits {
            let parts = found.entry(hit.trace_id).or_default();
            if !parts.iter().any(|part| part.place() == hit.part.place()) {
                parts.push(hit.part);
            }
        }
        // nothing needs to be opened of what is all of its trace and comes with what is shown
        for hit in hits.iter().filter(|hit| hit.shown.is_some()) {
            if found.get(&hit.trace_id).is_some_and(|parts| parts.len() == 1) {
                found.remove(&hit.trace_id);
            }
        }
        self.sources.hold_parts(found)
    }

    /// Traces that lie in one source: the matches are known, only what is shown is read.
    pub(super) async fn show_whole(&self, hits: Vec<Hit>) -> Result<Vec<(NumberedPart, FoundTrace)>, Error> {
        let mut by_group: BTreeMap<(usize, usize), Vec<Hit>> = BTreeMap::new();
        hits.into_iter().for_each(|hit| by_group.entry(hit.part.group()).or_default().push(hit));
        let show = |(at, mut hits): ((usize, usize), Vec<Hit>)| {
            hits.sort_by_key(|hit| hit.part.at.trace);
            let shown: Vec<NumberedPart> = hits.iter().map(|hit| hit.part).collect();
            let entries = self.show_group(at, hits);
            async move { Ok(shown.into_iter().zip(entries.await?).collect::<Vec<_>>()) }.boxed()
        };
        let groups = by_group.into_iter().map(show).collect();
        Ok(try_all(self.sources.engine.config.max_concurrent_reads, groups).await?.into_iter().flatten().collect())
    }

    /// Traces of one row group, by row; none when it cannot be read.
    async fn show_group(&self, (source, group): (usize, usize), hits: Vec<Hit>) -> Result<Vec<FoundTrace>, Error> {
        let source = self.sources.all[source].clone();
        let block_id = source.block_id();
        let show = async {
            let source = OpenSource::open(source).await?;
            let _turn = self.sources.turn().await?;
            let group = source.group(group).await?.with_services().await?;
            let (query, fetched) = (self.query.clone(), self.fetch_shown(&group, &hits).await?);
            let effort = fetched.as_ref().map_or(Effort::Little, FetchedRows::effort);
            let budget = self.sources.budget.clone();
            self.sources.run_sized(effort, move || show(&query, &group, fetched, hits, &budget)).await?
        };
        let Some(found) = self.sources.budget.if_readable(block_id, show).await? else { return Ok(Vec::new()) };
        self.hold_shown(&found)?;
        Ok(found)
    }

    /// What is shown of the spans of some matches; `None` in a search that shows no spans.
    async fn fetch_shown(&self, group: &OpenGroup, hits: &[Hit]) -> Result<Option<FetchedRows>, Error> {
        let Some(shown) = &self.query.shown else { return Ok(None) };
        let columns = shown.projection();
        let fetched = if shown.needs_whole_runs() {
            let wanted: Vec<usize> = hits.iter().map(|hit| hit.part.at.trace).collect();
            group.fetch_only(&wanted, &columns).await?
        } else {
            group.fetch_rows(hits.iter().flat_map(rows_of), &columns).await?
        };
        Ok(Some(fetched.of_known_spans()))
    }

    /// Holds the memory of entries until the search ends.
    fn hold_shown(&self, found: &[FoundTrace]) -> Result<(), Error> {
        locked(&self.shown).grow(found.iter().map(FoundTrace::memory_bytes).sum())
    }

    /// Traces of which several sources have parts: put together, evaluated again, and shown as a whole.
    async fn show_split(&self, parts: &Parts, split: &[TraceId]) -> Result<Vec<FoundTrace>, Error> {
        let (mut found, columns) = (Vec::new(), self.query.projection());
        for batch in parts.batches(split) {
            let whole = self.sources.read_whole(parts, split[batch].iter().copied(), &columns).await?;
            let (query, most_rows) = (self.query.clone(), self.spans_per_span_set);
            let render = move || {
                let table = &whole.table;
                let decided = query.matcher.on_dimensions(table)?;
                let runs = Run::all(table)?;
                let found = query.matcher.find(table, &runs, &decided, most_rows)?;
                let to_show = |(run, sets): (usize, Vec<HitSet>)| ToShow { trace: runs[run].trace, sets };
                let to_show: Vec<ToShow> = found.into_iter().map(to_show).collect();
                render::traces(table, &to_show, query.shown.as_ref())
            };
            let shown = self.sources.run(render).await??;
            self.hold_shown(&shown)?;
            found.extend(shown);
        }
        Ok(found)
    }
}

/// The rows of all span sets of a trace, ascending.
fn rows_of(hit: &Hit) -> Vec<usize> {
    let mut rows: Vec<usize> = hit.sets.iter().flat_map(|set| set.rows.iter().copied()).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// The entries of traces of a row group, with the spans of which something was fetched.
fn show(
    query: &SearchQuery,
    group: &OpenGroup,
    fetched: Option<FetchedRows>,
    mut hits: Vec<Hit>,
    budget: &Budget,
) -> Result<Vec<FoundTrace>, Error> {
    let table = match fetched {
        Some(fetched) => {
            let rows = fetched.decode(budget)?;
            for row in hits.iter_mut().flat_map(|hit| &mut hit.sets).flat_map(|set| &mut set.rows) {
                *row = rows.position(*row)?;
            }
            rows.table
        }
        None => {
            hits.iter_mut().for_each(|hit| hit.sets.clear());
            group.small_tables()
        }
    };
    let to_show = hits.into_iter().map(|hit| ToShow { trace: hit.part.at.trace, sets: hit.sets });
    render::traces(&table, &to_show.collect::<Vec<_>>(), query.shown.as_ref())
}
