//! The read path of `/api/search`.
//!
//! ```text
//! compile ─▶ plan ─▶ prune, open, read filter columns, evaluate ─▶ newest matches ─▶ whole traces, shown columns ─▶ answer
//!                    └──────── each source, newest first ───────┘     collect           └──── only for these ────┘
//! ```
//!
//! A source is evaluated on its own part of a trace. What is in the answer comes from the whole trace: `complete` finds
//! the other parts of the newest matches. A trace of which a part lies outside the range may match with that part alone:
//! such traces are evaluated as a whole, those that go on after the range first, those from before it last. What looks at
//! the trace as a whole (its duration, its root, the tree, several span sets, aggregates) is evaluated on whole traces from
//! the start, wherever several sources have parts of one.
//!
//! A page that goes on after another (`after`) leaves out places up to the other's last. A part that stands before it and
//! belongs to a trace that stands after it cannot be told by itself: such traces are evaluated as a whole, too.
//!
//! A pipeline that needs more columns than its filters do reads those first, and the others for traces that may match.

mod certain;
mod collect;
mod complete;
mod elsewhere;
mod query;
pub(crate) mod render;
mod row_groups;
mod whole;

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashSet;
use model::TraceId;
use spans::Traces;
use storage::source::Source;
use tokio::sync::{OnceCell, watch};

use self::collect::{Hit, Hits, Place};
pub(crate) use self::elsewhere::do_job;
use self::query::SearchQuery;
use self::row_groups::Scan;
use crate::answer::SearchAnswer;
use crate::engine::Engine;
use crate::engine::budget::{Budget, Held};
use crate::engine::candidates::candidates;
use crate::engine::matcher::{DecidedMasks, HitSet};
use crate::engine::scan::{OpenGroup, Rows};
use crate::engine::sources::QuerySources;
use crate::engine::sources::whole::Parts;
use crate::error::Error;
use crate::lock::locked;
use crate::request::{SearchFilter, SearchRequest};

/// Sources whose indexes are asked together, which takes a round trip or two, and which are then looked at together: few at
/// first, for the newest are often all that is needed, and then more and more, for what is rare is looked for in all.
const FIRST_ASKED: usize = 4;
const ASKED_GROWTH: usize = 2;
const MOST_ASKED: usize = 64;

/// Stand for the sources before the range, and for split traces, among those that may still add matches.
const EARLIER: usize = usize::MAX;
const SPLIT: usize = usize::MAX - 1;

/// Spans of the newest row group that are looked at before its others.
const FIRST_PORTION_SPANS: usize = 16_384;

/// Answers a search over a consistent set of sources. `certain` is told what can be said before the end.
pub(crate) async fn search(
    engine: &Engine,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    request: &SearchRequest,
    certain: Option<&watch::Sender<SearchAnswer>>,
) -> Result<SearchAnswer, Error> {
    let query = Arc::new(SearchQuery::of(&request.filter)?);
    if query.matcher.is_never() || request.limit == 0 {
        return Ok(SearchAnswer::default());
    }
    let search = Search {
        sources: QuerySources::new(engine, budget.clone(), sources, request.range),
        query,
        filter: &request.filter,
        limit: request.limit,
        after: request.after.map(collect::place_of),
        spans_per_span_set: request.spans_per_span_set,
        certain,
        shown: Mutex::new(budget.hold(0)?),
        split_parts: OnceCell::new(),
        earlier_parts: OnceCell::new(),
    };
    let split = search.split_traces().await?;
    // Other parts of a match may begin earlier and so move it down the answer; then more matches are needed.
    let mut keep = request.limit.saturating_add(request.limit / 4 + 4);
    loop {
        let hits = search.find(keep, &split).await?;
        if let Some(traces) = search.complete(hits).await? {
            return Ok(SearchAnswer { traces, metrics: search.sources.budget.spent(), lack: None });
        }
        keep = keep.saturating_mul(2);
    }
}

