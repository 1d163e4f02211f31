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
mod query;
mod render;
mod whole;

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use hashbrown::HashSet;
use model::{TimeRange, TraceId};
use spans::Traces;
use storage::source::Source;
use tokio::sync::{OnceCell, watch};

use self::collect::{Hit, Hits, Place};
use self::query::SearchQuery;
pub(crate) use self::render::Shown;
use crate::answer::SearchAnswer;
use crate::budget::{Budget, Held};
use crate::candidates::candidates;
use crate::concurrent::try_all;
use crate::error::Error;
use crate::finder::{Decided, HitSet};
use crate::prune::Pruned;
use crate::querier::{Inner, locked};
use crate::reading::{Parts, Reading};
use crate::request::SearchRequest;
use crate::scan::{GroupTraces, Opened};

/// Sources that are looked at together. The newest come first, and often make the others needless.
const SOURCES_AT_ONCE: usize = 4;

/// Stands for the sources before the range among those that may still add matches.
const EARLIER: usize = usize::MAX;

/// Spans of a source that are looked at first. Portions grow, so that few are needed when few spans match.
const FIRST_PORTION_SPANS: usize = 16_384;
const PORTION_GROWTH: usize = 4;

/// Answers a search over a consistent set of sources. `certain` is told what can be said before the end.
pub(crate) async fn search(
    inner: &Inner,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    request: &SearchRequest,
    certain: Option<&watch::Sender<SearchAnswer>>,
) -> Result<SearchAnswer, Error> {
    let query = Arc::new(SearchQuery::of(&request.filter)?);
    if query.finder.is_never() || request.limit == 0 {
        return Ok(SearchAnswer::default());
    }
    let search = Search {
        reading: Reading::new(inner, budget.clone(), sources, request.range),
        query,
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
            return Ok(SearchAnswer { traces, metrics: search.reading.budget.spent() });
        }
        keep = keep.saturating_mul(2);
    }
}

