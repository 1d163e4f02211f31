use std::collections::BTreeSet;

use model::TenantId;
use storage::config::GoDuration;

use super::*;
use crate::Format;
use crate::config::{Processor, TenantConfig};
use crate::generator::{Config, Generator};
use crate::testing::{START_NANOS, Sent, client, consumer, producer, server, table};

fn mapped(spans: &[Sent]) -> ServiceMap {
    let mapper = ServiceMapper::new(&ServiceGraphs::default(), 0..u64::MAX).unwrap();
    mapper.map(&table(spans), |_| true).unwrap()
}

/// Calls of every kind, two of them with an end that sends no spans.
fn calls() -> Vec<Sent> {
    vec![
        server("shop", 1, 0, 100),
        client("shop", 2, 1, 90),
        server("cart", 3, 2, 80).failed(),
        client("cart", 4, 3, 20).with("db.system.name", "redis").with("server.address", "redis-1"),
        client("cart", 5, 3, 10).with("peer.service", "rates"),
        producer("cart", 6, 3, 5),
        consumer("mail", 7, 6, 9).later(50),
        consumer("audit", 8, 6, 9).later(60).failed(),
        server("lonely", 9, 77, 3),
    ]
}

/// One line for each sample: labels as the series have them, and the value.
fn samples(map: &ServiceMap, value: impl Fn(&ConnectionStats) -> f64) -> BTreeSet<String> {
    let line = |(connection, stats): (&Connection, &ConnectionStats)| {
        let Connection { client, server, connection_type, .. } = connection;
        let kind = match *connection_type {
            "" => String::new(),
            kind => format!("connection_type=\"{kind}\","),
        };
        format!("{{client=\"{client}\",{kind}server=\"{server}\"}} {}", value(stats))
    };
    map.connections().into_iter().filter(|(_, stats)| value(stats) > 0.0).map(line).collect()
}

/// The samples above zero of a series that is made of the same spans once halves have waited.
fn generated(spans: &[Sent], name: &str) -> BTreeSet<String> {
    let processors = vec![Processor::parse("service-graphs").unwrap()];
    // less than it takes until series are stale
    let service_graphs = ServiceGraphs { wait: GoDuration::from_secs(10), ..ServiceGraphs::default() };
    let default = TenantConfig { processors, service_graphs, ..TenantConfig::default() };
    let config = Config { default, ..Config::default() };
    let generator = Generator::new(config, String::new(), START_NANOS, &mut Default::default()).unwrap();
    let now_nanos = START_NANOS + 1_000_000_000;
    generator.take(&TenantId::single(), &table(spans), now_nanos).unwrap();
    generator.tick(now_nanos + 11_000_000_000);
    let text = generator.exposition(&TenantId::single(), Format::Text);
    let lines = text.lines().filter_map(|line| line.strip_prefix(&format!("traces_service_graph_{name}{{")));
    lines.filter(|line| !line.ends_with(" 0")).map(|line| format!("{{{line}")).collect()
}

#[test]
fn the_map_of_stored_spans_says_what_their_series_say() {
    let map = mapped(&calls());
    assert_eq!(map.connections().len(), 6);
    type Value = fn(&ConnectionStats) -> f64;
    let all: [(&str, Value); 4] = [
        ("request_total", |stats| stats.requests),
        ("request_failed_total", |stats| stats.failed),
        ("request_server_seconds_sum", |stats| stats.server.sum_seconds()),
        ("request_client_seconds_sum", |stats| stats.client.sum_seconds()),
    ];
    for (name, value) in all {
        let samples = samples(&map, value);
        assert!(!samples.is_empty(), "{name}");
        assert_eq!(samples, generated(&calls(), name), "{name}");
    }
}

#[test]
fn only_columns_that_the_settings_make_use_of_are_read() {
    let columns = |config: &ServiceGraphs| ServiceMapper::new(config, 0..1).unwrap().columns().clone();
    let plain = columns(&ServiceGraphs::default());
    assert!([column::NAME, column::TRACE_STATE, column::ATTRIBUTES].iter().all(|name| !plain.columns.contains(name)));
    let policies = r#"[{"exclude": {"match_type": "strict", "attributes": [
        {"key": "name", "value": "ping"}, {"key": "span.http.route", "value": "/"}, {"key": "resource.a", "value": "b"}]}}]"#;
    let filtering = ServiceGraphs {
        filter_policies: serde_json::from_str(policies).unwrap(),
        enable_tracestate_span_multiplier: true,
        ..ServiceGraphs::default()
    };
    let more = columns(&filtering);
    assert_eq!(
        more.columns.difference(&plain.columns).copied().collect::<Vec<_>>(),
        [column::NAME, column::TRACE_STATE]
    );
    assert_eq!(more.attributes.difference(&plain.attributes).collect::<Vec<_>>(), ["http.route"]);
}

#[test]
fn nodes_sum_up_what_was_asked_of_them() {
    let nodes = mapped(&calls()).nodes();
    let shown: Vec<_> = nodes.iter().map(|node| (&*node.name, node.kind, node.requests, node.failed)).collect();
    assert_eq!(
        shown,
        [
            ("audit", NodeKind::Service, 1.0, 1.0),
            ("cart", NodeKind::Service, 1.0, 1.0),
            ("mail", NodeKind::Service, 1.0, 0.0),
            ("rates", NodeKind::Virtual, 1.0, 0.0),
            ("redis-1", NodeKind::Database, 1.0, 0.0),
            ("shop", NodeKind::Service, 1.0, 0.0),
            ("user", NodeKind::Virtual, 0.0, 0.0),
        ]
    );
}

#[test]
fn a_call_counts_where_its_last_span_ends() {
    let spans = [client("shop", 2, 1, 90), server("cart", 3, 2, 120)];
    let millis = |millis: u64| START_NANOS + millis * 1_000_000;
    for (range, requests) in [(0..millis(120), 0), (millis(91)..millis(121), 1), (millis(121)..u64::MAX, 0)] {
        let mapper = ServiceMapper::new(&ServiceGraphs::default(), range.clone()).unwrap();
        assert_eq!(mapper.map(&table(&spans), |_| true).unwrap().connections().len(), requests, "{range:?}");
    }
}

#[test]
fn a_call_is_wanted_when_one_of_its_ends_is() {
    let mapper = ServiceMapper::new(&ServiceGraphs::default(), 0..u64::MAX).unwrap();
    let map = mapper.map(&table(&calls()), |row| row == 2).unwrap();
    // the third row is the server span of the cart
    assert_eq!(
        samples(&map, |stats| stats.requests),
        BTreeSet::from([r#"{client="shop",server="cart"} 1"#.to_owned()])
    );
}

#[test]
fn maps_add_up() {
    let mut map = mapped(&calls());
    map.merge(mapped(&calls()));
    let (cart, redis) = (map.connections()[0], map.nodes()[4].clone());
    assert_eq!((cart.1.requests, cart.1.server.count()), (2.0, cart.1.server.count()));
    assert_eq!((redis.requests, redis.server.count()), (2.0, 2.0));
    assert!(map.memory_bytes() > mapped(&[server("shop", 1, 0, 1)]).memory_bytes());
}
