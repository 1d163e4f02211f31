//! What a source says of filters before it is opened: which traces may match.

use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use futures::FutureExt;
use model::TimeRange;
use storage::source::Source;
use traceql::{Condition, Conditions};

use crate::engine::concurrent::try_all;
use crate::engine::matcher::Matcher;
use crate::engine::scan::OpenSource;
use crate::error::Error;
use crate::eval::FieldUse;
use crate::mask;

/// For each filter the traces that may match, as far as the source can say.
#[derive(Debug)]
pub(crate) struct Pruned {
    of_filters: Vec<Option<Vec<Range<usize>>>>,
}

impl Pruned {
    /// Costs little: an indexed block reads a few KB, other sources nothing.
    pub async fn ask(source: &dyn Source, filters: &[Conditions]) -> Result<Self, Error> {
        if filters.iter().all(Conditions::is_empty) {
            return Ok(Self { of_filters: vec![None; filters.len()] });
        }
        Ok(Self { of_filters: source.may_match(filters).await? })
    }

    /// True if a finder, whose conditions were asked about, finds nothing in the source.
    pub fn leaves_nothing(&self, matcher: &Matcher) -> bool {
        is_none_left(matcher.possible(&|filter| self.anywhere(filter)).as_ref())
    }

    /// The traces of a part of the source that a finder may find; `None` for all.
    pub fn traces_of(&self, matcher: &Matcher, part: &Range<usize>) -> Option<BooleanBuffer> {
        matcher.possible(&|filter| self.traces(filter, part))
    }

    /// The row groups of the source in which a finder may find spans of a range, by number; those that end last come first.
    pub fn newest_groups(&self, source: &OpenSource, matcher: &Matcher, range: &TimeRange) -> Vec<usize> {
        let mut groups = source.newest_groups(range);
        groups.retain(|&group| {
            let group = source.row_group(group);
            matcher.may_find_in_traces_of(group.most_trace_spans)
                && !is_none_left(self.traces_of(matcher, &group.traces).as_ref())
        });
        groups
    }

    /// Whether a trace of the source may match a filter: one bit, or `None` for "perhaps".
    pub fn anywhere(&self, filter: usize) -> Option<BooleanBuffer> {
        let is_nowhere = self.of_filters[filter].as_ref()?.is_empty();
        Some(if is_nowhere { BooleanBuffer::new_unset(1) } else { BooleanBuffer::new_set(1) })
    }

    /// The traces of a part of the source that may match a filter; `None` for all.
    pub fn traces(&self, filter: usize, part: &Range<usize>) -> Option<BooleanBuffer> {
        let ranges = self.of_filters[filter].as_ref()?;
        let first = ranges.partition_point(|range| range.end <= part.start);
        let inside = ranges[first..].iter().take_while(|range| range.start < part.end);
        let from_start = |row: usize| row.saturating_sub(part.start);
        Some(mask::of_ranges(part.len(), inside.map(|range| from_start(range.start)..from_start(range.end))))
    }
}

/// Whether a finder finds nothing, wherever in the sources the spans of a trace lie.
pub(crate) async fn is_nowhere(
    sources: &[(usize, Arc<dyn Source>)],
    matcher: &Matcher,
    concurrency: usize,
) -> Result<bool, Error> {
    let conditions: Vec<Conditions> = matcher.conditions().iter().map(of_single_spans).collect();
    let ask = |(_, source): &(usize, Arc<dyn Source>)| {
        let (source, conditions) = (source.clone(), &conditions);
        let ask = async move {
            match Pruned::ask(source.as_ref(), conditions).await {
                Err(error) if error.is_of_one_source() => Ok(None), // it is named when it is opened
                result => result.map(Some),
            }
        };
        ask.boxed()
    };
    let pruned = try_all(concurrency, sources.iter().map(ask).collect()).await?;
    let anywhere = |filter: usize| {
        let of_sources = pruned.iter().flatten().map(|pruned| pruned.anywhere(filter));
        of_sources.reduce(|left, right| Some(&left? | &right?)).flatten()
    };
    Ok(is_none_left(matcher.possible(&anywhere).as_ref()))
}

/// The conditions that hold for a span whatever of its trace lies beside it.
fn of_single_spans(conditions: &Conditions) -> Conditions {
    let is_of_span = |condition: &Condition| !FieldUse::of([&condition.field]).needs_whole_traces();
    Conditions {
        all: conditions.all.iter().filter(|condition| is_of_span(condition)).cloned().collect(),
        any: conditions.any.iter().filter(|group| group.iter().all(is_of_span)).cloned().collect(),
    }
}

/// Whether a mask of possibilities leaves none.
pub(crate) fn is_none_left(possible: Option<&BooleanBuffer>) -> bool {
    possible.is_some_and(|mask| mask.count_set_bits() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_masks() {
        let pruned = Pruned { of_filters: vec![Some(vec![1..2, 4..9]), None, Some(Vec::new())] };
        let set = |mask: BooleanBuffer| mask.set_indices().collect::<Vec<_>>();
        assert_eq!(set(pruned.traces(0, &(0..6)).unwrap()), [1, 4, 5]);
        assert_eq!(set(pruned.traces(0, &(5..8)).unwrap()), [0, 1, 2], "counted from the start of the part");
        assert!(is_none_left(pruned.traces(0, &(2..4)).as_ref()));
        assert_eq!(pruned.traces(1, &(0..6)), None);
        assert!(is_none_left(pruned.traces(2, &(0..6)).as_ref()));
        assert!(is_none_left(pruned.anywhere(2).as_ref()) && !is_none_left(pruned.anywhere(0).as_ref()));
    }
}
