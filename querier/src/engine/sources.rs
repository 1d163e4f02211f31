//! The sources that one query reads, and what reading them has cost.
//!
//! Which traces lie in several of them is in `split.rs`, how their parts are found and put together in `whole.rs`. What is
//! looked for in them is the affair of each question.

pub(crate) mod split;
pub(crate) mod whole;

use std::sync::Arc;

use hashbrown::HashSet;
use model::{BlockId, TimeRange, TraceId};
use storage::cpu::Effort;
use storage::source::Source;
use tokio::sync::OnceCell;

use self::split::SplitTraces;
use crate::engine::budget::{Budget, Held};
use crate::engine::candidates::candidates;
use crate::engine::matcher::{DecidedMasks, Matcher};
use crate::engine::prune::Pruned;
use crate::engine::scan::{FetchedRows, OpenGroup, Rows};
use crate::engine::split_cache::SplitAtRest;
use crate::engine::turns::Turn;
use crate::engine::{Engine, plan, prune};
use crate::error::Error;

/// A source with its number among those of the query.
pub(crate) type NumberedSource = (usize, Arc<dyn Source>);

/// Sources of a query, while it runs.
pub(crate) struct QuerySources<'a> {
    pub engine: &'a Engine,
    /// Newest first. Sources are known by their number here.
    pub all: Vec<Arc<dyn Source>>,
    /// Place of each source in the order in which their spans arrived.
    arrival: Vec<usize>,
    /// What the query asks about.
    pub range: TimeRange,
    pub budget: Arc<Budget>,
    /// Found once for the query, also where there is no room to keep it for others.
    split_at_rest: OnceCell<HeldAtRest>,
}

/// What is known of split traces at rest, and the memory that it takes.
struct HeldAtRest {
    /// Blocks that were looked through, ascending.
    blocks: Arc<[BlockId]>,
    found: Arc<SplitAtRest>,
    _held: Held,
}

impl HeldAtRest {
    fn covers(&self, block: &BlockId) -> bool {
        self.blocks.binary_search(block).is_ok()
    }
}

impl<'a> QuerySources<'a> {
    pub fn new(engine: &'a Engine, budget: Arc<Budget>, sources: Vec<Arc<dyn Source>>, range: TimeRange) -> Self {
        let (arrival, sources): (Vec<_>, Vec<_>) = plan::newest_first_with_arrival(sources).into_iter().unzip();
        budget.plan(plan::metrics(&sources, &range));
        Self { engine, all: sources, arrival, range, budget, split_at_rest: OnceCell::new() }
    }

    /// The sources with spans in the range, by number.
    pub fn in_range(&self) -> impl Iterator<Item = (usize, &Arc<dyn Source>)> {
        self.all.iter().enumerate().filter(|(_, source)| source.time_range().overlaps(&self.range))
    }

    /// The sources that may have parts of traces of which a part lies in `range`.
    pub fn near(&self, range: &TimeRange) -> Vec<NumberedSource> {
        self.numbers_near(range).map(|number| (number, self.all[number].clone())).collect()
    }

    fn numbers_near(&self, range: &TimeRange) -> impl Iterator<Item = usize> {
        let range = range.widened(self.engine.config.trace_reach_nanos());
        (0..self.all.len()).filter(move |&number| self.all[number].time_range().overlaps(&range))
    }

    /// Whether sources may have parts of traces before the range.
    pub fn begins_before_range(&self) -> bool {
        let mut starts = self.numbers_near(&self.range).map(|number| self.all[number].time_range().start_nanos);
        starts.any(|start_nanos| start_nanos < self.range.start_nanos)
    }

    /// Does CPU-bound work for the query, which ends soon after nobody waits for it any more.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.run_sized(Effort::Much, work).await
    }

    /// The same, at once where it is little.
    pub async fn run_sized<T: Send + 'static>(
        &self,
        effort: Effort,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let cancellation = self.budget.cancellation.clone();
        Ok(self.engine.cpu.run_sized(effort, &self.budget.cpu_time, move || cancellation.during(work)).await?)
    }

    /// The same with spans that were fetched, which are decoded before.
    pub async fn run_on<T: Send + 'static>(
        &self,
        fetched: FetchedRows,
        work: impl FnOnce(Rows) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (effort, budget) = (fetched.effort(), self.budget.clone());
        self.run_sized(effort, move || work(fetched.decode(&budget)?)).await?
    }

    /// See [`Budget::turn`].
    pub async fn turn(&self) -> Result<Turn, Error> {
        self.budget.turn().await
    }

    /// What the small tables of a row group say of a query, and its traces that may match and lie in no other source; counts
    /// these.
    pub async fn candidates(
        &self,
        group: &OpenGroup,
        matcher: &Arc<Matcher>,
        pruned: &Pruned,
        split: &HashSet<TraceId>,
    ) -> Result<(Arc<DecidedMasks>, Vec<usize>), Error> {
        let candidates = candidates(group, matcher, pruned, &self.range, 0);
        let (decided, mut wanted) = self.run_sized(group.effort_of_traces(), candidates).await??;
        if !split.is_empty() {
            let traces = group.traces()?;
            wanted.retain(|&trace| !split.contains(&traces.id(trace)));
        }
        self.budget.count_traces(wanted.len());
        Ok((decided, wanted))
    }

    /// Fetches what the finder needs of some traces of a row group: where it pays, first the columns of its filters and then
    /// the others for traces that may match. `keep` takes traces out before each read. `None` when no trace is left.
    pub async fn fetch_candidates(
        &self,
        matcher: &Arc<Matcher>,
        decided: &Arc<DecidedMasks>,
        group: &OpenGroup,
        wanted: &mut Vec<usize>,
        keep: impl Fn(&mut Vec<usize>) -> Result<(), Error>,
    ) -> Result<Option<FetchedRows>, Error> {
        keep(wanted)?;
        let first_columns = matcher.first_projection().filter(|_| !wanted.is_empty());
        if let Some(columns) = &first_columns {
            let fetched = group.fetch(wanted, columns).await?;
            let (matcher, decided, traces) = (matcher.clone(), decided.clone(), wanted.clone());
            let narrow = move |rows: Rows| {
                let runs = rows.runs(&traces)?;
                let candidates = matcher.narrow(&rows.table, &runs, &decided)?;
                Ok(candidates.into_iter().map(|run| runs[run].trace).collect())
            };
            *wanted = self.run_on(fetched, narrow).await?;
            keep(wanted)?;
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let fetched = group.fetch(wanted, &matcher.projection()).await?;
        Ok(Some(if first_columns.is_some() { fetched.of_known_spans() } else { fetched }))
    }

    /// Traces near the range of which several sources have parts; none when the finder finds nothing anywhere.
    pub async fn split_traces(&self, matcher: &Matcher) -> Result<SplitTraces, Error> {
        let sources = self.near(&self.range);
        if sources.len() < 2 || prune::is_nowhere(&sources, matcher, self.engine.config.max_concurrent_reads).await? {
            return Ok(SplitTraces::default());
        }
        self.all_split_traces().await
    }
}
