//! An edge of the graph: its ends, its labels and its series.

use hashbrown::HashMap;

use crate::config::{Processor, ServiceGraphs, TenantConfig};
use crate::interner::{Interner, ListId, TextId};
use crate::labels::{LabelBuilder, LabelSet, label_name};
use crate::limits::Limits;
use crate::names::{CONSUMER, PRODUCER};
use crate::registry::{FamilyId, Kind, Registry, SeriesId};

use super::half::Half;

/// Edges whose series are remembered; with more, remembering starts anew.
const MOST_REMEMBERED: usize = 10_000;

/// Who calls a root server span.
pub(super) const USER: &str = "user";

/// The ends of an edge; one is missing where its service sends no spans.
#[derive(Clone, Copy)]
pub(super) struct Ends<'h> {
    pub client: Option<&'h Half>,
    pub server: Option<&'h Half>,
}

impl<'h> Ends<'h> {
    pub(super) fn halves(&self) -> impl Iterator<Item = &'h Half> + use<'h> {
        self.client.into_iter().chain(self.server)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.halves().any(|half| half.failed)
    }

    /// How many calls this one stands for.
    pub(super) fn weight(&self) -> f64 {
        self.server.or(self.client).map_or(1.0, |half| half.weight)
    }

    fn database(&self) -> Option<TextId> {
        self.client.and_then(|client| client.database)
    }

    pub(super) fn client_name(&self) -> Option<TextId> {
        match (self.client, self.server) {
            (Some(client), _) => Some(client.service),
            (None, server) => server.and_then(|server| server.peer),
        }
    }

    pub(super) fn server_name(&self) -> Option<TextId> {
        let of_client = || self.database().or_else(|| self.client.and_then(|client| client.peer));
        self.server.map(|server| server.service).or_else(of_client)
    }

    pub(super) fn connection_type(&self) -> &'static str {
        let is_message = |half: Option<&Half>| half.is_some_and(|half| matches!(half.kind, PRODUCER | CONSUMER));
        match (self.client, self.server) {
            _ if self.database().is_some() => "database",
            (Some(_), Some(_)) if is_message(self.client) || is_message(self.server) => "messaging_system",
            (Some(_), Some(_)) => "",
            _ => "virtual_node",
        }
    }

    /// What labels are made from.
    pub(super) fn key(&self) -> EdgeKey {
        let dimensions = |half: Option<&Half>| half.map(|half| half.dimensions).unwrap_or_default();
        EdgeKey {
            client: self.client_name(),
            server: self.server_name(),
            connection_type: self.connection_type(),
            virtual_side: self.virtual_side(),
            dimensions: [dimensions(self.client), dimensions(self.server)],
        }
    }

    /// Which end is not instrumented.
    pub(super) fn virtual_side(&self) -> &'static str {
        match (self.client, self.server) {
            _ if self.database().is_some() => "",
            (None, _) => "client",
            (_, None) => "server",
            _ => "",
        }
    }

    /// Between the end of the producer and the start of the consumer; `None` where clocks run apart.
    pub(super) fn messaging_seconds(&self) -> Option<f64> {
        let (client, server) = (self.client?, self.server?);
        let nanos = server.handover_nanos.checked_sub(client.handover_nanos).filter(|nanos| *nanos > 0)?;
        (self.connection_type() == "messaging_system").then_some(nanos as f64 / 1e9)
    }

    /// As long as the server took, or the client waited for its database.
    pub(super) fn seconds_of_server(&self) -> Option<f64> {
        let half = if self.database().is_some() { self.client } else { self.server };
        half.map(|half| half.seconds)
    }
}

/// Edges with the same key have the same labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EdgeKey {
    pub client: Option<TextId>,
    pub server: Option<TextId>,
    pub connection_type: &'static str,
    pub virtual_side: &'static str,
    /// Of the client and of the server.
    dimensions: [ListId; 2],
}

/// The series of the graph.
pub(super) struct Edges {
    rules: LabelRules,
    families: [Option<FamilyId>; SERIES],
    known: HashMap<EdgeKey, KnownEdge>,
    /// The registry's when they were found.
    removals: u64,
}

/// Which labels edges have.
struct LabelRules {
    dimensions: Vec<String>,
    has_prefix: bool,
    has_virtual_node: bool,
}

/// The labels of an edge, and those of its series that have been counted in.
struct KnownEdge {
    labels: LabelSet,
    series: [Option<SeriesId>; SERIES],
}

/// The series that an edge may have.
#[derive(Clone, Copy)]
enum Of {
    Requests,
    Failed,
    ServerSeconds,
    ClientSeconds,
    MessagingSeconds,
    Info,
}

const SERIES: usize = 6;

