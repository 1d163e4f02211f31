//! One visitor's request → the spans of its trace, and of the traces that follow from it.

mod assistant;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::random::Random;
use super::shop::{self, Operation};

/// The network between two services, one way.
const NETWORK_MS: f64 = 0.4;
const DEADLOCK: f64 = 0.004;

/// Visitors, one after the other.
pub(super) struct Visits {
    random: Random,
}

/// What is the same in a visitor's whole trace.
pub(super) struct Visitor {
    pub region: &'static str,
    pub brand: &'static str,
    pub warehouse: &'static str,
    pub tier: &'static str,
    pub client: &'static str,
    pub number: u64,
}

impl Visits {
    pub(super) fn new(random: Random) -> Self {
        Self { random }
    }

    /// The next visitor's spans, the last of which ends at a time.
    pub(super) fn next_ending_at(&mut self, end_nanos: u64) -> Vec<ResourceSpans> {
        let visitor = self.visitor();
        let operation = self.asks_for();
        let mut visit = Visit { random: &mut self.random, visitor, trace_id: Vec::new(), spans: BTreeMap::new() };
        visit.trace_id = visit.random.bytes(16);
        let served = visit.serve(operation, &[], 0);
        if operation.name == "storefront/POST /checkout" && !served.has_failed {
            visit.send_mail(&served);
        }
        visit.ending_at(end_nanos)
    }

    fn visitor(&mut self) -> Visitor {
        Visitor {
            region: self.random.one_of(&shop::REGIONS),
            brand: self.random.one_of(&shop::BRANDS),
            warehouse: self.random.one_of(&shop::WAREHOUSES),
            tier: self.random.one_of(&shop::TIERS),
            client: self.random.one_of(&shop::CLIENTS),
            number: self.random.below(5_000),
        }
    }

    fn asks_for(&mut self) -> &'static Operation {
        let mut ticket = self.random.below(shop::VISITS.iter().map(|(_, weight)| weight).sum());
        for (name, weight) in shop::VISITS {
            match (shop::find(name), ticket.checked_sub(*weight)) {
                (Some(operation), None) => return operation,
                (_, left) => ticket = left.unwrap_or_default(),
            }
        }
        &shop::OPERATIONS[0]
    }
}

/// A trace that is being made. Times begin at 0 and are moved to their place at the end.
pub(super) struct Visit<'a> {
    pub random: &'a mut Random,
    pub visitor: Visitor,
    trace_id: Vec<u8>,
    /// By service.
    spans: BTreeMap<&'static str, Vec<Span>>,
}

/// What came of an operation.
pub(super) struct Served {
    pub span_id: Vec<u8>,
    pub end: u64,
    pub has_failed: bool,
}

impl Served {
    pub(super) fn of(span: &Span, end: u64, has_failed: bool) -> Self {
        Self { span_id: span.span_id.clone(), end, has_failed }
    }
}

