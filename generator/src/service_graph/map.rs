//! The service map of stored traces: calls added up by who called whom, by the same rules as the series.
//!
//! ```text
//! tables of whole traces ─▶ ServiceMapper::map ─▶ ServiceMap, merged ─▶ connections, nodes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;
use spans::SpanTable;
use spans::schema::column;
use storage::source::Projection;

use super::edge::{EdgeKey, Ends, USER};
use super::{EndingWithin, Pairing, Rules, TakeEdges};
use crate::columns::Spans;
use crate::config::ServiceGraphs;
use crate::durations::Durations;
use crate::error::Error;
use crate::interner::Interner;
use crate::memory::Memory;

/// Finds the calls that end in a range.
pub struct ServiceMapper {
    rules: Arc<Rules>,
    range_nanos: Range<u64>,
    columns: Projection,
}

/// Calls by connection. Merging in any order gives the same numbers, but for the last digit of sums.
#[derive(Debug, Clone, Default)]
pub struct ServiceMap {
    connections: HashMap<Connection, ConnectionStats>,
}

/// Who calls whom, and how: the labels of the series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    pub client: Arc<str>,
    pub server: Arc<str>,
    /// Empty for a request of which both ends send spans, else `messaging_system`, `database` or `virtual_node`.
    pub connection_type: &'static str,
    /// Which end sends no spans: `client`, `server` or neither. A database says nothing of it.
    pub virtual_side: &'static str,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectionStats {
    pub requests: f64,
    /// Those of which one end failed.
    pub failed: f64,
    /// As servers saw them; of databases, as their clients did.
    pub server: Durations,
    /// As clients saw them.
    pub client: Durations,
    /// From the end of the producer to the start of the consumer.
    pub messaging: Durations,
}

/// A service, or what spans name that sends none.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub name: Arc<str>,
    pub kind: NodeKind,
    /// Of all calls that it answered.
    pub requests: f64,
    pub failed: f64,
    pub server: Durations,
}

/// What a name is; of several, the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    Service,
    Database,
    Virtual,
}

impl ServiceMapper {
    /// # Errors
    /// [`Error::Config`] when the settings cannot be used.
    pub fn new(config: &ServiceGraphs, range_nanos: Range<u64>) -> Result<Self, Error> {
        // all halves of a trace are in its table, so none has to go before it was looked for
        let config = ServiceGraphs { max_items: usize::MAX, ..config.clone() };
        let rules = Arc::new(Rules::new(&config)?);
        Ok(Self { columns: columns_of(&rules), rules, range_nanos })
    }

    /// The columns of spans that [`map`](Self::map) reads.
    pub fn columns(&self) -> &Projection {
        &self.columns
    }

    /// The calls of a table of whole traces of which one end is wanted, by row.
    ///
    /// # Errors
    /// [`Error::Table`] when the table does not have the shape of [`spans::schema`].
    pub fn map(&self, table: &SpanTable, is_wanted: impl Fn(usize) -> bool) -> Result<ServiceMap, Error> {
        let table = spans::columns_to_list(table)?;
        let spans = Spans::of(&table)?;
        let wanted = Wanted { is_wanted, places: HashMap::new(), connections: Vec::new() };
        let mut ending = EndingWithin { edges: wanted, range_nanos: &self.range_nanos };
        Pairing::new(self.rules.clone(), &Memory::unlimited()).take_whole(&spans, &mut ending);
        Ok(ServiceMap::of(ending.edges.connections))
    }
}

/// Only what the settings make use of.
fn columns_of(Rules { config, filter, keys }: &Rules) -> Projection {
    use column::*;
    let mut columns = BTreeSet::from([
        SPAN_ID,
        PARENT_OFFSET,
        PARENT_SPAN_ID,
        START_OFFSET_NANOS,
        DURATION_NANOS,
        KIND,
        STATUS_CODE,
        RESOURCE,
    ]);
    columns.extend(filter.has_names().then_some(NAME));
    columns.extend(config.enable_tracestate_span_multiplier.then_some(TRACE_STATE));
    let multiplier = Some(&config.span_multiplier_key).filter(|key| !key.is_empty());
    let attributes = keys.attributes().iter().chain(multiplier).chain(filter.attributes()).cloned().collect();
    Projection { columns, attributes }
}

/// Adds up those edges of which one end is wanted.
struct Wanted<W> {
    is_wanted: W,
    places: HashMap<EdgeKey, usize>,
    connections: Vec<(Connection, ConnectionStats)>,
}