impl Edges {
    /// `None` when no part of the graph is switched on.
    pub(super) fn register(config: &TenantConfig, registry: &mut Registry) -> Option<Self> {
        let is_on = |part| config.has(&[Processor::ServiceGraphs, part]);
        let (request, latency) = (is_on(Processor::ServiceGraphsRequest), is_on(Processor::ServiceGraphsLatency));
        let info = config.has(&[Processor::ServiceGraphsConnectionInfo]);
        if !(request || latency || info) {
            return None;
        }
        let ServiceGraphs { histogram_buckets, dimensions, .. } = &config.service_graphs;
        let mut family = |name, help, kind| registry.family(name, help, kind);
        let histogram = || config.histograms.kind(histogram_buckets);
        let has_messaging = latency && config.service_graphs.enable_messaging_system_latency_histogram;
        let mut families = [None; SERIES];
        if request {
            let (name, help) = ("traces_service_graph_request_total", "Calls from client to server");
            families[Of::Requests as usize] = Some(family(name, help, Kind::Counter));
            let (name, help) = ("traces_service_graph_request_failed_total", "Calls of which one end failed");
            families[Of::Failed as usize] = Some(family(name, help, Kind::Counter));
        }
        if latency {
            let (name, help) = ("traces_service_graph_request_server_seconds", "Duration of calls as servers saw them");
            families[Of::ServerSeconds as usize] = Some(family(name, help, histogram()));
            let (name, help) = ("traces_service_graph_request_client_seconds", "Duration of calls as clients saw them");
            families[Of::ClientSeconds as usize] = Some(family(name, help, histogram()));
        }
        if has_messaging {
            let name = "traces_service_graph_request_messaging_system_seconds";
            let family = family(name, "Time of messages between producer and consumer", histogram());
            families[Of::MessagingSeconds as usize] = Some(family);
        }
        if info {
            let name = "traces_service_graph_connection_info";
            families[Of::Info as usize] = Some(family(name, "Connections between services", Kind::Gauge));
        }
        let rules = LabelRules {
            dimensions: dimensions.clone(),
            has_prefix: config.service_graphs.enable_client_server_prefix,
            has_virtual_node: config.service_graphs.enable_virtual_node_label,
        };
        Some(Self { rules, families, known: HashMap::new(), removals: 0 })
    }

    /// Counts one edge.
    pub(super) fn count(
        &mut self,
        ends: Ends<'_>,
        texts: &Interner,
        trace_id: [u8; 16],
        registry: &mut Registry,
        now_millis: i64,
    ) {
        if self.removals != registry.removals() || self.known.len() >= MOST_REMEMBERED {
            self.removals = registry.removals();
            self.forget();
        }
        let Self { rules, families, known, .. } = self;
        let edge = known.entry(ends.key()).or_insert_with(|| {
            let labels = registry.limit_values(rules.labels(ends, texts, registry.limits()));
            KnownEdge { labels, series: [None; SERIES] }
        });
        let weight = ends.weight();
        let mut series = |of: Of, registry: &mut Registry| edge.series(of, families, registry, now_millis);
        if let Some(id) = series(Of::Requests, registry) {
            registry.add(id, weight, now_millis);
        }
        if ends.has_failed()
            && let Some(id) = series(Of::Failed, registry)
        {
            registry.add(id, weight, now_millis);
        }
        // a side that sends no spans took no time, as in Tempo
        let durations = [
            (Of::ServerSeconds, Some(ends.seconds_of_server().unwrap_or(0.0))),
            (Of::ClientSeconds, Some(ends.client.map_or(0.0, |client| client.seconds))),
            (Of::MessagingSeconds, ends.messaging_seconds()),
        ];
        for (of, seconds) in durations {
            if let Some(seconds) = seconds
                && let Some(id) = series(of, registry)
            {
                registry.observe(id, seconds, weight, trace_id, now_millis);
            }
        }
        if let Some(id) = series(Of::Info, registry) {
            registry.set(id, 1.0, now_millis);
        }
    }

    /// Forgets edges that may not come again.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

impl LabelRules {
    fn labels(&self, ends: Ends<'_>, texts: &Interner, limits: &Limits) -> LabelSet {
        let mut labels = LabelBuilder::new(limits);
        labels.add("client", ends.client_name().map_or(USER, |name| &**texts.get(name)));
        labels.add("server", ends.server_name().map_or("", |name| &**texts.get(name)));
        labels.add("connection_type", ends.connection_type());
        for (place, dimension) in self.dimensions.iter().enumerate() {
            let value = |half: Option<&'_ Half>| half.and_then(|half| texts.of_list(half.dimensions, place));
            let (of_client, of_server) = (value(ends.client), value(ends.server));
            let text = |value: Option<TextId>| value.map_or("", |value| &**texts.get(value));
            if self.has_prefix {
                labels.add(&label_name(&format!("client_{dimension}")), text(of_client));
                labels.add(&label_name(&format!("server_{dimension}")), text(of_server));
            } else {
                labels.add(&label_name(dimension), text(of_server.or(of_client)));
            }
        }
        if self.has_virtual_node {
            labels.add("virtual_node", ends.virtual_side());
        }
        labels.build()
    }
}

impl KnownEdge {
    /// One of its series; none where it is not made.
    fn series(
        &mut self,
        of: Of,
        families: &[Option<FamilyId>; SERIES],
        registry: &mut Registry,
        now_millis: i64,
    ) -> Option<SeriesId> {
        if let Some(id) = self.series[of as usize] {
            return Some(id);
        }
        let id = registry.series(families[of as usize]?, &self.labels, now_millis);
        // what is beyond a limit is told each time
        self.series[of as usize] = Some(id).filter(|id| !registry.is_overflow(*id));
        Some(id)
    }
}
