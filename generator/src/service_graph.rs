//! The service graph: an edge for every call of which both halves are known, or the other end is named.
//!
//! A call is a client span and the server span whose parent it is. Where both lie in one table, the tree pairs them;
//! else the first waits for the second (`pending.rs`). A client span that names a database is an edge at once, and so is
//! a root server span: nobody who sends spans can have called it. What has waited in vain becomes an edge to a virtual
//! node, if an attribute names that.

mod edge;
mod half;
mod map;
mod pending;

use std::ops::Range;

use crate::checkpoint::{GraphState, Numbered, Numbering};
use crate::columns::Spans;
use crate::config::{ServiceGraphs, TenantConfig};
use crate::error::Error;
use crate::filter::Filter;
use crate::memory::Memory;
use crate::names::{CLIENT, PRODUCER};
use crate::registry::Registry;
use crate::selection::Selection;

use self::edge::{Edges, Ends};
use self::half::{Half, HalfReader, Keys, SharedTexts, Side};
pub use self::map::{Connection, ConnectionStats, Node, NodeKind, ServiceMap, ServiceMapper};
use self::pending::{CallId, Pending, Waited};

/// What became of halves since it was last asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GraphCounts {
    pub edges: u64,
    /// Halves that waited in vain and name nobody.
    pub expired: u64,
    /// Halves that waited less than they should have, because too many did.
    pub crowded_out: u64,
    /// The same, because they had no room in memory.
    pub out_of_memory: u64,
    pub filtered: u64,
}

/// The processor of one tenant: edges become series.
pub(crate) struct ServiceGraphProcessor {
    pairing: Pairing,
    edges: Edges,
}

/// Which spans make a call, whatever is done with it.
struct Pairing {
    config: ServiceGraphs,
    filter: Filter,
    keys: Keys,
    graph: Graph,
    texts: SharedTexts,
}

/// Where halves wait.
struct Graph {
    pending: Pending,
    counts: GraphCounts,
}

/// Takes edges as they are found.
trait TakeEdges {
    fn edge(&mut self, ends: Ends<'_>, trace_id: [u8; 16]);
}

/// Where edges go, and what time it is.
struct To<'e, E> {
    edges: &'e mut E,
    now_millis: i64,
}

/// The series of a tenant.
struct ToSeries<'r> {
    edges: &'r mut Edges,
    registry: &'r mut Registry,
    now_millis: i64,
}

impl TakeEdges for ToSeries<'_> {
    fn edge(&mut self, ends: Ends<'_>, trace_id: [u8; 16]) {
        self.edges.count(ends, trace_id, self.registry, self.now_millis);
    }
}

/// Passes on those edges whose last span ends in a range.
struct EndingWithin<'r, E> {
    edges: E,
    range_nanos: &'r Range<u64>,
}

impl<E: TakeEdges> TakeEdges for EndingWithin<'_, E> {
    fn edge(&mut self, ends: Ends<'_>, trace_id: [u8; 16]) {
        let end_nanos = ends.halves().map(|half| half.span.end_nanos).max();
        if end_nanos.is_some_and(|end_nanos| self.range_nanos.contains(&end_nanos)) {
            self.edges.edge(ends, trace_id);
        }
    }
}

impl ServiceGraphProcessor {
    /// `None` when no part of it is switched on.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub(crate) fn new(config: &TenantConfig, memory: &Memory, registry: &mut Registry) -> Result<Option<Self>, Error> {
        let Some(edges) = Edges::register(config, registry) else { return Ok(None) };
        Ok(Some(Self { pairing: Pairing::new(&config.service_graphs, memory)?, edges }))
    }

    /// Counts the edges of the selected spans, and has halves wait.
    pub(crate) fn take(&mut self, spans: &Spans<'_>, selection: &Selection, registry: &mut Registry, now_millis: i64) {
        let edges = &mut ToSeries { edges: &mut self.edges, registry, now_millis };
        self.pairing.take(spans, selection, &mut To { edges, now_millis });
    }

    /// Counts the calls of whole traces that end in a range; no half waits.
    pub(crate) fn take_whole(
        &mut self,
        spans: &Spans<'_>,
        range_nanos: &Range<u64>,
        registry: &mut Registry,
        now_millis: i64,
    ) {
        let edges = &mut self.edges;
        let mut ending = EndingWithin { edges: ToSeries { edges, registry, now_millis }, range_nanos };
        self.pairing.take_whole(spans, &mut ending);
    }

    /// What has waited for long enough is counted as far as its other end is named. Returns whether anything had.
    pub(crate) fn tick(&mut self, registry: &mut Registry, now_millis: i64) -> bool {
        let edges = &mut ToSeries { edges: &mut self.edges, registry, now_millis };
        let has_expired = self.pairing.expire(&mut To { edges, now_millis });
        self.edges.forget();
        has_expired
    }

    pub(crate) fn save(&self, numbering: &mut Numbering) -> GraphState {
        let Pairing { config, graph, .. } = &self.pairing;
        GraphState { dimensions: config.dimensions.clone(), halves: graph.pending.save(numbering) }
    }

    /// Has halves wait that waited when they were saved. Values of other dimensions than those of now are forgotten.
    pub(crate) fn restore(&mut self, saved: GraphState, numbered: &Numbered, shift_millis: i64) {
        let GraphState { dimensions, mut halves } = saved;
        let Pairing { config, graph, .. } = &mut self.pairing;
        if dimensions != config.dimensions {
            halves.iter_mut().for_each(|half| half.dimensions.clear());
        }
        graph.pending.restore(halves, config.dimensions.len(), numbered, shift_millis);
    }

    pub(crate) fn take_counts(&mut self) -> GraphCounts {
        std::mem::take(&mut self.pairing.graph.counts)
    }

    /// Halves that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.pairing.graph.pending.len()
    }
}

