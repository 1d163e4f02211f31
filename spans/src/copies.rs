//! Which spans are copies of one another: sent again by a client that heard no answer, or written to two blocks.
//!
//! The one rule for every place where spans come together: in live rows, in a block, in a merge of blocks, in a query.

use std::hash::Hash;

use hashbrown::HashSet;

/// What tells a span from the others of its trace: two with the same identity are copies, and one of them counts.
///
/// The id alone does not tell: the client and the server of a call may share it, and broken clients give it out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SpanIdentity {
    pub span_id: [u8; 8],
    /// OTLP's number of the span kind.
    pub kind: i32,
    pub start_nanos: u64,
}

/// Finds the copies among the spans of one trace after the other. Keeps its memory between traces.
#[derive(Default)]
pub(crate) struct CopyFilter {
    ids: Vec<u64>,
    seen: HashSet<SpanIdentity>,
}

impl CopyFilter {
    /// Takes the copies out of the spans of a trace and returns how many; of each span the first stays.
    ///
    /// A trace without a repeated id, as nearly all are, pays for sorting its ids.
    pub(crate) fn drop_copies<T>(&mut self, spans: &mut Vec<T>, identity: impl Fn(&T) -> SpanIdentity) -> usize {
        self.ids.clear();
        self.ids.extend(spans.iter().map(|span| u64::from_ne_bytes(identity(span).span_id)));
        self.ids.sort_unstable();
        if self.ids.windows(2).all(|pair| pair[0] != pair[1]) {
            return 0;
        }
        self.seen.clear();
        let before = spans.len();
        spans.retain(|span| self.seen.insert(identity(span)));
        before - spans.len()
    }
}
