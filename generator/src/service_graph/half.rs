//! One end of a call, read from the columns of a table.

use hashbrown::HashMap;

use crate::columns::{MOST_WANTED_KEYS, Spans, Value, WantedKeys, place_of};
use crate::config::ServiceGraphs;
use crate::error::Error;
use crate::interner::{Interner, ListId, TextId};
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

/// What is known of one end of a call. Its texts are those of the interner of the pairing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Half {
    pub kind: i32,
    pub failed: bool,
    pub service: TextId,
    /// Who is at the other end, by the attributes of this span.
    pub peer: Option<TextId>,
    /// The database that is called.
    pub database: Option<TextId>,
    /// Values of the dimensions, by their place.
    pub dimensions: ListId,
    pub seconds: f64,
    /// The end of a client span, the start of a server span.
    pub handover_nanos: u64,
    pub weight: f64,
    pub span: SpanAt,
}

impl Half {
    /// The same half with texts of another interner.
    pub(super) fn moved(mut self, from: &Interner, to: &mut Interner, dimensions: usize) -> Self {
        self.service = to.shared(from.get(self.service));
        self.peer = self.peer.map(|text| to.shared(from.get(text)));
        self.database = self.database.map(|text| to.shared(from.get(text)));
        if self.dimensions != ListId::default() {
            let of_list = |place| from.of_list(self.dimensions, place).map(|text| to.shared(from.get(text)));
            let list: Vec<_> = (0..dimensions).map(of_list).collect();
            self.dimensions = to.list(&list);
        }
        self
    }
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

/// Reads the halves of one table.
pub(super) struct HalfReader<'a, 'k> {
    spans: &'a Spans<'a>,
    keys: &'k Keys,
    multiplier: Multiplier<'k>,
    wanted: WantedKeys<'k>,
    values: Vec<Option<Value>>,
    /// Values of spans that were met before.
    known: HashMap<Value, TextId>,
    /// Services by resource; none for a resource that names none.
    services: Vec<Option<TextId>>,
    /// Values of resources, by resource and place.
    of_resources: Vec<Option<TextId>>,
    /// Addresses with their ports.
    hosts: HashMap<(TextId, TextId), TextId>,
    list: Vec<Option<TextId>>,
}

impl<'a, 'k> HalfReader<'a, 'k> {
    pub(super) fn new(spans: &'a Spans<'a>, keys: &'k Keys, config: &'k ServiceGraphs, texts: &mut Interner) -> Self {
        let name = |name: &Option<&str>| name.filter(|name| !name.is_empty()).map(|name| texts.text(name));
        let services = spans.service_names.iter().map(name).collect();
        let (attributes, mut values) = (&spans.resource_attributes, Vec::new());
        let mut wanted = WantedKeys::new(&keys.keys, attributes);
        let mut of_resources = Vec::with_capacity(spans.service_names.len() * keys.keys.len());
        for resource in 0..spans.service_names.len() {
            wanted.find(attributes, resource, &mut values);
            of_resources.extend(values.iter().map(|value| value.map(|value| texts.text(&attributes.text(value)))));
        }
        let multiplier =
            Multiplier { key: &config.span_multiplier_key, of_trace_state: config.enable_tracestate_span_multiplier };
        let (known, hosts, list) = Default::default();
        let wanted = WantedKeys::new(&keys.keys, &spans.attributes);
        Self { spans, keys, multiplier, wanted, values, known, services, of_resources, hosts, list }
    }

    /// The service of a row; none for a span of which nobody knows whose it is.
    pub(super) fn service(&self, row: usize) -> Option<TextId> {
        self.services[self.spans.resources[row] as usize]
    }

    /// The half of a client or server span of a service.
    pub(super) fn read(&mut self, service: TextId, row: usize, trace: usize, side: Side, texts: &mut Interner) -> Half {
        self.wanted.find(&self.spans.attributes, row, &mut self.values);
        let resource = self.spans.resources[row] as usize;
        let database = if side == Side::Client { self.database(resource, texts) } else { None };
        let (peer, dimensions) = (self.peer(texts), self.dimensions(resource, texts));
        let spans = self.spans;
        let end_nanos = spans.end_nanos(row, trace);
        Half {
            kind: spans.kinds[row],
            failed: spans.status_codes[row] == STATUS_ERROR,
            service,
            peer,
            database,
            dimensions,
            seconds: spans.seconds(row),
            handover_nanos: match side {
                Side::Client => end_nanos,
                Side::Server => spans.start_nanos(row, trace),
            },
            weight: self.multiplier.of(spans, row),
            span: SpanAt { row, end_nanos },
        }
    }

    fn of_span(&mut self, place: usize, texts: &mut Interner) -> Option<TextId> {
        let (value, attributes) = (self.values[place]?, &self.spans.attributes);
        Some(*self.known.entry(value).or_insert_with(|| texts.text(&attributes.text(value))))
    }

    /// The resource says first what an attribute is.
    fn of_both(&mut self, place: usize, resource: usize, texts: &mut Interner) -> Option<TextId> {
        self.of_resources[resource * self.keys.keys.len() + place].or_else(|| self.of_span(place, texts))
    }

    fn peer(&mut self, texts: &mut Interner) -> Option<TextId> {
        let keys = self.keys;
        let peer = keys.peers.iter().find_map(|&place| self.of_span(place, texts));
        peer.filter(|peer| !texts.get(*peer).is_empty())
    }

    fn dimensions(&mut self, resource: usize, texts: &mut Interner) -> ListId {
        let keys = self.keys;
        if keys.dimensions.is_empty() {
            return ListId::default();
        }
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        list.extend(keys.dimensions.iter().map(|&place| self.of_both(place, resource, texts)));
        let id = texts.list(&list);
        self.list = list;
        id
    }

    /// What a database is called, if the span calls one.
    fn database(&mut self, resource: usize, texts: &mut Interner) -> Option<TextId> {
        let Keys { databases, database_hosts: [peer, server, address, port], .. } = self.keys;
        let name = databases.iter().find_map(|&place| self.of_both(place, resource, texts))?;
        let host = self.of_both(*peer, resource, texts).or_else(|| self.of_both(*server, resource, texts));
        let called = host.or_else(|| {
            let address = self.of_both(*address, resource, texts)?;
            let Some(port) = self.of_both(*port, resource, texts) else { return Some(address) };
            let with_port = || texts.text(&format!("{}:{}", texts.get(address), texts.get(port)));
            Some(*self.hosts.entry((address, port)).or_insert_with(with_port))
        });
        Some(called.unwrap_or(name)).filter(|called| !texts.get(*called).is_empty())
    }
}
