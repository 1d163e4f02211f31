//! The service graph: an edge for every call of which both halves are known, or the other end is named.
//!
//! A call is a client span and the server span whose parent it is. Where both lie in one table, the tree pairs them;
//! else the first waits for the second (`pending.rs`). A client span that names a database is an edge at once, and so is
//! a root server span: nobody who sends spans can have called it. What has waited in vain becomes an edge to a virtual
//! node, if an attribute names that.

mod edge;
mod half;
mod pending;

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

/// The processor of one tenant.
pub(crate) struct ServiceGraphProcessor {
    config: ServiceGraphs,
    filter: Filter,
    keys: Keys,
    graph: Graph,
    texts: SharedTexts,
}

/// Where edges are counted and halves wait.
struct Graph {
    edges: Edges,
    pending: Pending,
    counts: GraphCounts,
}

/// Where a table's edges go, and what time it is.
struct Counting<'r> {
    registry: &'r mut Registry,
    now_millis: i64,
}

impl ServiceGraphProcessor {
    /// `None` when no part of it is switched on.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub(crate) fn new(config: &TenantConfig, memory: &Memory, registry: &mut Registry) -> Result<Option<Self>, Error> {
        let Some(edges) = Edges::register(config, registry) else { return Ok(None) };
        let config = config.service_graphs.clone();
        let wait_millis = i64::try_from(config.wait.get().as_millis()).unwrap_or(i64::MAX);
        let pending = Pending::new(wait_millis, config.max_items, memory.halves.clone(), config.dimensions.len());
        Ok(Some(Self {
            filter: Filter::new(&config.filter_policies)?,
            keys: Keys::new(&config)?,
            graph: Graph { edges, pending, counts: GraphCounts::default() },
            texts: SharedTexts::default(),
            config,
        }))
    }

    /// Counts the edges of the selected spans, and has halves wait.
    pub(crate) fn take(&mut self, spans: &Spans<'_>, selection: &Selection, registry: &mut Registry, now_millis: i64) {
        let Self { config, filter, keys, graph, texts } = self;
        let mut reader = HalfReader::new(spans, keys, config, texts);
        let mut to = Counting { registry, now_millis };
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
                    Side::Client if half.database.is_some() => graph.count(Some(&half), None, trace_id, &mut to),
                    Side::Client => clients.push((row, half, false)),
                    Side::Server => graph.server(spans, row, half, &mut clients, trace_id, &mut to),
                }
            }
            for (row, half, was_paired) in clients.drain(..) {
                if !was_paired || half.kind == PRODUCER {
                    graph.wait(CallId { trace_id, client_span_id: spans.span_id(row) }, half, was_paired, &mut to);
                }
            }
        }
    }

    /// What has waited for long enough is counted as far as its other end is named. Returns whether anything had.
    pub(crate) fn tick(&mut self, registry: &mut Registry, now_millis: i64) -> bool {
        let expired = self.graph.pending.expired(now_millis);
        let has_expired = !expired.is_empty();
        let mut to = Counting { registry, now_millis };
        expired.into_iter().for_each(|waited| self.graph.expire(waited, &mut to));
        self.graph.edges.forget();
        has_expired
    }

    pub(crate) fn save(&self, numbering: &mut Numbering) -> GraphState {
        GraphState { dimensions: self.config.dimensions.clone(), halves: self.graph.pending.save(numbering) }
    }

    /// Has halves wait that waited when they were saved. Values of other dimensions than those of now are forgotten.
    pub(crate) fn restore(&mut self, saved: GraphState, numbered: &Numbered, shift_millis: i64) {
        let GraphState { dimensions, mut halves } = saved;
        if dimensions != self.config.dimensions {
            halves.iter_mut().for_each(|half| half.dimensions.clear());
        }
        self.graph.pending.restore(halves, self.config.dimensions.len(), numbered, shift_millis);
    }

    pub(crate) fn take_counts(&mut self) -> GraphCounts {
        std::mem::take(&mut self.graph.counts)
    }

    /// Halves that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.graph.pending.len()
    }
}

impl Graph {
    fn count(&mut self, client: Option<&Half>, server: Option<&Half>, trace_id: [u8; 16], to: &mut Counting<'_>) {
        self.counts.edges += 1;
        self.edges.count(Ends { client, server }, trace_id, to.registry, to.now_millis);
    }

    /// A parent stands above its children: a client half of the same table has been read.
    fn server(
        &mut self,
        spans: &Spans<'_>,
        row: usize,
        server: Half,
        clients: &mut [(usize, Half, bool)],
        trace_id: [u8; 16],
        to: &mut Counting<'_>,
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
    fn wait(&mut self, call: CallId, half: Half, was_paired: bool, to: &mut Counting<'_>) {
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

    fn expire(&mut self, waited: Waited, to: &mut Counting<'_>) {
        let Waited { call, side, half, was_paired } = waited;
        match side {
            _ if was_paired => {}
            Side::Client if half.peer.is_some() => self.count(Some(&half), None, call.trace_id, to),
            _ => self.counts.expired += 1,
        }
    }
}