impl Visit<'_> {
    /// A service does an operation from `start` on.
    pub(super) fn serve(&mut self, operation: &'static Operation, parent: &[u8], start: u64) -> Served {
        let (service, method) = operation.name.split_once('/').unwrap_or((operation.name, ""));
        let mut span = self.span(method, SpanKind::Server, parent, start);
        let mut now = start + self.random.work(operation.work_ms / 2.0);
        let mut has_failed = false;
        for statement in operation.queries {
            let (end, failed) = self.query(service, statement, &span.span_id, now);
            (now, has_failed) = (end, has_failed || failed);
        }
        for together in operation.calls {
            let served: Vec<Served> = together
                .iter()
                .filter_map(|name| shop::find(name))
                .map(|callee| self.call(service, callee, &span.span_id, now))
                .collect();
            now = served.iter().map(|served| served.end).max().unwrap_or(now) + self.random.work(0.3);
            has_failed |= served.iter().any(|served| served.has_failed);
            if has_failed && method == "PlaceOrder" {
                break;
            }
        }
        if operation.name == "assistant/Answer" {
            let answered = assistant::answer(self, &span.span_id, now);
            (now, has_failed) = (answered.end, answered.has_failed);
        }
        (now, has_failed) = self.trouble(operation.name, &mut span, now, has_failed);
        let end = now + self.random.work(operation.work_ms / 2.0);
        self.describe(service, method, &mut span, has_failed);
        let span_id = span.span_id.clone();
        self.finish(service, span, end);
        Served { span_id, end, has_failed }
    }

    /// A call over the network: the caller's span and the callee's.
    pub(super) fn call(
        &mut self,
        caller: &'static str,
        callee: &'static Operation,
        parent: &[u8],
        start: u64,
    ) -> Served {
        let (service, method) = callee.name.split_once('/').unwrap_or((callee.name, ""));
        let mut span = self.span(&format!("{service}.{method}"), SpanKind::Client, parent, start);
        span.attributes = vec![
            text("rpc.system", "grpc"),
            text("rpc.service", service),
            text("rpc.method", method),
            text("server.address", service),
        ];
        let sent = start + self.random.work(NETWORK_MS);
        let served = self.serve(callee, &span.span_id, sent);
        if served.has_failed {
            span.status = failed("the call failed");
        }
        let end = served.end + self.random.work(NETWORK_MS);
        self.finish(caller, span, end);
        Served { end, ..served }
    }

    fn query(&mut self, service: &'static str, statement: &'static str, parent: &[u8], start: u64) -> (u64, bool) {
        let verb = statement.split(' ').next().unwrap_or_default();
        let mut span = self.span(&format!("{verb} {service}"), SpanKind::Client, parent, start);
        span.attributes = vec![
            text("db.system.name", "postgresql"),
            text("db.operation.name", verb),
            text("db.query.text", statement),
            text("server.address", "postgres"),
        ];
        let end = start + self.random.work(3.0);
        let has_failed = self.random.happens(DEADLOCK);
        if has_failed {
            exception(&mut span, end, "DeadlockDetected", "deadlock detected: process 4711 waits for ShareLock");
        }
        self.finish(service, span, end);
        (end, has_failed)
    }

    /// What goes wrong in an operation, and how long it takes.
    fn trouble(&mut self, operation: &str, span: &mut Span, now: u64, has_failed: bool) -> (u64, bool) {
        match operation {
            "payment/Charge" if self.visitor.brand == shop::SLOW_BRAND => {
                span.events.push(event("waiting for issuer", now, vec![text("issuer", "amex-eu")]));
                (now + self.random.work(900.0), has_failed)
            }
            "stock/Reserve" if self.visitor.warehouse == shop::FAILING_WAREHOUSE && self.random.happens(0.6) => {
                exception(span, now, "OutOfStock", "nothing left in warehouse north");
                (now, true)
            }
            "search/Query" if self.visitor.region == shop::SLOW_REGION => {
                span.events.push(event("cache miss", now, vec![text("cache", "words-us")]));
                (now + self.random.work(240.0), has_failed)
            }
            "cart/AddItem" if self.visitor.client == shop::OLD_CLIENT && self.random.happens(0.8) => {
                exception(span, now, "InvalidCart", "field \"quantity\" is missing");
                (now, true)
            }
            "recommend/Suggest" if self.random.happens(0.02) => {
                exception(span, now, "DeadlineExceeded", "no model answered within 800 ms");
                (now + self.random.work(800.0), true)
            }
            _ => (now, has_failed),
        }
    }

    fn describe(&mut self, service: &str, method: &str, span: &mut Span, has_failed: bool) {
        let visitor = &self.visitor;
        if let ("storefront", Some((verb, route))) = (service, method.split_once(' ')) {
            span.attributes.extend([
                text("http.request.method", verb),
                text("http.route", route),
                int("http.response.status_code", if has_failed { 500 } else { 200 }),
                text("user.tier", visitor.tier),
                text("user.id", &format!("user-{}", visitor.number)),
                text("user_agent.original", visitor.client),
                text("cloud.region", visitor.region),
            ]);
        } else {
            span.attributes.extend([text("rpc.system", "grpc"), text("rpc.method", method)]);
        }
        span.attributes.extend(match service {
            "payment" | "fraud" => Some(text("card.brand", visitor.brand)),
            "stock" => Some(text("warehouse", visitor.warehouse)),
            "search" => Some(text("cloud.region", visitor.region)),
            _ => None,
        });
        if has_failed && span.status.is_none() {
            span.status = failed("a call failed");
        }
    }

    /// A worker's trace of its own, linked to the order that it follows.
    fn send_mail(&mut self, order: &Served) {
        let link = Link {
            trace_id: self.trace_id.clone(),
            span_id: order.span_id.clone(),
            attributes: vec![text("messaging.system", "kafka")],
            ..Link::default()
        };
        let start = order.end + self.random.work(40.0);
        let mut span = self.span("orders process", SpanKind::Consumer, &[], start);
        span.trace_id = self.random.bytes(16);
        span.links.push(link);
        span.attributes = vec![
            text("messaging.system", "kafka"),
            text("messaging.destination.name", "orders"),
            text("messaging.operation.type", "process"),
        ];
        span.events.push(event("rendered", start + 2_000_000, vec![text("template", "order-confirmed")]));
        let end = start + self.random.work(30.0);
        self.finish("mail", span, end);
    }

    pub(super) fn span(&mut self, name: &str, kind: SpanKind, parent: &[u8], start: u64) -> Span {
        Span {
            trace_id: self.trace_id.clone(),
            span_id: self.random.bytes(8),
            parent_span_id: parent.to_vec(),
            name: name.to_owned(),
            kind: kind as i32,
            start_time_unix_nano: start,
            ..Span::default()
        }
    }

    pub(super) fn finish(&mut self, service: &'static str, mut span: Span, end: u64) {
        span.end_time_unix_nano = end;
        self.spans.entry(service).or_default().push(span);
    }

    fn ending_at(self, end_nanos: u64) -> Vec<ResourceSpans> {
        let last = self.spans.values().flatten().map(|span| span.end_time_unix_nano).max().unwrap_or_default();
        let moved = |time: &mut u64| *time = (end_nanos + *time).saturating_sub(last);
        let resource_spans = self.spans.into_iter().map(|(service, mut spans)| {
            for span in &mut spans {
                moved(&mut span.start_time_unix_nano);
                moved(&mut span.end_time_unix_nano);
                span.events.iter_mut().for_each(|event| moved(&mut event.time_unix_nano));
            }
            of_service(service, spans)
        });
        resource_spans.collect()
    }
}

