//! Which traces of a row group are left to be looked at, once its small tables are open.

use model::TimeRange;

use crate::error::Error;
use crate::finder::{Decided, Finder};
use crate::prune::Pruned;
use crate::scan::OpenGroup;

/// Traces that overlap the range and may have something that the finder finds: rows of the group's `traces`, ascending.
pub(crate) fn candidates(
    group: &OpenGroup,
    finder: &Finder,
    decided: &Decided,
    pruned: &Pruned,
    range: &TimeRange,
) -> Result<Vec<usize>, Error> {
    if decided.is_never() {
        return Ok(Vec::new());
    }
    let traces = group.traces()?;
    let possible = pruned.traces_of(finder, &group.row_group().traces);
    let is_candidate = |&trace: &usize| {
        possible.as_ref().is_none_or(|mask| mask.value(trace))
            && decided.traces().is_none_or(|mask| mask.value(trace))
            && traces.time_range(trace).overlaps(range)
    };
    Ok((0..traces.len()).filter(is_candidate).collect())
}
