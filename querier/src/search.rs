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
mod whole;

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use hashbrown::HashSet;
use model::{TimeRange, TraceId};
use spans::Traces;
use storage::source::{Source, TraceAt};
use tokio::sync::{OnceCell, watch};

use self::collect::{Hit, Hits, Place};
pub(crate) use self::elsewhere::do_job;
use self::query::SearchQuery;
use crate::answer::SearchAnswer;
use crate::engine::Engine;
use crate::engine::budget::{Budget, Held};
use crate::engine::candidates::candidates;
use crate::engine::concurrent::try_all;
use crate::engine::matcher::{DecidedMasks, HitSet};
use crate::engine::parts::PartAt;
use crate::engine::prune::Pruned;
use crate::engine::scan::{OpenGroup, OpenSource};
use crate::engine::sources::{Parts, QuerySources};
use crate::error::Error;
use crate::lock::locked;
use crate::request::{SearchFilter, SearchRequest};

/// Sources that are looked at together. The newest come first, and often make the others needless.
const SOURCES_AT_ONCE: usize = 4;
/// Sources whose indexes are asked together, which takes a round trip or two: few at first, for the newest are often all
/// that is needed, and then more and more, for what is rare is looked for in all.
const FIRST_ASKED: usize = SOURCES_AT_ONCE;
const ASKED_GROWTH: usize = 2;
const MOST_ASKED: usize = 64;

/// Stands for the sources before the range among those that may still add matches.
const EARLIER: usize = usize::MAX;

/// Spans of a source that are looked at first. Portions grow, so that few are needed when few spans match.
const FIRST_PORTION_SPANS: usize = 16_384;
const PORTION_GROWTH: usize = 4;

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
    /// See [`parts_of_split`](Self::parts_of_split).
    split_parts: OnceCell<Parts>,
}