fn of_service(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![
        text("service.name", service),
        text("service.namespace", "shop"),
        text("service.version", "1.4.2"),
        text("deployment.environment.name", "demo"),
        text("telemetry.sdk.language", "rust"),
    ];
    let name = if service == "assistant" { "shop-assistant" } else { "shop" };
    let scope = InstrumentationScope { name: name.to_owned(), version: "1.0.0".to_owned(), ..Default::default() };
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

pub(super) fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Any::IntValue(value))
}

pub(super) fn double(key: &str, value: f64) -> KeyValue {
    attribute(key, Any::DoubleValue(value))
}

pub(super) fn event(name: &str, time: u64, attributes: Vec<KeyValue>) -> Event {
    Event { name: name.to_owned(), time_unix_nano: time, attributes, ..Event::default() }
}

pub(super) fn failed(message: &str) -> Option<Status> {
    Some(Status { code: StatusCode::Error as i32, message: message.to_owned() })
}

/// What an SDK records of an exception that ends a span.
pub(super) fn exception(span: &mut Span, time: u64, kind: &str, message: &str) {
    let attributes = vec![text("exception.type", kind), text("exception.message", message)];
    span.events.push(event("exception", time, attributes));
    span.attributes.push(text("error.type", kind));
    span.status = failed(message);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const END: u64 = 1_700_000_000_000_000_000;

    fn visits(seed: u64, count: usize) -> Vec<ResourceSpans> {
        let mut visits = Visits::new(Random::new(seed));
        (0..count).flat_map(|_| visits.next_ending_at(END)).collect()
    }

    fn spans(resource_spans: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
        resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
    }

    #[test]
    fn a_seed_sends_the_same_visitors() {
        assert_eq!(visits(3, 20), visits(3, 20));
        assert_ne!(visits(3, 1), visits(4, 1));
    }

    #[test]
    fn the_traffic_has_what_there_is_to_look_at() {
        let sent = visits(1, 400);
        let name =
            |resource: &ResourceSpans| resource.resource.as_ref().map(|r| format!("{:?}", r.attributes[0].value));
        assert_eq!(sent.iter().filter_map(name).collect::<BTreeSet<_>>().len(), 13);
        let errors = spans(&sent).filter(|span| span.status.is_some()).count();
        assert!(errors > 50 && errors * 5 < spans(&sent).count(), "{errors} of {}", spans(&sent).count());
        let messages: BTreeSet<_> =
            spans(&sent).filter_map(|span| span.status.as_ref()).map(|status| &status.message).collect();
        assert!(messages.len() >= 6, "{messages:?}");
        assert!(spans(&sent).any(|span| !span.links.is_empty()));
        assert!(spans(&sent).any(|span| span.end_time_unix_nano - span.start_time_unix_nano > 1_000_000_000));
        let longest_text = |span: &Span| span.attributes.iter().map(prost::Message::encoded_len).max();
        assert!(spans(&sent).filter_map(longest_text).any(|bytes| bytes > 4_000), "long prompts");
    }

    #[test]
    fn traces_are_whole_and_have_ended() {
        for _ in 0..50 {
            let sent = visits(9, 1);
            let ids: BTreeSet<&[u8]> = spans(&sent).map(|span| span.span_id.as_slice()).collect();
            let parents = spans(&sent).map(|span| span.parent_span_id.as_slice()).filter(|id| !id.is_empty());
            assert!(parents.into_iter().all(|parent| ids.contains(parent)));
            assert_eq!(spans(&sent).map(|span| span.end_time_unix_nano).max(), Some(END));
            assert!(spans(&sent).all(|span| span.start_time_unix_nano <= span.end_time_unix_nano));
        }
    }
}