/// One search, while it runs.
struct Search<'a> {
    reading: Reading<'a>,
    query: Arc<SearchQuery>,
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
        self.reading.budget.begin_again();
        let ends = self.reading.in_range().map(|(number, source)| (number, source.time_range().end_nanos));
        let ends = ends.chain(self.may_begin_earlier().then_some((EARLIER, self.reading.range.start_nanos)));
        let hits = Mutex::new(Hits::new(keep, ends, self.reading.budget.hold(0)?));
        let finding = async {
            self.find_split(split, &hits).await?;
            let find_in = |(number, source)| self.find_in(number, source, split, &hits).boxed();
            try_all(SOURCES_AT_ONCE, self.reading.in_range().map(find_in).collect()).await?;
            self.find_earlier(&hits).await?;
            locked(&hits).done_with(EARLIER);
            Ok(())
        };
        self.while_telling(&hits, finding).await?;
        Ok(hits.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the matches of one source. A damaged source is left out.
    async fn find_in(
        &self,
        number: usize,
        source: &Arc<dyn Source>,
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        // every trace of the source starts within the source's range
        let TimeRange { start_nanos, end_nanos } = source.time_range();
        let is_past = self.after.is_some_and(|(Reverse(after), _)| start_nanos > after);
        if !is_past && locked(hits).could_keep(end_nanos) {
            let scan = self.scan(number, source, split, hits);
            if self.reading.budget.if_readable(source.block_id(), scan).await?.is_some() {
                self.reading.budget.count_source();
            }
        } else {
            self.reading.budget.count_source();
        }
        locked(hits).done_with(number);
        Ok(())
    }

    async fn scan(
        &self,
        number: usize,
        source: &Arc<dyn Source>,
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let pruned = Pruned::ask(source.as_ref(), &self.query.finder.conditions()).await?;
        if pruned.leaves_nothing(&self.query.finder) {
            return Ok(());
        }
        self.scan_opened(number, Opened::open(source.clone()).await?, &pruned, split, hits).await
    }

    async fn scan_opened(
        &self,
        number: usize,
        opened: Opened,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let query = self.query.clone();
        let small_tables = opened.small_tables();
        let decided = self.reading.inner.cpu.run(move || query.finder.on_dimensions(&small_tables)).await??;
        let decided = Arc::new(decided);
        let traces = self.candidates(&opened, &decided, pruned, split, hits)?;
        self.reading.budget.count_traces(traces.len());
        if self.query.finder.decides_whole_traces() {
            self.add_whole(number, &opened, &traces, hits)?;
        } else {
            let (budget, block_id) = (&self.reading.budget, opened.source.block_id());
            let scan_group =
                |group| budget.if_readable(block_id, self.scan_group(number, &opened, &decided, group, hits)).boxed();
            for portion in portions(opened.by_group(traces)?, opened.traces()?) {
                let groups = portion.into_iter().map(scan_group).collect();
                try_all(self.reading.inner.config.max_concurrent_reads, groups).await?;
            }
        }
        Ok(())
    }

    /// Whether a trace at this place is on this page or a later one.
    fn is_asked(&self, place: &Place) -> bool {
        self.after.is_none_or(|after| *place > after)
    }

    /// Traces of a source that may match and may still enter the answer, ascending.
    fn candidates(
        &self,
        opened: &Opened,
        decided: &Decided,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
        hits: &Mutex<Hits>,
    ) -> Result<Vec<usize>, Error> {
        let mut candidates = candidates(opened, &self.query.finder, decided, pruned, &self.reading.range)?;
        let (traces, hits) = (opened.traces()?, locked(hits));
        candidates.retain(|&trace| {
            hits.could_keep(traces.start_nanos(trace))
                && self.is_asked(&(Reverse(traces.start_nanos(trace)), traces.id(trace)))
                && (split.is_empty() || !split.contains(&traces.id(trace)))
        });
        Ok(candidates)
    }

    /// Adds traces of which every span matches.
    fn add_whole(&self, number: usize, opened: &Opened, traces: &[usize], hits: &Mutex<Hits>) -> Result<(), Error> {
        let (view, mut hits) = (opened.traces()?, locked(hits));
        for &trace in traces {
            if !hits.could_keep(view.start_nanos(trace)) {
                continue;
            }
            let rows = view.span_rows(trace);
            hits.add(Hit {
                start_nanos: view.start_nanos(trace),
                trace_id: view.id(trace),
                source: number,
                trace,
                sets: vec![HitSet {
                    matched: rows.len() as u32,
                    rows: rows.take(self.spans_per_span_set).collect(),
                    attributes: Vec::new(),
                }],
            })?;
        }
        Ok(())
    }

    /// Reads the filter's columns of some traces, and adds those that match.
    async fn scan_group(
        &self,
        number: usize,
        opened: &Opened,
        decided: &Arc<Decided>,
        mut wanted: GroupTraces,
        hits: &Mutex<Hits>,
    ) -> Result<(), Error> {
        let _turn = self.reading.turn().await?;
        let keep = |wanted: &mut GroupTraces| retain_keepable(wanted, opened, hits);
        let finder = &self.query.finder;
        let Some(rows) = self.reading.read_candidates(finder, decided, opened, &mut wanted, keep).await? else {
            return Ok(());
        };
        let (query, decided, most) = (self.query.clone(), decided.clone(), self.spans_per_span_set);
        let found = move || {
            let runs = rows.runs(&wanted.traces)?;
            collect::matches(&query.finder, &rows.table, &runs, &decided, number, most)
        };
        let found: Vec<Hit> = self.reading.inner.cpu.run(found).await??;
        let mut hits = locked(hits);
        found.into_iter().try_for_each(|hit| hits.add(hit))
    }
}

/// Candidates of a source in portions, of which each is looked at when it is known what the one before has given: a block
/// has its newest traces first, so a few of them often make the others needless. The first is a part of a row group, the
/// others are whole ones.
fn portions(mut groups: Vec<GroupTraces>, view: Traces<'_>) -> Vec<Vec<GroupTraces>> {
    let mut portions = Vec::new();
    if let Some(first) = groups.first_mut() {
        let mut spans = 0;
        let few = first.traces.iter().take_while(|&&trace| {
            let is_room = spans < FIRST_PORTION_SPANS;
            spans += view.span_rows(trace).len();
            is_room
        });
        let others = first.traces.split_off(few.count());
        let rest_of_group = GroupTraces { group: first.group, traces: others };
        portions.push(vec![std::mem::replace(first, rest_of_group)]);
    }
    groups.retain(|group| !group.traces.is_empty());
    let mut groups = groups.into_iter().peekable();
    let mut most = 1;
    while groups.peek().is_some() {
        portions.push(groups.by_ref().take(most).collect());
        most *= PORTION_GROWTH;
    }
    portions
}

/// Leaves out traces that are too old to enter the answer.
fn retain_keepable(wanted: &mut GroupTraces, opened: &Opened, hits: &Mutex<Hits>) -> Result<(), Error> {
    let (traces, hits) = (opened.traces()?, locked(hits));
    wanted.traces.retain(|&trace| hits.could_keep(traces.start_nanos(trace)));
    Ok(())
}

#[cfg(test)]
mod tests;
