//! The service graph: an edge for every call of which both halves are known, or the other end is named.
//!
//! A call is a client span and the server span whose parent it is. Where both lie in one table, the tree pairs them;
//! else the first waits for the second (`pending.rs`). A client span that names a database is an edge at once, and so is
//! a root server span: nobody who sends spans can have called it. What has waited in vain becomes an edge to a virtual
//! node, if an attribute names that.

mod edge;
mod elsewhere;
mod half;
mod map;
mod pending;

use std::ops::Range;
use std::sync::Arc;

use crate::columns::Spans;
use crate::config::{ServiceGraphs, TenantConfig};
use crate::error::Error;
use crate::filter::{Filter, TableFilter};
use crate::interner::Interner;
use crate::memory::Memory;
use crate::names::{CLIENT, PRODUCER};
use crate::registry::Registry;
use crate::selection::Selection;
use crate::state::{GraphState, Numbered, Numbering};

use self::edge::{Edges, Ends};
use self::half::{Half, HalfReader, Keys, Side};
pub use self::map::{Connection, ConnectionStats, Node, NodeKind, ServiceMap, ServiceMapper};
pub(crate) use self::pending::CallId;
use self::pending::{Pending, Waited};

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

/// What the settings say, made ready once.
struct Rules {
    config: ServiceGraphs,
    filter: Filter,
    keys: Keys,
}

/// Which spans make a call, whatever is done with it.
struct Pairing {
    rules: Arc<Rules>,
    graph: Graph,
    /// Those of halves.
    texts: Interner,
    /// With more texts, those that no half has are forgotten.
    most_texts: usize,
    /// A client half of the trace that is read, by row, and whether it was paired.
    clients: Vec<(usize, Half, bool)>,
}

/// Texts that are always kept.
const LEAST_TEXTS: usize = 10_000;

/// Where halves wait.
struct Graph {
    pending: Pending,
    counts: GraphCounts,
}

/// Takes edges as they are found.
trait TakeEdges {
    fn edge(&mut self, ends: Ends<'_>, texts: &Interner, trace_id: [u8; 16]);

    /// Numbers of texts mean others from now on.
    fn forget_texts(&mut self);
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
    fn edge(&mut self, ends: Ends<'_>, texts: &Interner, trace_id: [u8; 16]) {
        self.edges.count(ends, texts, trace_id, self.registry, self.now_millis);
    }

    fn forget_texts(&mut self) {
        self.edges.forget();
    }
}

/// Passes on those edges whose last span ends in a range.
struct EndingWithin<'r, E> {
    edges: E,
    range_nanos: &'r Range<u64>,
}

impl<E: TakeEdges> TakeEdges for EndingWithin<'_, E> {
    fn edge(&mut self, ends: Ends<'_>, texts: &Interner, trace_id: [u8; 16]) {
        let end_nanos = ends.halves().map(|half| half.span.end_nanos).max();
        if end_nanos.is_some_and(|end_nanos| self.range_nanos.contains(&end_nanos)) {
            self.edges.edge(ends, texts, trace_id);
        }
    }

    fn forget_texts(&mut self) {
        self.edges.forget_texts();
    }
}

impl ServiceGraphProcessor {
    /// `None` when no part of it is switched on.
    ///
    /// # Errors
    /// [`Error::Config`]
    pub(crate) fn new(config: &TenantConfig, memory: &Memory, registry: &mut Registry) -> Result<Option<Self>, Error> {
        let Some(edges) = Edges::register(config, registry) else { return Ok(None) };
        let rules = Arc::new(Rules::new(&config.service_graphs)?);
        Ok(Some(Self { pairing: Pairing::new(rules, memory), edges }))
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

    pub(crate) fn save(&mut self, numbering: &mut Numbering) -> GraphState {
        let Pairing { rules, graph, texts, .. } = &mut self.pairing;
        graph.pending.saving();
        let dimensions = rules.config.dimensions.clone();
        GraphState { halves: graph.pending.save(dimensions.len(), texts, numbering), dimensions }
    }

    /// Has halves wait that waited when they were saved. Values of other dimensions than those of now are forgotten.
    pub(crate) fn restore(&mut self, saved: GraphState, numbered: &Numbered, shift_millis: i64) {
        let GraphState { dimensions, mut halves } = saved;
        let Pairing { rules, graph, texts, .. } = &mut self.pairing;
        if dimensions != rules.config.dimensions {
            halves.iter_mut().for_each(|half| half.dimensions.clear());
        }
        graph.pending.restore(halves, rules.config.dimensions.len(), texts, numbered, shift_millis);
    }

    pub(crate) fn take_counts(&mut self) -> GraphCounts {
        std::mem::take(&mut self.pairing.graph.counts)
    }

    /// Halves that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.pairing.graph.pending.len()
    }
}

impl Rules {
    /// # Errors
    /// [`Error::Config`]
    fn new(config: &ServiceGraphs) -> Result<Self, Error> {
        Ok(Self { filter: Filter::new(&config.filter_policies)?, keys: Keys::new(config)?, config: config.clone() })
    }
}

