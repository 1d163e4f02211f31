//! One end of a call, read from the columns of a table.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::columns::{MOST_WANTED_KEYS, Spans, Value, WantedKeys, place_of};
use crate::config::ServiceGraphs;
use crate::error::Error;
use crate::multiplier::Multiplier;
use crate::names::{CLIENT, CONSUMER, PRODUCER, SERVER, STATUS_ERROR};

/// Which span of a call calls the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn of(kind: i32) -> Option<Self> {
        match kind {
            CLIENT | PRODUCER => Some(Self::Client),
            SERVER | CONSUMER => Some(Self::Server),
            _ => None,
        }
    }
}

/// What is known of one end of a call.
#[derive(Debug, Clone)]
pub(crate) struct Half {
    pub kind: i32,
    pub service: Arc<str>,
    pub seconds: f64,
    /// The end of a client span, the start of a server span.
    pub handover_nanos: u64,
    pub failed: bool,
    pub weight: f64,
    /// Who is at the other end, by the attributes of this span.
    pub peer: Option<Arc<str>>,
    /// The database that is called.
    pub database: Option<Arc<str>>,
    /// Values of the dimensions, by their place.
    pub dimensions: Box<[Option<Arc<str>>]>,
    pub span: SpanAt,
}

/// The span of a half.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SpanAt {
    /// In the table that it was read from; says nothing once the half has waited for another table.
    pub row: usize,
    pub end_nanos: u64,
}

/// Name a database's host, in this order; the last goes with the one before.
const DATABASE_HOSTS: [&str; 4] = ["peer.service", "server.address", "network.peer.address", "network.peer.port"];

/// The attributes that halves are made from, and the places of those that say one thing.
pub(super) struct Keys {
    keys: Vec<String>,
    dimensions: Vec<usize>,
    peers: Vec<usize>,
    databases: Vec<usize>,
    database_hosts: [usize; DATABASE_HOSTS.len()],
}

impl Keys {
    /// The attributes of spans that halves are made from.
    pub(super) fn attributes(&self) -> &[String] {
        &self.keys
    }

    /// # Errors
    /// [`Error::Config`] when there are too many.
    pub(super) fn new(config: &ServiceGraphs) -> Result<Self, Error> {
        let mut keys = Vec::new();
        let mut places = |names: &[String]| names.iter().map(|key| place_of(&mut keys, key)).collect();
        let (dimensions, peers) = (places(&config.dimensions), places(&config.peer_attributes));
        let databases = places(&config.database_name_attributes);
        let database_hosts = DATABASE_HOSTS.map(|key| place_of(&mut keys, key));
        if keys.len() > MOST_WANTED_KEYS {
            let reason = format!("{} attributes are wanted, at most {MOST_WANTED_KEYS} can be", keys.len());
            return Err(Error::Config { key: "service_graphs.dimensions", reason });
        }
        Ok(Self { keys, dimensions, peers, databases, database_hosts })
    }
}

/// Texts that halves share. Beyond a number, sharing starts anew.
#[derive(Default)]
pub(super) struct SharedTexts(HashSet<Arc<str>>);

const MOST_SHARED_TEXTS: usize = 10_000;

impl SharedTexts {
    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(text) {
            return shared.clone();
        }
        if self.0.len() >= MOST_SHARED_TEXTS {
            self.0.clear();
        }
        let shared: Arc<str> = text.into();
        self.0.insert(shared.clone());
        shared
    }
}

/// Reads the halves of one table.
pub(super) struct HalfReader<'a, 'k> {
    spans: &'a Spans<'a>,
    keys: &'k Keys,
    multiplier: Multiplier<'k>,
    wanted: WantedKeys<'k>,
    values: Vec<Option<Value>>,
    /// Values of resources, by resource and place.
    of_resources: Vec<Option<Arc<str>>>,
}

impl<'a, 'k> HalfReader<'a, 'k> {
    pub(super) fn new(
        spans: &'a Spans<'a>,
        keys: &'k Keys,
        config: &'k ServiceGraphs,
        texts: &mut SharedTexts,
    ) -> Self {
        let resources = 0..spans.service_names.len();
        let of_resource = |resource| {
            let attributes = &spans.resource_attributes;
            keys.keys.iter().map(move |key| attributes.find(resource, key))
        };
        let of_resources = resources.flat_map(of_resource).map(|text| text.map(|text| texts.get(&text))).collect();
        let multiplier =
            Multiplier { key: &config.span_multiplier_key, of_trace_state: config.enable_tracestate_span_multiplier };
        let wanted = WantedKeys::new(&keys.keys, &spans.attributes);
        Self { spans, keys, multiplier, wanted, values: Vec::new(), of_resources }
    }

    /// The half of a client or server span.
    pub(super) fn read(&mut self, trace: usize, row: usize, side: Side, texts: &mut SharedTexts) -> Half {
        self.wanted.find(&self.spans.attributes, row, &mut self.values);
        let Self { spans, keys: Keys { dimensions, peers, .. }, .. } = *self;
        let resource = spans.resources[row] as usize;
        let database = if side == Side::Client { self.database(resource, texts) } else { None };
        Half {
            kind: spans.kinds[row],
            service: texts.get(spans.service_names[resource].unwrap_or_default()),
            seconds: spans.seconds(row),
            handover_nanos: match side {
                Side::Client => spans.end_nanos(row, trace),
                Side::Server => spans.start_nanos(row, trace),
            },
            failed: spans.status_codes[row] == STATUS_ERROR,
            weight: self.multiplier.of(spans, row),
            peer: peers.iter().find_map(|&place| self.of_span(place, texts)).filter(|peer| !peer.is_empty()),
            database: database.filter(|name| !name.is_empty()),
            dimensions: dimensions.iter().map(|&place| self.of_both(place, resource, texts)).collect(),
            span: SpanAt { row, end_nanos: spans.end_nanos(row, trace) },
        }
    }

    fn of_span(&self, place: usize, texts: &mut SharedTexts) -> Option<Arc<str>> {
        self.values[place].map(|value| texts.get(&self.spans.attributes.text(value)))
    }

    /// The resource says first what an attribute is.
    fn of_both(&self, place: usize, resource: usize, texts: &mut SharedTexts) -> Option<Arc<str>> {
        let of_resource = self.of_resources[resource * self.keys.keys.len() + place].clone();
        of_resource.or_else(|| self.of_span(place, texts))
    }

    /// What a database is called, if the span calls one.
    fn database(&self, resource: usize, texts: &mut SharedTexts) -> Option<Arc<str>> {
        let Keys { databases, database_hosts, .. } = self.keys;
        let name = databases.iter().find_map(|&place| self.of_both(place, resource, texts))?;
        let mut host = |which: usize| self.of_both(database_hosts[which], resource, texts);
        if let Some(host) = host(0).or_else(|| host(1)) {
            return Some(host);
        }
        Some(match (host(2), host(3)) {
            (Some(address), Some(port)) => texts.get(&format!("{address}:{port}")),
            (Some(address), None) => address,
            (None, _) => name,
        })
    }
}
