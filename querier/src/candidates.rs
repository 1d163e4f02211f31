//! Which traces of a row group are looked at: what the index and the small tables leave.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use model::TimeRange;

use crate::error::Error;
use crate::finder::{Decided, Finder};
use crate::prune::Pruned;
use crate::scan::OpenGroup;

/// What the small tables of a row group say of a query, and its traces that may match and overlap the range, ascending:
/// work for the pool.
pub(crate) fn candidates(
    group: &OpenGroup,
    finder: &Arc<Finder>,
    pruned: &Pruned,
    range: &TimeRange,
) -> impl FnOnce() -> Result<(Arc<Decided>, Vec<usize>), Error> + Send + 'static {
    let possible = pruned.traces_of(finder, &group.row_group().traces);
    let (group, finder, range) = (group.clone(), finder.clone(), *range);
    move || {
        let decided = finder.on_dimensions(&group.small_tables())?;
        let traces = left(&group, &decided, possible.as_ref(), &range)?;
        Ok((Arc::new(decided), traces))
    }
}

fn left(
    group: &OpenGroup,
    decided: &Decided,
    possible: Option<&BooleanBuffer>,
    range: &TimeRange,
) -> Result<Vec<usize>, Error> {
    if decided.is_never() {
        return Ok(Vec::new());
    }
    let traces = group.traces()?;
    let is_candidate = |&trace: &usize| {
        possible.is_none_or(|mask| mask.value(trace))
            && decided.traces().is_none_or(|mask| mask.value(trace))
            && traces.time_range(trace).overlaps(range)
    };
    Ok((0..traces.len()).filter(is_candidate).collect())
}
