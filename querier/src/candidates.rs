//! Which traces of an opened source a query must look at: what is left by index, small tables and time.

use model::TimeRange;

use crate::error::Error;
use crate::finder::{Decided, Finder};
use crate::prune::Pruned;
use crate::scan::Opened;

/// Traces that overlap the range and may have something that the finder finds: rows of `traces`, ascending.
pub(crate) fn candidates(
    opened: &Opened,
    finder: &Finder,
    decided: &Decided,
    pruned: &Pruned,
    range: &TimeRange,
) -> Result<Vec<usize>, Error> {
    if decided.is_never() {
        return Ok(Vec::new());
    }
    let traces = opened.traces()?;
    let possible = pruned.traces_of(finder, traces.len());
    let is_candidate = |&trace: &usize| {
        possible.as_ref().is_none_or(|mask| mask.value(trace))
            && decided.traces().is_none_or(|mask| mask.value(trace))
            && traces.time_range(trace).overlaps(range)
    };
    Ok((0..traces.len()).filter(is_candidate).collect())
}
