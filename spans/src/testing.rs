//! Seeded OTLP for tests and benches: everything that the protocol allows, and traffic as applications send it.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A request of a few odd traces: every field and value type, roots missing or last, shared and repeated span ids,
/// spans that end before they start. The same seed gives the same request. Attribute keys are unique in each list.
pub fn odd_request(seed: u64) -> ExportTraceServiceRequest {
    Odd(SmallRng::seed_from_u64(seed)).request()
}

struct Odd(SmallRng);

impl Odd {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.random_range(0..bound)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn text(&mut self) -> String {
        const TEXTS: [&str; 8] = ["", "a", "GET /", "ключ", "鍵🔑", "with space", "line\nbreak", "service.name"];
        let number = self.below(1000);
        if self.chance(20) { format!("unique-{number}") } else { TEXTS[number as usize % TEXTS.len()].to_owned() }
    }

    fn value(&mut self, depth: u32) -> AnyValue {
        let value = match self.below(if depth == 0 { 8 } else { 10 }) {
            0 | 1 => Some(Value::StringValue(self.text())),
            2 => Some(Value::IntValue(self.0.random())),
            3 => Some(Value::IntValue(i64::from(self.below(5)))),
            4 => Some(Value::DoubleValue(f64::from(self.below(100)) / 8.0)),
            5 => Some(Value::BoolValue(self.chance(50))),
            6 => Some(Value::BytesValue(self.text().into_bytes())),
            7 => None,
            8 => Some(Value::ArrayValue(ArrayValue {
                values: (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            })),
            _ => Some(Value::KvlistValue(KeyValueList { values: self.attributes(depth - 1) })),
        };
        AnyValue { value }
    }

    fn attributes(&mut self, depth: u32) -> Vec<KeyValue> {
        (0..self.below(6))
            .map(|index| {
                let key = if self.chance(80) { format!("key.{index}") } else { format!("{}{index}", self.text()) };
                KeyValue { key, value: Some(self.value(depth)), ..Default::default() }
            })
            .collect()
    }

    fn request(&mut self) -> ExportTraceServiceRequest {
        let trace_ids: Vec<[u8; 16]> =
            (0..1 + self.below(4)).map(|_| self.0.random::<u128>().max(1).to_be_bytes()).collect();
        let resource_spans = (0..1 + self.below(3)).map(|_| self.resource_spans(&trace_ids)).collect();
        ExportTraceServiceRequest { resource_spans }
    }

    fn resource_spans(&mut self, trace_ids: &[[u8; 16]]) -> ResourceSpans {
        let mut resource = Resource {
            attributes: self.attributes(2),
            dropped_attributes_count: self.below(3),
            entity_refs: Vec::new(),
        };
        if self.chance(70) {
            let service = format!("service-{}", self.below(3));
            resource.attributes.push(KeyValue {
                key: "service.name".into(),
                value: Some(AnyValue { value: Some(Value::StringValue(service)) }),
                ..Default::default()
            });
        }
        if self.chance(10) {
            resource.entity_refs.push(EntityRef {
                r#type: "service".into(),
                id_keys: vec!["service.name".into()],
                ..Default::default()
            });
        }
        let scope_spans = (0..1 + self.below(3)).map(|_| self.scope_spans(trace_ids)).collect();
        ResourceSpans { resource: Some(resource), scope_spans, schema_url: self.text() }
    }

    fn scope_spans(&mut self, trace_ids: &[[u8; 16]]) -> ScopeSpans {
        let scope = InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(1),
            dropped_attributes_count: self.below(2),
        };
        let spans = (0..self.below(8)).map(|_| self.span(trace_ids)).collect();
        ScopeSpans { scope: Some(scope), spans, schema_url: self.text() }
    }

    fn span(&mut self, trace_ids: &[[u8; 16]]) -> Span {
        let start = 1_700_000_000_000_000_000 + u64::from(self.below(5_000_000));
        let small_id = |id: u32| u64::from(id + 1).to_be_bytes().to_vec();
        Span {
            trace_id: trace_ids[self.below(trace_ids.len() as u32) as usize].to_vec(),
            span_id: small_id(self.below(12)),
            trace_state: if self.chance(10) { "k=v".into() } else { String::new() },
            parent_span_id: if self.chance(20) { Vec::new() } else { small_id(self.below(16)) },
            flags: self.below(3) * 0x100,
            name: self.text(),
            kind: self.below(7) as i32,
            start_time_unix_nano: if self.chance(3) { self.0.random() } else { start },
            end_time_unix_nano: if self.chance(3) {
                self.0.random()
            } else {
                (start + u64::from(self.below(1_000_000))).saturating_sub(1000)
            },
            attributes: self.attributes(3),
            dropped_attributes_count: self.below(2),
            events: (0..if self.chance(30) { self.below(4) } else { 0 }).map(|_| self.event(start)).collect(),
            dropped_events_count: self.below(2),
            links: (0..if self.chance(20) { self.below(3) } else { 0 }).map(|_| self.link()).collect(),
            dropped_links_count: self.below(2),
            status: Some(Status {
                message: if self.chance(30) { self.text() } else { String::new() },
                code: self.below(4) as i32,
            }),
        }
    }

    fn event(&mut self, start: u64) -> span::Event {
        span::Event {
            time_unix_nano: (start + u64::from(self.below(1000))).saturating_sub(100),
            name: self.text(),
            attributes: self.attributes(1),
            dropped_attributes_count: self.below(2),
        }
    }

    fn link(&mut self) -> span::Link {
        let id_bytes = self.below(17) as usize;
        span::Link {
            trace_id: vec![7; id_bytes],
            span_id: vec![9; id_bytes / 2],
            trace_state: self.text(),
            attributes: self.attributes(1),
            dropped_attributes_count: self.below(2),
            flags: self.below(300),
        }
    }
}