impl Search<'_> {
    /// The newest traces that match, up to `keep`. Traces in `split` are evaluated as a whole.
    async fn find(&self, keep: usize, split: &HashSet<TraceId>) -> Result<Hits, Error> {
        self.sources.budget.begin_again();
        let ends = self.sources.in_range().map(|(number, source)| (number, source.time_range().end_nanos));
        let ends = ends.chain(self.may_begin_earlier().then_some((EARLIER, self.sources.range.start_nanos)));
        let hits = Mutex::new(Hits::new(keep, ends, self.sources.budget.hold(0)?));
        let finding = async {
            self.find_split(split, &hits).await?;
            let sources: Vec<_> = self.sources.in_range().collect();
            let newest_here = self.sources.engine.jobs.newest_here().min(sources.len());
            let (newest, mut rest) = sources.split_at(newest_here);
            if !newest.is_empty() {
                self.find_in_sources(newest, split, &hits).await?;
            }
            let mut asked = if newest_here == 0 { FIRST_ASKED } else { FIRST_ASKED * ASKED_GROWTH };
            while !rest.is_empty() {
                let (together, later) = rest.split_at(asked.min(rest.len()));
                self.find_anywhere(together, split, &hits).await?;
                (rest, asked) = (later, (asked * ASKED_GROWTH).min(MOST_ASKED));
            }
            self.find_earlier(&hits).await?;
            locked(&hits).done_with(EARLIER);
            Ok(())
        };
        self.while_telling(&hits, finding).await?;
        Ok(hits.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the matches of some sources, whose indexes are asked together.
    async fn find_in_sources(
        &self,
        sources: &[(usize, &Arc<dyn Source>)],
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let ask = |(_, source): &(usize, &Arc<dyn Source>)| self.ask((*source).clone(), hits).boxed();
        let asked = try_all(sources.len(), sources.iter().map(ask).collect()).await?;
        let find_in = |(&(number, source), asked)| self.find_in(number, source, asked, split, hits).boxed();
        try_all(SOURCES_AT_ONCE, sources.iter().zip(asked).map(find_in).collect()).await?;
        Ok(())
    }

    async fn ask(&self, source: Arc<dyn Source>, hits: &Mutex<Hits>) -> Result<Asked, Error> {
        if !self.may_add(source.as_ref(), hits) {
            return Ok(Asked::Nothing);
        }
        let conditions = self.query.matcher.conditions();
        let ask = Pruned::ask(source.as_ref(), &conditions);
        Ok(match self.sources.budget.if_readable(source.block_id(), ask).await? {
            None => Asked::Damaged,
            Some(pruned) if pruned.leaves_nothing(&self.query.matcher) => Asked::Nothing,
            Some(pruned) => Asked::Left(pruned),
        })
    }

    /// Whether a source may have matches that are kept: every trace of it starts within its range.
    fn may_add(&self, source: &dyn Source, hits: &Mutex<Hits>) -> bool {
        let TimeRange { start_nanos, end_nanos } = source.time_range();
        let is_past = self.after.is_some_and(|(Reverse(after), _)| start_nanos > after);
        !is_past && locked(hits).could_keep(end_nanos)
    }

    /// Adds the matches of one source. A damaged source is left out.
    async fn find_in(
        &self,
        number: usize,
        source: &Arc<dyn Source>,
        asked: Asked,
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let budget = &self.sources.budget;
        let is_read = match asked {
            Asked::Left(pruned) if self.may_add(source.as_ref(), hits) => {
                let scan = self.scan(number, source, &pruned, split, hits);
                budget.if_readable(source.block_id(), scan).await?.is_some()
            }
            Asked::Left(_) | Asked::Nothing => true,
            Asked::Damaged => false,
        };
        if is_read {
            budget.count_source();
        }
        locked(hits).done_with(number);
        Ok(())
    }

    async fn scan(
        &self,
        number: usize,
        source: &Arc<dyn Source>,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let source = OpenSource::open(source.clone()).await?;
        let mut groups = source.newest_groups(&self.sources.range);
        groups.retain(|&group| !pruned.leaves_nothing_of(&self.query.matcher, &source.row_group(group).traces));
        let scan = &Scan { number, source: &source, pruned, split, hits };
        let (mut groups, mut most) = (groups.as_slice(), 1);
        while !groups.is_empty() {
            let (portion, rest) = groups.split_at(most.min(groups.len()));
            let work = portion.iter().map(|&group| self.scan_group(scan, group, most == 1).boxed());
            try_all(self.sources.engine.config.max_concurrent_reads, work.collect()).await?;
            (groups, most) = (rest, most * PORTION_GROWTH);
        }
        Ok(())
    }

    /// Adds the matches of one row group. `is_first`: the newest of its source, which alone may make the others needless.
    async fn scan_group(&self, scan: &Scan<'_>, group: usize, is_first: bool) -> Result<(), Error> {
        if !locked(scan.hits).could_keep(scan.source.row_group(group).time_range.end_nanos) {
            return Ok(());
        }
        let scanned = self.scan_readable(scan, group, is_first);
        self.sources.budget.if_readable(scan.source.source.block_id(), scanned).await?;
        Ok(())
    }

    async fn scan_readable(&self, scan: &Scan<'_>, group: usize, is_first: bool) -> Result<(), Error> {
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

    /// Whether a trace at this place is on this page or a later one.
    fn is_asked(&self, place: &Place) -> bool {
        self.after.is_none_or(|after| *place > after)
    }

    /// Traces of a row group that may match and may still enter the answer, ascending.
    async fn candidates(&self, scan: &Scan<'_>, group: &OpenGroup) -> Result<(Arc<DecidedMasks>, Vec<usize>), Error> {
        let candidates = candidates(group, &self.query.matcher, scan.pruned, &self.sources.range);
        let (decided, mut candidates) = self.sources.run(candidates).await??;
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
                part: scan.part(group, trace),
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
        let _turn = self.sources.turn().await?;
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
        let (part, budget) = (scan.part(group, 0), self.sources.budget.clone());
        let found = move || {
            let rows = fetched.decode(&budget)?;
            let runs = rows.runs(&wanted)?;
            collect::matches(&query.matcher, &rows.table, &runs, &decided, part, most)
        };
        let found: Vec<Hit> = self.sources.run(found).await??;
        let mut hits = locked(scan.hits);
        found.into_iter().try_for_each(|hit| hits.add(hit))
    }
}

/// What the index of a source says of a search.
enum Asked {
    /// It has nothing for the answer.
    Nothing,
    Damaged,
    Left(Pruned),
}

/// One source of a search, while it is looked at.
struct Scan<'a> {
    /// Number of the source.
    number: usize,
    source: &'a OpenSource,
    pruned: &'a Pruned,
    split: &'a HashSet<TraceId>,
    hits: &'a Mutex<Hits>,
}

impl Scan<'_> {
    fn part(&self, group: &OpenGroup, trace: usize) -> PartAt {
        PartAt { source: self.number, at: TraceAt { group: group.number, trace } }
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
