//! What the senders know: which spans must be found, and how often each may be.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Request, SentSpan, Trace};

/// Everything that was sent. Knows nothing of logs, blocks and files.
#[derive(Default)]
pub struct Model {
    spans: BTreeMap<u64, Span>,
    /// Requests that were sent and not acknowledged, by the number of their first span.
    unacknowledged: BTreeMap<u64, Request>,
    deletions: BTreeMap<Trace, Deletion>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deletion {
    /// It was asked for, and may come to pass at any time.
    Asked,
    /// It was acknowledged: of the trace nothing is found, whatever comes of it later.
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    trace: Trace,
    caller: Option<u64>,
    /// How often it was sent: with every time there may be one more.
    sent: usize,
    /// It was acknowledged, or a query found it: from then on it must be found.
    must_be_found: bool,
    /// It was there when retention looked for what is past its time.
    may_be_expired: bool,
}

/// How often a span may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub least: usize,
    pub most: usize,
}

/// What an answer about one tenant may hold: bounds by the number of the span.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    pub spans: BTreeMap<u64, (Trace, Bounds)>,
}

impl Model {
    pub fn sending(&mut self, request: &Request) {
        for SentSpan { number, trace, caller } in request.spans.iter().copied() {
            let new = Span { trace, caller, sent: 0, must_be_found: false, may_be_expired: false };
            self.spans.entry(number).or_insert(new).sent += 1;
        }
        self.unacknowledged.insert(key(request), request.clone());
    }

    pub fn acknowledged(&mut self, request: &Request) {
        self.unacknowledged.remove(&key(request));
        self.found(request.spans.iter().map(|span| span.number));
    }

    /// Nothing can be found that a crash would take away.
    pub fn found(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            if let Some(span) = self.spans.get_mut(&number) {
                span.must_be_found = true;
            }
        }
    }

    pub fn unacknowledged(&self) -> Vec<Request> {
        self.unacknowledged.values().cloned().collect()
    }

    /// Retention looks at what is there; a tenant may be `kept`.
    pub fn expiring(&mut self, kept: Option<usize>) {
        let may_expire = |trace: Trace| trace.is_old() && Some(trace.tenant) != kept;
        self.spans.values_mut().filter(|span| may_expire(span.trace)).for_each(|span| span.may_be_expired = true);
    }

    pub fn deleting(&mut self, traces: &[Trace]) {
        traces.iter().for_each(|trace| _ = self.deletions.entry(*trace).or_insert(Deletion::Asked));
    }

    pub fn deleted(&mut self, traces: &[Trace]) {
        traces.iter().for_each(|trace| _ = self.deletions.insert(*trace, Deletion::Done));
    }

    /// Traces of a tenant whose deletion was acknowledged.
    pub fn gone(&self, tenant: usize) -> BTreeSet<Trace> {
        let gone =
            self.deletions.iter().filter(|(trace, deletion)| trace.tenant == tenant && **deletion == Deletion::Done);
        gone.map(|(trace, _)| *trace).collect()
    }

    /// How often spans of a tenant, and calls by the numbers of their two spans, may be counted: once those that must be
    /// found, others at most once.
    pub fn counted(&self, tenant: usize) -> (BTreeMap<u64, Bounds>, BTreeMap<(u64, u64), Bounds>) {
        let bounds = |must: bool| Bounds { least: usize::from(must), most: 1 };
        let spans = || self.spans.iter().filter(|(_, span)| span.trace.tenant == tenant);
        let calls = spans().filter_map(|(number, span)| {
            let client = self.spans.get(&span.caller?)?;
            Some(((span.caller?, *number), bounds(span.must_be_found && client.must_be_found)))
        });
        (spans().map(|(number, span)| (*number, bounds(span.must_be_found))).collect(), calls.collect())
    }

    pub fn expected(&self, tenant: usize) -> Expected {
        let of_tenant = self.spans.iter().filter(|(_, span)| span.trace.tenant == tenant);
        let bounds = |span: &Span| span.bounds(self.deletions.get(&span.trace).copied());
        Expected { spans: of_tenant.map(|(number, span)| (*number, (span.trace, bounds(span)))).collect() }
    }
}

fn key(request: &Request) -> u64 {
    request.spans.first().map_or(0, |span| span.number)
}

impl Span {
    fn bounds(&self, deletion: Option<Deletion>) -> Bounds {
        let must_be_found = self.must_be_found && !self.may_be_expired && deletion.is_none();
        let most = if deletion == Some(Deletion::Done) { 0 } else { self.sent };
        Bounds { least: usize::from(must_be_found), most }
    }
}

impl Expected {
    /// For an answer given at some time between two moments: what had to be there at both, and could be at either.
    pub fn until(&self, later: Self) -> Self {
        let mut spans = later.spans;
        for (number, (_, bounds)) in &mut spans {
            let before = self.spans.get(number).map_or(Bounds { least: 0, most: 0 }, |(_, bounds)| *bounds);
            bounds.least = bounds.least.min(before.least);
            bounds.most = bounds.most.max(before.most);
        }
        Self { spans }
    }

    /// The part about some spans.
    pub fn only(&self, is_meant: impl Fn(u64, Trace) -> bool) -> Self {
        let spans = self.spans.iter().filter(|(number, (trace, _))| is_meant(**number, *trace));
        Self { spans: spans.map(|(number, span)| (*number, *span)).collect() }
    }

    /// The newest span that must be found.
    pub fn newest(&self) -> Option<u64> {
        self.spans.iter().rev().find(|(_, (_, bounds))| bounds.least > 0).map(|(number, _)| *number)
    }

    pub fn traces(&self) -> BTreeSet<Trace> {
        self.spans.values().map(|(trace, _)| *trace).collect()
    }
}
