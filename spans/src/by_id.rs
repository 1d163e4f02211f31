//! Finding traces by id in a table that has them in the order of time.

use model::TraceId;

use crate::table::Traces;

/// The rows of a `traces` table in the order of the traces' ids: made once for a table, four bytes a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ById(Vec<u32>);

impl ById {
    pub fn of(traces: &Traces<'_>) -> Self {
        let mut rows: Vec<(TraceId, u32)> = (0..traces.len()).map(|row| (traces.id(row), row as u32)).collect();
        rows.sort_unstable();
        Self(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// The row of a trace in that table, by binary search.
    pub fn find(&self, traces: &Traces<'_>, id: &TraceId) -> Option<usize> {
        let found = self.0.binary_search_by(|&row| traces.id(row as usize).cmp(id)).ok()?;
        Some(self.0[found] as usize)
    }

    /// Rows of the table, ascending by id.
    pub fn rows(&self) -> &[u32] {
        &self.0
    }

    /// An id that several rows of that table have.
    pub fn repeated(&self, traces: &Traces<'_>) -> Option<TraceId> {
        let pairs = self.0.windows(2).map(|pair| (traces.id(pair[0] as usize), traces.id(pair[1] as usize)));
        pairs.into_iter().find(|(one, next)| one == next).map(|(id, _)| id)
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableBuilder;
    use crate::testing::shop_request;
    use prost::Message;

    #[test]
    fn every_trace_is_found_and_one_that_is_there_twice_is_named() {
        let mut builder = TableBuilder::default();
        builder.append(&shop_request(7, 30, 1_700_000_000_000_000_000).encode_to_vec()).unwrap();
        let table = builder.snapshot().unwrap();
        let traces = table.traces().unwrap();
        let by_id = ById::of(&traces);
        assert!((0..traces.len()).all(|row| by_id.find(&traces, &traces.id(row)) == Some(row)));
        assert_eq!((by_id.find(&traces, &TraceId([7; 16])), by_id.repeated(&traces)), (None, None));

        let twice = table.with_traces(vec![3, 1, 3]).unwrap();
        let traces = twice.traces().unwrap();
        assert_eq!(ById::of(&traces).repeated(&traces), Some(traces.id(0)));
    }
}