/// A request as a collector's batch processor sends it: `traces` web requests of some twenty spans through eight
/// services, about ten attributes each. `start_nanos` is when the first begins. The same arguments give the same request.
pub fn shop_request(seed: u64, traces: usize, start_nanos: u64) -> ExportTraceServiceRequest {
    let mut shop = Shop { rng: SmallRng::seed_from_u64(seed), services: Vec::new() };
    for service in SHOP_SERVICES {
        shop.services.push((service, Vec::new()));
    }
    for index in 0..traces {
        shop.page(start_nanos + index as u64 * 1_000_000);
    }
    ExportTraceServiceRequest {
        resource_spans: shop.services.into_iter().map(|(service, spans)| shop_resource(service, spans)).collect(),
    }
}

const SHOP_SERVICES: [&str; 8] =
    ["gateway", "frontend", "cart", "checkout", "catalog", "payment", "shipping", "currency"];

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
        ..Default::default()
    }
}

fn int(key: &str, value: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::IntValue(value)) }),
        ..Default::default()
    }
}

fn shop_resource(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![
        text("service.name", service),
        text("service.version", "2.1.4"),
        text("service.namespace", "shop"),
        text("k8s.pod.name", format!("{service}-7b774997c5-0")),
        text("telemetry.sdk.language", "go"),
    ];
    let scope = InstrumentationScope { name: "otel-go".into(), version: "0.57.0".into(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    ResourceSpans { resource: Some(Resource { attributes, ..Default::default() }), scope_spans, ..Default::default() }
}

struct Shop {
    rng: SmallRng,
    services: Vec<(&'static str, Vec<Span>)>,
}

impl Shop {
    fn page(&mut self, start: u64) {
        let trace_id = self.rng.random::<u128>().max(1).to_be_bytes();
        let failed = self.rng.random_range(0..25) == 0;
        let root = self.span(0, &trace_id, Vec::new(), start, failed);
        let page = self.span(1, &trace_id, root, start + 10_000, failed);
        for call in 0..self.rng.random_range(4..12u64) {
            let service = self.rng.random_range(2..SHOP_SERVICES.len());
            let client = self.span(1, &trace_id, page.clone(), start + 20_000 + call * 500_000, false);
            self.span(service, &trace_id, client, start + 30_000 + call * 500_000, failed && call == 0);
        }
    }

    fn span(&mut self, service: usize, trace_id: &[u8; 16], parent: Vec<u8>, start: u64, failed: bool) -> Vec<u8> {
        let span_id = self.rng.random::<u64>().max(1).to_be_bytes().to_vec();
        let route = self.rng.random_range(0..30);
        let mut attributes = vec![
            text("http.request.method", "GET"),
            text("http.route", format!("/api/v1/resource-{route}")),
            text("url.full", format!("http://shop/api/v1/resource-{route}?id={}", self.rng.random_range(0..100_000))),
            int("http.response.status_code", if failed { 500 } else { 200 }),
            text("server.address", SHOP_SERVICES[service]),
            int("server.port", 8080),
            text("network.protocol.version", "1.1"),
            text("app.user.id", format!("user-{}", self.rng.random_range(0..5_000))),
            text("request.id", format!("{:032x}", self.rng.random::<u128>())),
        ];
        if service == 4 {
            attributes.push(text("db.system", "postgresql"));
        }
        let status = failed.then(|| Status { message: "upstream failed".into(), code: 2 });
        let events = failed.then(|| span::Event {
            time_unix_nano: start + 5,
            name: "exception".into(),
            attributes: vec![text("exception.type", "RpcError")],
            ..Default::default()
        });
        self.services[service].1.push(Span {
            trace_id: trace_id.to_vec(),
            span_id: span_id.clone(),
            parent_span_id: parent,
            name: format!("GET /api/v1/resource-{route}"),
            kind: if service == 1 { 3 } else { 2 },
            start_time_unix_nano: start,
            end_time_unix_nano: start + u64::from(self.rng.random_range(1_000..50_000_000u32)),
            attributes,
            events: events.into_iter().collect(),
            status,
            ..Default::default()
        });
        span_id
    }
}

/// Spans in an order and form in which two equal sets of spans are equal: each with its resource and scope, sorted;
/// attributes sorted by key; empty resources, scopes, statuses and values filled in;
/// what only profiles use (numbers of texts) left out.
pub fn canonical(resource_spans: &[ResourceSpans]) -> Vec<String> {
    let sorted = |attributes: &[KeyValue]| {
        let mut attributes = attributes.to_vec();
        attributes.sort_by(|a, b| a.key.cmp(&b.key));
        for attribute in &mut attributes {
            attribute.key_strindex = 0;
            let value = attribute.value.get_or_insert_default();
            value.value.take_if(|value| matches!(value, Value::StringValueStrindex(_)));
        }
        attributes
    };
    let mut spans = Vec::new();
    for part in resource_spans {
        let mut resource = part.resource.clone().unwrap_or_default();
        resource.attributes = sorted(&resource.attributes);
        for scope_part in &part.scope_spans {
            let mut scope = scope_part.scope.clone().unwrap_or_default();
            scope.attributes = sorted(&scope.attributes);
            for span in &scope_part.spans {
                let mut span = span.clone();
                span.attributes = sorted(&span.attributes);
                span.events.iter_mut().for_each(|event| event.attributes = sorted(&event.attributes));
                span.links.iter_mut().for_each(|link| link.attributes = sorted(&link.attributes));
                span.status.get_or_insert_default();
                spans.push(format!("{span:?} {resource:?} {} {scope:?} {}", part.schema_url, scope_part.schema_url));
            }
        }
    }
    spans.sort();
    spans
}