impl Pairing {
    fn new(rules: Arc<Rules>, memory: &Memory) -> Self {
        let config = &rules.config;
        let wait_millis = i64::try_from(config.wait.get().as_millis()).unwrap_or(i64::MAX);
        let pending = Pending::new(wait_millis, config.max_items, memory.halves.clone(), config.dimensions.len());
        Self {
            graph: Graph { pending, counts: GraphCounts::default() },
            texts: Interner::default(),
            most_texts: LEAST_TEXTS,
            clients: Vec::new(),
            rules,
        }
    }

    fn take(&mut self, spans: &Spans<'_>, selection: &Selection, to: &mut To<'_, impl TakeEdges>) {
        self.forget_texts(to);
        let Self { rules, graph, texts, clients, .. } = self;
        let Rules { config, filter, keys } = &**rules;
        let mut filter = TableFilter::new(filter, spans);
        let mut reader = HalfReader::new(spans, keys, config, texts);
        for (trace, rows) in selection.traces() {
            let trace_id = spans.traces.id(trace).0;
            for row in rows {
                let Some(side) = Side::of(spans.kinds[row]) else { continue };
                let Some(service) = reader.service(row) else { continue };
                if !filter.takes(spans, row) {
                    graph.counts.filtered += 1;
                    continue;
                }
                let half = reader.read(service, row, trace, side, texts);
                let mut of_trace = OfTrace { trace_id, graph, texts, to };
                match side {
                    Side::Client if half.database.is_some() => of_trace.count(Some(&half), None),
                    Side::Client => clients.push((row, half, false)),
                    Side::Server => of_trace.server(spans, row, half, clients),
                }
            }
            for (row, half, was_paired) in clients.drain(..) {
                if !was_paired || half.kind == PRODUCER {
                    let mut of_trace = OfTrace { trace_id, graph, texts, to };
                    of_trace.wait(spans.span_id(row), half, was_paired);
                }
            }
        }
    }

    /// Forgets texts that no half has that waits, once there are many.
    fn forget_texts(&mut self, to: &mut To<'_, impl TakeEdges>) {
        if self.texts.len() <= self.most_texts {
            return;
        }
        let all = std::mem::take(&mut self.texts);
        self.graph.pending.move_texts(&all, &mut self.texts, self.rules.config.dimensions.len());
        self.most_texts = LEAST_TEXTS.max(2 * self.texts.len());
        to.edges.forget_texts();
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
        let (has_expired, Self { graph, texts, .. }) = (!expired.is_empty(), self);
        for waited in expired {
            OfTrace { trace_id: waited.call.trace_id, graph, texts, to }.expire(waited);
        }
        has_expired
    }
}

/// What a half of one trace needs to become an edge, or to wait.
struct OfTrace<'t, 'e, E> {
    trace_id: [u8; 16],
    graph: &'t mut Graph,
    texts: &'t Interner,
    to: &'t mut To<'e, E>,
}

impl<E: TakeEdges> OfTrace<'_, '_, E> {
    fn count(&mut self, client: Option<&Half>, server: Option<&Half>) {
        self.graph.counts.edges += 1;
        self.to.edges.edge(Ends { client, server }, self.texts, self.trace_id);
    }

    /// A parent stands above its children: a client half of the same table has been read.
    fn server(&mut self, spans: &Spans<'_>, row: usize, server: Half, clients: &mut [(usize, Half, bool)]) {
        let Some(client_span_id) = spans.parent_id(row) else {
            return self.count(None, Some(&server));
        };
        // rows of clients ascend
        let above =
            spans.parent_row(row).and_then(|parent| clients.binary_search_by_key(&parent, |client| client.0).ok());
        // a message may have several receivers, a request has one
        match above.and_then(|at| clients.get_mut(at)) {
            Some((_, client, was_paired)) if !*was_paired || client.kind == PRODUCER => {
                *was_paired = true;
                let client = *client;
                self.count(Some(&client), Some(&server));
            }
            _ => self.wait(client_span_id, server, false),
        }
    }

    /// Pairs a half with those that wait for it, or has it wait.
    fn wait(&mut self, client_span_id: u64, half: Half, was_paired: bool) {
        let Some(side) = Side::of(half.kind) else { return };
        let call = CallId { trace_id: self.trace_id, client_span_id };
        let mut partners = self.graph.pending.partners(call, side);
        if half.kind == CLIENT {
            // further answers to one request have no call of their own
            self.graph.counts.expired += partners.len().saturating_sub(1) as u64;
            partners.truncate(1);
        }
        for other in &partners {
            let (client, server) = if side == Side::Client { (&half, other) } else { (other, &half) };
            self.count(Some(client), Some(server));
        }
        if partners.is_empty() || half.kind == PRODUCER {
            let was_paired = was_paired || !partners.is_empty();
            let now_millis = self.to.now_millis;
            for (waited, is_for_memory) in self.graph.pending.insert(call, side, half, was_paired, now_millis) {
                let counts = &mut self.graph.counts;
                *if is_for_memory { &mut counts.out_of_memory } else { &mut counts.crowded_out } += 1;
                let trace_id = waited.call.trace_id;
                OfTrace { trace_id, graph: self.graph, texts: self.texts, to: self.to }.expire(waited);
            }
        }
    }

    fn expire(&mut self, waited: Waited) {
        let Waited { side, half, was_paired, .. } = waited;
        match side {
            _ if was_paired => {}
            Side::Client if half.peer.is_some() => self.count(Some(&half), None),
            _ => self.graph.counts.expired += 1,
        }
    }
}