/// One search, while it runs.
struct Search<'a> {
    sources: QuerySources<'a>,
    query: Arc<SearchQuery>,
    /// What the query was compiled from.
    filter: &'a SearchFilter,
    limit: usize,
    /// Only traces whose place comes after this one are looked for.
    after: Option<Place>,
    spans_per_span_set: usize,
    /// What of the answer is certain and told; never more than `limit` traces.
    certain: Option<&'a watch::Sender<SearchAnswer>>,
    /// The memory of the entries that are ready.
    shown: Mutex<Held>,
    /// Where the parts of traces lie that are evaluated as a whole from the start; see [`split_traces`](Self::split_traces).
    split_parts: OnceCell<Parts>,
    /// The same of traces of which a part ended before the range, once [`find_earlier`](Self::find_earlier) has asked.
    earlier_parts: OnceCell<Parts>,
}

impl Search<'_> {
    /// The newest traces that match, up to `keep`. Traces in `split` are evaluated as a whole.
    async fn find(&self, keep: usize, split: &HashSet<TraceId>) -> Result<Hits, Error> {
        self.sources.budget.begin_again();
        let ends = self.sources.in_range().map(|(number, source)| (number, source.time_range().end_nanos));
        let ends = ends.chain(self.may_begin_earlier().then_some((EARLIER, self.sources.range.start_nanos)));
        let places = self.split_places(split, self.split_parts.get());
        let newest_split = places.first().map(|(Reverse(start_nanos), _)| (SPLIT, *start_nanos));
        let hits = Mutex::new(Hits::new(keep, ends.chain(newest_split), self.sources.budget.hold(0)?));
        let finding = async {
            let sources: Vec<_> = self.sources.in_range().collect();
            let newest_here = self.sources.engine.spread.newest_here().min(sources.len());
            let (mut rest, mut asked, mut places) = (sources.as_slice(), FIRST_ASKED, places.as_slice());
            let mut is_here = newest_here > 0;
            while !rest.is_empty() {
                let (together, later) = rest.split_at(if is_here { newest_here } else { asked.min(rest.len()) });
                let later_end_nanos = later.first().map_or(0, |(_, source)| source.time_range().end_nanos);
                if is_here || self.sources.engine.spread.is_alone() {
                    places = self.find_here(together, later_end_nanos, places, split, &hits).await?;
                } else {
                    self.find_anywhere(together, split, &hits).await?;
                    places = self.find_split_from(later_end_nanos, places, &hits).await?;
                }
                is_here = false;
                (rest, asked) = (later, (asked * ASKED_GROWTH).min(MOST_ASKED));
            }
            self.find_split_from(0, places, &hits).await?;
            self.find_earlier(&hits).await?;
            locked(&hits).done_with(EARLIER);
            Ok(())
        };
        self.while_telling(&hits, finding).await?;
        Ok(hits.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the matches of some sources, whose indexes are asked together, and of the split traces at `places` that start
    /// before what is left. Returns the places of the others.
    async fn find_here<'p>(
        &self,
        sources: &[(usize, &Arc<dyn Source>)],
        later_end_nanos: u64,
        mut places: &'p [Place],
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<&'p [Place], Error> {
        let mut groups = self.row_groups(sources, split, hits).await?;
        while groups.find_next().await? {
            let open_from_nanos = groups.end_nanos().unwrap_or(0).max(later_end_nanos);
            places = self.find_split_from(open_from_nanos, places, hits).await?;
        }
        Ok(places)
    }

    /// Adds the matches of one row group. `is_first`: those of its newest traces are looked at before the others.
    async fn scan_group(&self, scan: &Scan<'_>, group: usize, is_first: bool) -> Result<(), Error> {
        let _turn = self.sources.turn().await?;
        let group = scan.source.group(group).await?;
        let (decided, traces) = self.candidates(scan, &group).await?;
        self.sources.budget.count_traces(traces.len());
        if self.query.matcher.decides_whole_traces() {
            return self.add_whole(scan, &group, &traces);
        }
        let few = if is_first { first_portion(&traces, group.traces()?) } else { 0 };
        let (first, others) = traces.split_at(few);
        for portion in [first, others] {
            self.scan_traces(scan, &group, &decided, portion.to_vec()).await?;
        }
        Ok(())
    }

    /// Adds the matches among split traces that start then or later. Returns the others.
    async fn find_split_from<'p>(
        &self,
        start_nanos: u64,
        places: &'p [Place],
        hits: &Mutex<Hits>,
    ) -> Result<&'p [Place], Error> {
        let (now, later) = places.split_at(places.partition_point(|(Reverse(start), _)| *start >= start_nanos));
        self.find_split(now, self.split_parts.get(), hits).await?;
        match later.first() {
            Some((Reverse(start), _)) => locked(hits).read_to(SPLIT, *start),
            None => locked(hits).done_with(SPLIT),
        }
        Ok(later)
    }

    /// Whether a trace at this place is on this page or a later one.
    fn is_asked(&self, place: &Place) -> bool {
        self.after.is_none_or(|after| *place > after)
    }

    /// Traces of a row group that may match and may still enter the answer, ascending.
    async fn candidates(&self, scan: &Scan<'_>, group: &OpenGroup) -> Result<(Arc<DecidedMasks>, Vec<usize>), Error> {
        let (_, earliest_nanos) = locked(scan.hits).needed();
        let candidates = candidates(group, &self.query.matcher, &scan.pruned, &self.sources.range, earliest_nanos);
        let (decided, mut candidates) = self.sources.run_sized(group.effort_of_traces(), candidates).await??;
        let (traces, hits) = (group.traces()?, locked(scan.hits));
        candidates.retain(|&trace| {
            hits.could_keep(traces.start_nanos(trace))
                && self.is_asked(&(Reverse(traces.start_nanos(trace)), traces.id(trace)))
                && (scan.split.is_empty() || !scan.split.contains(&traces.id(trace)))
        });
        Ok((decided, candidates))
    }

    /// Adds traces of which every span matches.
    fn add_whole(&self, scan: &Scan<'_>, group: &OpenGroup, traces: &[usize]) -> Result<(), Error> {
        let (view, mut hits) = (group.traces()?, locked(scan.hits));
        for &trace in traces {
            if !hits.could_keep(view.start_nanos(trace)) {
                continue;
            }
            let rows = view.span_rows(trace);
            hits.add(Hit {
                start_nanos: view.start_nanos(trace),
                trace_id: view.id(trace),
                part: scan.part(&view, group, trace),
                sets: vec![HitSet {
                    matched: rows.len() as u32,
                    rows: rows.take(self.spans_per_span_set).collect(),
                    attributes: Vec::new(),
                }],
                shown: None,
            })?;
        }
        Ok(())
    }

    /// Reads the filter's columns of some traces, and adds those that match.
    async fn scan_traces(
        &self,
        scan: &Scan<'_>,
        group: &OpenGroup,
        decided: &Arc<DecidedMasks>,
        mut wanted: Vec<usize>,
    ) -> Result<(), Error> {
        let keep = |wanted: &mut Vec<usize>| {
            let (traces, hits) = (group.traces()?, locked(scan.hits));
            wanted.retain(|&trace| hits.could_keep(traces.start_nanos(trace)));
            Ok(())
        };
        let matcher = &self.query.matcher;
        let Some(fetched) = self.sources.fetch_candidates(matcher, decided, group, &mut wanted, keep).await? else {
            return Ok(());
        };
        let (query, decided, most) = (self.query.clone(), decided.clone(), self.spans_per_span_set);
        let at = (scan.number, group.number);
        let found = move |rows: Rows| {
            let runs = rows.runs(&wanted)?;
            collect::matches(&query.matcher, &rows.table, &runs, &decided, at, most)
        };
        let found: Vec<Hit> = self.sources.run_on(fetched, found).await?;
        let mut hits = locked(scan.hits);
        found.into_iter().try_for_each(|hit| hits.add(hit))
    }
}

/// How many of the candidates in a row group are looked at before the others: it has its newest traces first, so a few of
/// them often make the others needless.
fn first_portion(traces: &[usize], view: Traces<'_>) -> usize {
    let mut spans = 0;
    let is_room = |&&trace: &&usize| {
        let is_room = spans < FIRST_PORTION_SPANS;
        spans += view.span_rows(trace).len();
        is_room
    };
    traces.iter().take_while(is_room).count()
}

#[cfg(test)]
mod tests;