impl Pairing {
    fn new(config: &ServiceGraphs, memory: &Memory) -> Result<Self, Error> {
        let wait_millis = i64::try_from(config.wait.get().as_millis()).unwrap_or(i64::MAX);
        let pending = Pending::new(wait_millis, config.max_items, memory.halves.clone(), config.dimensions.len());
        Ok(Self {
            filter: Filter::new(&config.filter_policies)?,
            keys: Keys::new(config)?,
            graph: Graph { pending, counts: GraphCounts::default() },
            texts: SharedTexts::default(),
            config: config.clone(),
        })
    }

    fn take(&mut self, spans: &Spans<'_>, selection: &Selection, to: &mut To<'_, impl TakeEdges>) {
        let Self { config, filter, keys, graph, texts } = self;
        let mut reader = HalfReader::new(spans, keys, config, texts);
        // client halves of one trace whose server half may stand below them, by row
        let mut clients: Vec<(usize, Half, bool)> = Vec::new();
        for (trace, rows) in selection.traces() {
            let trace_id = spans.traces.id(trace).0;
            for row in rows {
                let Some(side) = Side::of(spans.kinds[row]) else { continue };
                if spans.service_names[spans.resources[row] as usize].is_none_or(str::is_empty) {
                    continue;
                }
                if !filter.takes(spans, row) {
                    graph.counts.filtered += 1;
                    continue;
                }
                let half = reader.read(trace, row, side, texts);
                match side {
                    Side::Client if half.database.is_some() => graph.count(Some(&half), None, trace_id, to),
                    Side::Client => clients.push((row, half, false)),
                    Side::Server => graph.server(spans, row, half, &mut clients, trace_id, to),
                }
            }
            for (row, half, was_paired) in clients.drain(..) {
                if !was_paired || half.kind == PRODUCER {
                    graph.wait(CallId { trace_id, client_span_id: spans.span_id(row) }, half, was_paired, to);
                }
            }
        }
    }

    /// Takes the edges of a table that has every trace as a whole.
    fn take_whole(&mut self, spans: &Spans<'_>, edges: &mut impl TakeEdges) {
        let mut to = To { edges, now_millis: 0 };
        self.take(spans, &Selection::which(spans, |_, _| true), &mut to);
        to.now_millis = i64::MAX;
        self.expire(&mut to);
    }

    /// Returns whether anything had waited for long enough.
    fn expire(&mut self, to: &mut To<'_, impl TakeEdges>) -> bool {
        let expired = self.graph.pending.expired(to.now_millis);
        let has_expired = !expired.is_empty();
        expired.into_iter().for_each(|waited| self.graph.expire(waited, to));
        has_expired
    }
}

impl Graph {
    fn count(
        &mut self,
        client: Option<&Half>,
        server: Option<&Half>,
        trace_id: [u8; 16],
        to: &mut To<'_, impl TakeEdges>,
    ) {
        self.counts.edges += 1;
        to.edges.edge(Ends { client, server }, trace_id);
    }

    /// A parent stands above its children: a client half of the same table has been read.
    fn server(
        &mut self,
        spans: &Spans<'_>,
        row: usize,
        server: Half,
        clients: &mut [(usize, Half, bool)],
        trace_id: [u8; 16],
        to: &mut To<'_, impl TakeEdges>,
    ) {
        let Some(client_span_id) = spans.parent_id(row) else {
            return self.count(None, Some(&server), trace_id, to);
        };
        let parent = spans.parent_row(row);
        // a message may have several receivers, a request has one
        let takes_one = |client: &Half, was_paired: bool| !was_paired || client.kind == PRODUCER;
        let client =
            clients.iter_mut().rev().find(|(at, half, was_paired)| Some(*at) == parent && takes_one(half, *was_paired));
        match client {
            Some((_, client, was_paired)) => {
                *was_paired = true;
                let client = client.clone();
                self.count(Some(&client), Some(&server), trace_id, to);
            }
            None => self.wait(CallId { trace_id, client_span_id }, server, false, to),
        }
    }

    /// Pairs a half with those that wait for it, or has it wait.
    fn wait(&mut self, call: CallId, half: Half, was_paired: bool, to: &mut To<'_, impl TakeEdges>) {
        let Some(side) = Side::of(half.kind) else { return };
        let mut partners = self.pending.partners(call, side);
        if half.kind == CLIENT {
            // further answers to one request have no call of their own
            self.counts.expired += partners.len().saturating_sub(1) as u64;
            partners.truncate(1);
        }
        for other in &partners {
            let (client, server) = if side == Side::Client { (&half, other) } else { (other, &half) };
            self.count(Some(client), Some(server), call.trace_id, to);
        }
        if partners.is_empty() || half.kind == PRODUCER {
            let was_paired = was_paired || !partners.is_empty();
            for (waited, is_for_memory) in self.pending.insert(call, side, half, was_paired, to.now_millis) {
                let count = if is_for_memory { &mut self.counts.out_of_memory } else { &mut self.counts.crowded_out };
                *count += 1;
                self.expire(waited, to);
            }
        }
    }

    fn expire(&mut self, waited: Waited, to: &mut To<'_, impl TakeEdges>) {
        let Waited { call, side, half, was_paired } = waited;
        match side {
            _ if was_paired => {}
            Side::Client if half.peer.is_some() => self.count(Some(&half), None, call.trace_id, to),
            _ => self.counts.expired += 1,
        }
    }
}
