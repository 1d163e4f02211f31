//! An edge of the graph: its ends, its labels and its series.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::config::{Processor, ServiceGraphs, TenantConfig};
use crate::labels::{LabelBuilder, LabelSet, label_name};
use crate::names::{CONSUMER, PRODUCER};
use crate::registry::{FamilyId, Kind, Registry, SeriesId};

use super::half::Half;

/// Label sets whose series are remembered; with more, remembering starts anew.
const MOST_REMEMBERED: usize = 10_000;

/// Who calls a root server span.
pub(super) const USER: &str = "user";

/// Kinds of edges whose labels are made in the same way.
const SHAPES: usize = 5;

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

    fn database(&self) -> Option<&'h Arc<str>> {
        self.client.and_then(|client| client.database.as_ref())
    }

    pub(super) fn client_name(&self) -> Option<&'h Arc<str>> {
        match (self.client, self.server) {
            (Some(client), _) => Some(&client.service),
            (None, server) => server.and_then(|server| server.peer.as_ref()),
        }
    }

    pub(super) fn server_name(&self) -> Option<&'h Arc<str>> {
        let of_client = || self.database().or_else(|| self.client.and_then(|client| client.peer.as_ref()));
        self.server.map(|server| &server.service).or_else(of_client)
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

    /// Edges of one shape with the same names and dimensions have the same labels.
    fn shape(&self) -> usize {
        match (self.connection_type(), self.client) {
            ("", _) => 0,
            ("messaging_system", _) => 1,
            ("database", _) => 2,
            (_, None) => 3,
            (_, Some(_)) => 4,
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

/// The texts that the labels of an edge are made from.
type EdgeKey = Box<[Option<Arc<str>>]>;

/// The series of the graph.
pub(super) struct Edges {
    dimensions: Vec<String>,
    has_prefix: bool,
    has_virtual_node_label: bool,
    request: Option<(FamilyId, FamilyId)>,
    latency: Option<(FamilyId, FamilyId)>,
    messaging: Option<FamilyId>,
    info: Option<FamilyId>,
    /// By shape, and by the texts that labels are made from.
    known: [HashMap<EdgeKey, LabelSet>; SHAPES],
    key: Vec<Option<Arc<str>>>,
}

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
        Some(Self {
            dimensions: dimensions.clone(),
            has_prefix: config.service_graphs.enable_client_server_prefix,
            has_virtual_node_label: config.service_graphs.enable_virtual_node_label,
            request: request.then(|| {
                let total = family("traces_service_graph_request_total", "Calls from client to server", Kind::Counter);
                let name = "traces_service_graph_request_failed_total";
                (total, family(name, "Calls of which one end failed", Kind::Counter))
            }),
            latency: latency.then(|| {
                let name = "traces_service_graph_request_server_seconds";
                let server = family(name, "Duration of calls as servers saw them", histogram());
                let name = "traces_service_graph_request_client_seconds";
                (server, family(name, "Duration of calls as clients saw them", histogram()))
            }),
            messaging: has_messaging.then(|| {
                let name = "traces_service_graph_request_messaging_system_seconds";
                family(name, "Time of messages between producer and consumer", histogram())
            }),
            info: info.then(|| {
                let name = "traces_service_graph_connection_info";
                family(name, "Connections between services", Kind::Gauge)
            }),
            known: Default::default(),
            key: Vec::new(),
        })
    }

    /// Counts one edge.
    pub(super) fn count(&mut self, ends: Ends<'_>, trace_id: [u8; 16], registry: &mut Registry, now_millis: i64) {
        let labels = self.labels(ends, registry);
        let weight = ends.weight();
        let add = |family: FamilyId, registry: &mut Registry| {
            let series = registry.series(family, &labels, now_millis);
            registry.add(series, weight, now_millis);
        };
        if let Some((total, failed)) = self.request {
            add(total, registry);
            if ends.has_failed() {
                add(failed, registry);
            }
        }
        let mut observe = |family: FamilyId, seconds: f64| {
            let series = registry.series(family, &labels, now_millis);
            registry.observe(series, seconds, weight, trace_id, now_millis);
        };
        if let Some((server, client)) = self.latency {
            // a side that sends no spans took no time, as in Tempo
            observe(server, ends.seconds_of_server().unwrap_or(0.0));
            observe(client, ends.client.map_or(0.0, |client| client.seconds));
        }
        if let (Some(family), Some(seconds)) = (self.messaging, ends.messaging_seconds()) {
            observe(family, seconds);
        }
        if let Some(family) = self.info {
            let series: SeriesId = registry.series(family, &labels, now_millis);
            registry.set(series, 1.0, now_millis);
        }
    }

    fn labels(&mut self, ends: Ends<'_>, registry: &mut Registry) -> LabelSet {
        let Self { known, key, .. } = self;
        key.clear();
        key.extend([ends.client_name().cloned(), ends.server_name().cloned()]);
        for half in ends.halves() {
            key.extend(half.dimensions.iter().cloned());
        }
        let known = &mut known[ends.shape()];
        if let Some(labels) = known.get(key.as_slice()) {
            return labels.clone();
        }
        if known.len() >= MOST_REMEMBERED {
            known.clear();
        }
        let labels = registry.limit_values(self.new_labels(ends, registry));
        self.known[ends.shape()].insert(self.key.as_slice().into(), labels.clone());
        labels
    }

    fn new_labels(&self, ends: Ends<'_>, registry: &Registry) -> LabelSet {
        let mut labels = LabelBuilder::new(registry.limits());
        labels.add("client", ends.client_name().map_or(USER, |name| name));
        labels.add("server", ends.server_name().map_or("", |name| name));
        labels.add("connection_type", ends.connection_type());
        for (place, dimension) in self.dimensions.iter().enumerate() {
            let value = |half: Option<&'_ Half>| half.and_then(|half| half.dimensions[place].clone());
            let (of_client, of_server) = (value(ends.client), value(ends.server));
            let text = |value: Option<Arc<str>>| value.map(|value| value.to_string()).unwrap_or_default();
            if self.has_prefix {
                labels.add(&label_name(&format!("client_{dimension}")), text(of_client));
                labels.add(&label_name(&format!("server_{dimension}")), text(of_server));
            } else {
                labels.add(&label_name(dimension), text(of_server.or(of_client)));
            }
        }
        if self.has_virtual_node_label {
            labels.add("virtual_node", ends.virtual_side());
        }
        labels.build()
    }

    /// Forgets the labels of edges that may not come again.
    pub(super) fn forget(&mut self) {
        self.known.iter_mut().for_each(HashMap::clear);
    }
}
