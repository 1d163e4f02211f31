//! Which spans of a table are counted: each once, however often it was sent, and none from another time.

use std::ops::{Range, RangeInclusive};

use crate::columns::Spans;
use crate::copies::RecentSpans;

/// Rows of a table by trace, ascending.
#[derive(Default)]
pub(crate) struct Selection {
    traces: Vec<(usize, Range<usize>)>,
    rows: Vec<u32>,
    pub copies: u64,
    pub outside_slack: u64,
}

impl Selection {
    /// Leaves out what was counted before, and what did not end in the time that is `taken`.
    pub(crate) fn of(spans: &Spans<'_>, tenant: u64, recent: &mut RecentSpans, taken: &RangeInclusive<u64>) -> Self {
        let mut selection = Self::default();
        for trace in 0..spans.traces.len() {
            let (trace_id, first) = (spans.traces.id(trace).0, selection.rows.len());
            for row in spans.rows(trace) {
                let start_nanos = spans.start_nanos(row, trace);
                if !recent.is_new(tenant, &trace_id, spans.span_id(row), spans.kinds[row], start_nanos) {
                    selection.copies += 1;
                } else if !taken.contains(&spans.end_nanos(row, trace)) {
                    selection.outside_slack += 1;
                } else {
                    selection.rows.push(row as u32);
                }
            }
            if selection.rows.len() > first {
                selection.traces.push((trace, first..selection.rows.len()));
            }
        }
        selection
    }

    /// All spans that are wanted, by trace and row.
    pub(crate) fn which(spans: &Spans<'_>, is_wanted: impl Fn(usize, usize) -> bool) -> Self {
        let mut selection = Self::default();
        for trace in 0..spans.traces.len() {
            let first = selection.rows.len();
            let rows = spans.rows(trace).filter(|&row| is_wanted(trace, row));
            selection.rows.extend(rows.map(|row| row as u32));
            if selection.rows.len() > first {
                selection.traces.push((trace, first..selection.rows.len()));
            }
        }
        selection
    }

    /// Each trace's row with the rows of its spans.
    pub(crate) fn traces(&self) -> impl Iterator<Item = (usize, impl Iterator<Item = usize> + Clone)> {
        self.traces.iter().map(|(trace, rows)| (*trace, self.rows[rows.clone()].iter().map(|row| *row as usize)))
    }
}
