//! Which traces of a row group are looked at: what the index and the small tables leave.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use model::TimeRange;

use crate::engine::matcher::{DecidedMasks, Matcher};
use crate::engine::prune::Pruned;
use crate::engine::scan::OpenGroup;
use crate::error::Error;

/// What the small tables of a row group say of a query, and its traces that may match, overlap the range and start at
/// `earliest_nanos` or later, ascending: work for the pool.
pub(crate) fn candidates(
    group: &OpenGroup,
    matcher: &Arc<Matcher>,
    pruned: &Pruned,
    range: &TimeRange,
    earliest_nanos: u64,
) -> impl FnOnce() -> Result<(Arc<DecidedMasks>, Vec<usize>), Error> + Send + 'static {
    let possible = pruned.traces_of(matcher, &group.row_group().traces);
    let (group, matcher, range) = (group.clone(), matcher.clone(), *range);
    move || {
        let decided = matcher.on_dimensions(&group.small_tables())?;
        let traces = left(&group, &decided, possible.as_ref(), &range, earliest_nanos)?;
        Ok((Arc::new(decided), traces))
    }
}

fn left(
    group: &OpenGroup,
    decided: &DecidedMasks,
    possible: Option<&BooleanBuffer>,
    range: &TimeRange,
    earliest_nanos: u64,
) -> Result<Vec<usize>, Error> {
    if decided.is_never() {
        return Ok(Vec::new());
    }
    let (traces, deleted) = (group.traces()?, group.source.source.deleted_traces());
    let is_candidate = |&trace: &usize| {
        possible.is_none_or(|mask| mask.value(trace))
            && decided.traces().is_none_or(|mask| mask.value(trace))
            && traces.time_range(trace).overlaps(range)
            && deleted.is_none_or(|deleted| !deleted.contains(&traces.id(trace)))
    };
    let starting = traces.rows_starting_in(&TimeRange::new(earliest_nanos, range.end_nanos));
    Ok(starting.filter(is_candidate).collect())
}