impl<W: Fn(usize) -> bool> TakeEdges for Wanted<W> {
    fn edge(&mut self, ends: Ends<'_>, texts: &Interner, _trace_id: [u8; 16]) {
        if !ends.halves().any(|half| (self.is_wanted)(half.span.row)) {
            return;
        }
        let Self { places, connections, .. } = self;
        let at = *places.entry(ends.key()).or_insert_with(|| {
            connections.push((Connection::of(ends, texts), ConnectionStats::default()));
            connections.len() - 1
        });
        connections[at].1.add(ends);
    }

    fn forget_texts(&mut self) {
        self.places.clear();
    }
}

impl Connection {
    fn of(ends: Ends<'_>, texts: &Interner) -> Self {
        Self {
            client: ends.client_name().map_or_else(|| USER.into(), |name| texts.get(name).clone()),
            server: ends.server_name().map_or_else(|| "".into(), |name| texts.get(name).clone()),
            connection_type: ends.connection_type(),
            virtual_side: ends.virtual_side(),
        }
    }
}

impl ServiceMap {
    /// Connections that are named several times are added up.
    fn of(connections: Vec<(Connection, ConnectionStats)>) -> Self {
        let mut map = Self::default();
        for (connection, stats) in connections {
            map.connections.entry(connection).or_default().merge(&stats);
        }
        map
    }

    pub fn merge(&mut self, other: Self) {
        for (connection, of_other) in other.connections {
            self.connections.entry(connection).or_default().merge(&of_other);
        }
    }

    /// Those of the most requests first.
    pub fn connections(&self) -> Vec<(&Connection, &ConnectionStats)> {
        let mut connections: Vec<_> = self.connections.iter().collect();
        connections.sort_by(|(one, of_one), (other, of_other)| {
            of_other.requests.total_cmp(&of_one.requests).then_with(|| one.cmp(other))
        });
        connections
    }

    /// By name.
    pub fn nodes(&self) -> Vec<Node> {
        let mut nodes: BTreeMap<Arc<str>, Node> = BTreeMap::new();
        for (connection, stats) in self.connections() {
            let is_virtual = |side| connection.virtual_side == side;
            let client = if is_virtual("client") { NodeKind::Virtual } else { NodeKind::Service };
            node(&mut nodes, &connection.client, client);
            let server = match connection.connection_type {
                "database" => NodeKind::Database,
                _ if is_virtual("server") => NodeKind::Virtual,
                _ => NodeKind::Service,
            };
            let server = node(&mut nodes, &connection.server, server);
            server.requests += stats.requests;
            server.failed += stats.failed;
            server.server.merge(&stats.server);
        }
        nodes.into_values().collect()
    }

    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        let of_stats = |stats: &ConnectionStats| {
            let durations = [&stats.server, &stats.client, &stats.messaging];
            durations.into_iter().map(Durations::memory_bytes).sum::<usize>()
        };
        let of_one = |(connection, stats): (&Connection, &ConnectionStats)| {
            size_of::<(Connection, ConnectionStats)>()
                + connection.client.len()
                + connection.server.len()
                + of_stats(stats)
        };
        self.connections.iter().map(of_one).sum()
    }
}

fn node<'n>(nodes: &'n mut BTreeMap<Arc<str>, Node>, name: &Arc<str>, kind: NodeKind) -> &'n mut Node {
    let new = || Node { name: name.clone(), kind, requests: 0.0, failed: 0.0, server: Durations::default() };
    let node = nodes.entry(name.clone()).or_insert_with(new);
    node.kind = node.kind.min(kind);
    node
}

impl ConnectionStats {
    fn add(&mut self, ends: Ends<'_>) {
        let weight = ends.weight();
        self.requests += weight;
        self.failed += if ends.has_failed() { weight } else { 0.0 };
        let seconds = [ends.seconds_of_server(), ends.client.map(|half| half.seconds), ends.messaging_seconds()];
        let durations = [&mut self.server, &mut self.client, &mut self.messaging];
        for (durations, seconds) in durations.into_iter().zip(seconds) {
            seconds.into_iter().for_each(|seconds| durations.add(seconds, weight));
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.server.merge(&other.server);
        self.client.merge(&other.client);
        self.messaging.merge(&other.messaging);
    }
}

#[cfg(test)]
mod tests;
