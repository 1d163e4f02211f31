mod counting;
mod keys;

use std::time::Duration;

use model::TenantId;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::*;
use crate::config::{DimensionMapping, NameFolding, Processor};
use crate::limits::Limits;
use crate::testing::{START_NANOS, Sent, client, consumer, producer, server, table};

const NOW: u64 = START_NANOS + 1_000_000_000;
const MINUTE: u64 = 60_000_000_000;

fn config(processors: &[&str]) -> TenantConfig {
    let processors = processors.iter().map(|name| Processor::parse(name).unwrap()).collect();
    TenantConfig { processors, ..TenantConfig::default() }
}

/// A generator that is shown tables, and the lines that a scraper would read.
struct Shown {
    generator: Generator,
    registry: prometheus_client::registry::Registry,
}

impl Shown {
    fn new(config: TenantConfig) -> Self {
        let mut registry = Default::default();
        let config = Config { default: config, ..Config::default() };
        Self { generator: Generator::new(config, "here".to_owned(), START_NANOS, &mut registry).unwrap(), registry }
    }

    fn take_at(&self, now_nanos: u64, spans: &[Sent]) -> &Self {
        self.generator.take(&TenantId::single(), &table(spans), now_nanos).unwrap();
        self
    }

    fn take(&self, spans: &[Sent]) -> &Self {
        self.take_at(NOW, spans)
    }

    fn tick_at(&self, now_nanos: u64) -> &Self {
        self.generator.tick(now_nanos);
        self
    }

    /// The samples whose names start so, in order.
    fn samples(&self, prefix: &str) -> Vec<String> {
        let text = self.generator.exposition(&TenantId::single(), Format::Text);
        let mut lines: Vec<String> = text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn own(&self, prefix: &str) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }
}

fn span_metrics() -> Shown {
    Shown::new(config(&["span-metrics"]))
}

fn service_graph() -> Shown {
    Shown::new(config(&["service-graphs"]))
}

const REQUESTS: &str = "traces_service_graph_request_total";

#[test]
fn nothing_is_generated_unless_it_is_switched_on() {
    let shown = Shown::new(config(&[]));
    shown.take(&[server("shop", 1, 0, 5)]);
    assert_eq!(shown.samples(""), Vec::<String>::new());
}

#[test]
fn calls_durations_and_sizes_are_counted_by_service_operation_kind_and_status() {
    let shown = span_metrics();
    shown.take(&[server("shop", 1, 0, 5), server("shop", 2, 1, 40).failed(), client("shop", 3, 1, 1)]);
    let labels = |kind, status| {
        format!(r#"{{service="shop",span_kind="SPAN_KIND_{kind}",span_name="op",status_code="STATUS_CODE_{status}"}}"#)
    };
    assert_eq!(
        shown.samples("traces_spanmetrics_calls_total"),
        [("CLIENT", "UNSET"), ("SERVER", "ERROR"), ("SERVER", "UNSET")]
            .map(|(kind, status)| format!("traces_spanmetrics_calls_total{} 1", labels(kind, status)))
    );
    assert_eq!(
        shown.samples("traces_spanmetrics_latency_sum"),
        [("CLIENT", "UNSET", 0.001), ("SERVER", "ERROR", 0.04), ("SERVER", "UNSET", 0.005)]
            .map(|(kind, status, sum)| format!("traces_spanmetrics_latency_sum{} {sum}", labels(kind, status)))
    );
    let buckets = shown.samples("traces_spanmetrics_latency_bucket{service=\"shop\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"op\",status_code=\"STATUS_CODE_UNSET\"");
    let counts: Vec<&str> = buckets.iter().filter_map(|line| line.split("le=").nth(1)).collect();
    assert_eq!(counts.len(), 15);
    assert!(counts.contains(&"\"0.004\"} 0") && counts.contains(&"\"0.008\"} 1") && counts.contains(&"\"16.384\"} 1"));
    assert_eq!(shown.samples("traces_spanmetrics_size_total").len(), 3);
}

#[test]
fn a_span_that_is_sent_again_counts_once() {
    let shown = span_metrics();
    let sent = server("shop", 1, 0, 5);
    shown.take(&[sent.clone(), sent.clone()]).take(std::slice::from_ref(&sent)).take_at(NOW + 2 * MINUTE, &[sent]);
    assert!(shown.samples("traces_spanmetrics_calls_total")[0].ends_with(" 1"));
    assert_eq!(
        shown.own("tempo_metrics_generator_spans_discarded"),
        [r#"tempo_metrics_generator_spans_discarded_total{tenant="single-tenant",reason="copy"} 2"#]
    );
}

#[test]
fn spans_of_another_time_are_left_out_and_counted() {
    let shown = span_metrics();
    shown.take(&[server("shop", 1, 0, 5).later(-11 * 60_000), server("shop", 2, 0, 5).later(11 * 60_000)]);
    assert_eq!(shown.samples("traces_spanmetrics_calls_total"), Vec::<String>::new());
    let own = shown.own("tempo_metrics_generator_spans_discarded");
    assert!(own[0].ends_with(r#"reason="outside_metrics_ingestion_slack"} 2"#), "{own:?}");
}

#[test]
fn a_span_that_ends_before_it_starts_takes_no_time() {
    let shown = span_metrics();
    let mut sent = server("shop", 1, 0, 5);
    sent.span.end_time_unix_nano = START_NANOS - 7;
    shown.take(&[sent]);
    assert!(shown.samples("traces_spanmetrics_latency_sum")[0].ends_with(" 0"));
}

#[test]
fn attributes_of_resources_and_spans_become_labels() {
    let mut config = config(&["span-metrics-count"]);
    let dimensions = ["http.status_code", "region", "span.name", "absent"];
    config.span_metrics.dimensions = dimensions.map(str::to_owned).to_vec();
    config.span_metrics.dimension_mappings = vec![DimensionMapping {
        name: "where".to_owned(),
        source_labels: vec!["region".to_owned(), "zone".to_owned(), "none".to_owned()],
        join: "/".to_owned(),
    }];
    config.span_metrics.intrinsic_dimensions.span_kind = false;
    let shown = Shown::new(config);
    let sent = server("shop", 1, 0, 5).with("region", "of the span").with("zone", "b").with("span.name", "x");
    shown.take(&[sent.with_value("http.status_code", Value::IntValue(204)).of_resource("region", "eu")]);
    assert_eq!(
        shown.samples("traces_spanmetrics"),
        [
            r#"traces_spanmetrics_calls_total{__span_name="x",http_status_code="204",region="eu",service="shop",span_name="op",status_code="STATUS_CODE_UNSET",where="eu/b"} 1"#
        ]
    );
}

#[test]
fn target_info_tells_the_attributes_of_a_resource_and_ties_them_by_job_and_instance() {
    let mut config = config(&["span-metrics-count"]);
    config.span_metrics.enable_target_info = true;
    config.span_metrics.target_info_excluded_dimensions = vec!["secret".to_owned()];
    let shown = Shown::new(config);
    let sent = server("shop", 1, 0, 5).of_resource("service.namespace", "prod").of_resource("secret", "x");
    shown.take(&[sent.of_resource("service.instance.id", "i-1").of_resource("cloud.region", "eu")]);
    assert_eq!(
        shown.samples("traces_target_info"),
        [r#"traces_target_info{cloud_region="eu",instance="i-1",job="prod/shop"} 1"#]
    );
    let calls = shown.samples("traces_spanmetrics_calls_total");
    assert!(calls[0].contains(r#"instance="i-1",job="prod/shop""#), "{calls:?}");
    // a resource that says nothing beside who it is has none
    shown.take(&[server("bare", 2, 0, 5)]);
    assert_eq!(shown.samples("traces_target_info").len(), 1);
}

#[test]
fn hosts_are_told() {
    let shown = Shown::new(config(&["host-info"]));
    shown.take(&[server("shop", 1, 0, 5).of_resource("host.id", "h-7")]);
    assert_eq!(
        shown.samples(""),
        [
            "# HELP traces_host_info Hosts that send spans.",
            "# TYPE traces_host_info gauge",
            r#"traces_host_info{grafana_host_id="h-7",host_source="host.id"} 1"#,
        ]
    );
}

#[test]
fn a_sampled_span_counts_as_many_as_it_stands_for() {
    let mut config = config(&["span-metrics-count"]);
    config.span_metrics.span_multiplier_key = "sampling.ratio".to_owned();
    config.span_metrics.enable_tracestate_span_multiplier = true;
    let shown = Shown::new(config);
    let mut with_state = server("shop", 2, 0, 5);
    with_state.span.trace_state = "ot=th:8".to_owned();
    let with_ratio = server("shop", 1, 0, 5).with_value("sampling.ratio", Value::DoubleValue(0.1));
    shown.take(&[with_ratio, with_state, server("shop", 3, 0, 5)]);
    assert!(shown.samples("traces_spanmetrics_calls_total")[0].ends_with(" 13"));
}

#[test]
fn filter_policies_choose_spans() {
    let policies = [
        (
            r#"[{"include": {"match_type": "strict", "attributes": [{"key": "kind", "value": "SPAN_KIND_SERVER"}]}}]"#,
            "b d",
        ),
        (r#"[{"exclude": {"match_type": "regex", "attributes": [{"key": "name", "value": "^[ab]$"}]}}]"#, "c d"),
        (r#"[{"include_any": {"match_type": "strict", "attributes": [{"key": "span.code", "value": 7}]}}]"#, "c"),
        (
            r#"[{"include_any": {"match_type": "strict", "attributes": [{"key": "span.code", "value": 7}]}},
                {"include": {"match_type": "strict", "attributes": [{"key": "resource.service.name", "value": "two"}]}}]"#,
            "c d",
        ),
    ];
    for (policies, expected) in policies {
        let mut config = config(&["span-metrics-count"]);
        config.span_metrics.filter_policies = serde_json::from_str(policies).unwrap();
        let shown = Shown::new(config);
        shown.take(&[
            client("one", 1, 0, 1).named("a"),
            server("one", 2, 0, 1).named("b"),
            client("one", 3, 0, 1).named("c").with_value("code", Value::IntValue(7)),
            server("two", 4, 0, 1).named("d"),
        ]);
        let samples = shown.samples("traces_spanmetrics_calls_total");
        let names: Vec<&str> =
            samples.iter().map(|line| line.split("span_name=\"").nth(1).unwrap().split('"').next().unwrap()).collect();
        let mut names = names;
        names.sort_unstable();
        assert_eq!(names.join(" "), expected, "{policies}");
    }
}

#[test]
fn both_halves_of_a_call_make_an_edge_in_one_table_and_in_two_in_any_order() {
    let halves = [client("shop", 2, 1, 30), server("stock", 3, 2, 20).failed()];
    for order in [vec![vec![0, 1]], vec![vec![0], vec![1]], vec![vec![1], vec![0]]] {
        let shown = service_graph();
        for (minute, table) in order.iter().enumerate() {
            let spans: Vec<Sent> = table.iter().map(|&half: &usize| halves[half].clone()).collect();
            shown.take_at(NOW + minute as u64 * 5 * MINUTE, &spans);
        }
        assert_eq!(shown.samples(REQUESTS), [r#"traces_service_graph_request_total{client="shop",server="stock"} 1"#]);
        let failed = r#"traces_service_graph_request_failed_total{client="shop",server="stock"} 1"#;
        assert_eq!(shown.samples("traces_service_graph_request_failed_total"), [failed]);
        let sums = ["client_seconds_sum", "server_seconds_sum"].map(|name| {
            let samples = shown.samples(&format!("traces_service_graph_request_{name}"));
            samples[0].rsplit(' ').next().unwrap().to_owned()
        });
        assert_eq!(sums, ["0.03", "0.02"]);
        shown.tick_at(NOW + 30 * MINUTE);
        assert_eq!(
            shown.own("tempo_metrics_generator_processor_service_graphs_expired"),
            [r#"tempo_metrics_generator_processor_service_graphs_expired_edges_total{tenant="single-tenant"} 0"#]
        );
    }
}

#[test]
fn a_half_that_is_sent_twice_makes_one_edge() {
    let shown = service_graph();
    let (client, server) = (client("shop", 2, 1, 30), server("stock", 3, 2, 20));
    shown.take(std::slice::from_ref(&client)).take(&[client.clone(), server.clone()]).take(&[server]);
    assert!(shown.samples(REQUESTS)[0].ends_with(" 1"));
    assert_eq!(shown.samples(REQUESTS).len(), 1);
}

#[test]
fn a_root_is_called_by_a_user_and_a_client_with_a_peer_calls_it_once_it_has_waited() {
    let shown = service_graph();
    shown.take(&[
        server("shop", 1, 0, 9),
        client("shop", 2, 1, 5).with("peer.service", "bank"),
        client("shop", 3, 1, 5),
    ]);
    let user = r#"traces_service_graph_request_total{client="user",connection_type="virtual_node",server="shop"} 1"#;
    assert_eq!(shown.samples(REQUESTS), [user]);
    shown.tick_at(NOW + 9 * MINUTE);
    assert_eq!(shown.samples(REQUESTS), [user]);
    shown.tick_at(NOW + 10 * MINUTE);
    let bank = r#"traces_service_graph_request_total{client="shop",connection_type="virtual_node",server="bank"} 1"#;
    assert_eq!(shown.samples(REQUESTS), [bank, user]);
    let expired = shown.own("tempo_metrics_generator_processor_service_graphs_expired");
    assert!(expired[0].ends_with(" 1"), "{expired:?}");
}

#[test]
fn a_database_is_an_edge_at_once_named_by_its_host_or_itself() {
    let shown = service_graph();
    let db = |id| client("shop", id, 1, 5).with("db.system", "postgresql").with("db.name", "orders");
    shown.take(&[
        db(2),
        db(3).with("server.address", "pg.local"),
        db(4).with("network.peer.address", "10.0.0.1").with_value("network.peer.port", Value::IntValue(5432)),
        client("shop", 5, 1, 5).with("db.system.name", "redis"),
    ]);
    let edge = |server: &str| {
        format!(r#"traces_service_graph_request_total{{client="shop",connection_type="database",server="{server}"}} 1"#)
    };
    assert_eq!(shown.samples(REQUESTS), ["10.0.0.1:5432", "orders", "pg.local", "redis"].map(edge));
    let sums = shown.samples("traces_service_graph_request_server_seconds_sum");
    assert!(sums.len() == 4 && sums.iter().all(|line| line.ends_with(" 0.005")), "{sums:?}");
}

#[test]
fn every_receiver_of_a_message_is_an_edge_and_clocks_that_run_apart_give_no_time() {
    let mut config = config(&["service-graphs"]);
    config.service_graphs.enable_messaging_system_latency_histogram = true;
    let shown = Shown::new(config);
    shown.take(&[producer("shop", 2, 1, 10), consumer("mail", 3, 2, 5).later(30)]);
    shown.take(&[consumer("audit", 4, 2, 5).later(-50)]);
    let edge = |server| {
        format!(
            r#"traces_service_graph_request_total{{client="shop",connection_type="messaging_system",server="{server}"}} 1"#
        )
    };
    assert_eq!(shown.samples(REQUESTS), ["audit", "mail"].map(edge));
    let sums = shown.samples("traces_service_graph_request_messaging_system_seconds_sum");
    assert_eq!(sums.len(), 1);
    assert!(sums[0].ends_with(r#"server="mail"} 0.02"#), "{sums:?}");
}

#[test]
fn dimensions_of_edges_come_from_either_end_or_from_both_with_a_prefix() {
    let spans = [client("shop", 2, 1, 30).with("team", "a"), server("stock", 3, 2, 20).with("team", "b")];
    for (has_prefix, labels) in [
        (false, r#"client="shop",server="stock",team="b""#),
        (true, r#"client="shop",client_team="a",server="stock",server_team="b""#),
    ] {
        let mut config = config(&["service-graphs-request", "service-graphs-connection-info"]);
        config.service_graphs.dimensions = vec!["team".to_owned()];
        config.service_graphs.enable_client_server_prefix = has_prefix;
        let shown = Shown::new(config);
        shown.take(&spans);
        assert_eq!(
            shown.samples("traces_service"),
            [
                format!("traces_service_graph_connection_info{{{labels}}} 1"),
                format!("traces_service_graph_request_total{{{labels}}} 1"),
            ]
        );
    }
}

#[test]
fn too_many_halves_have_the_oldest_wait_no_longer() {
    let mut config = config(&["service-graphs"]);
    config.service_graphs.max_items = 2;
    let shown = Shown::new(config);
    let call = |id| client("shop", id, 1, 5).with("peer.service", "bank");
    shown.take(&[call(2)]).take(&[call(3)]).take(&[call(4)]).take(&[call(5)]);
    assert!(shown.samples(REQUESTS)[0].ends_with(" 2"), "{:?}", shown.samples(REQUESTS));
    assert!(shown.own("tempo_metrics_generator_processor_service_graphs_crowded_out")[0].ends_with(" 2"));
    assert!(shown.own("mosso_metrics_generator_waiting_halves")[0].ends_with(" 2"));
}

#[test]
fn beyond_the_limit_of_series_all_else_is_one_and_counted() {
    let limits = Limits { max_active_series: 2, ..Limits::default() };
    let shown = Shown::new(TenantConfig { limits, ..config(&["span-metrics-count"]) });
    let spans: Vec<Sent> = (1..=5).map(|id| server("shop", id, 0, 5).named(&format!("GET /{id}"))).collect();
    shown.take(&spans);
    let samples = shown.samples("traces_spanmetrics_calls_total");
    assert_eq!(samples.len(), 3);
    assert_eq!(samples[0], r#"traces_spanmetrics_calls_total{metric_overflow="true"} 3"#);
    assert!(shown.own("tempo_metrics_generator_registry_series_limited")[0].ends_with(" 3"));
    // a stale series makes room
    shown.tick_at(NOW + 16 * MINUTE);
    assert_eq!(shown.samples("traces_spanmetrics_calls_total"), Vec::<String>::new());
    shown.take_at(NOW + 16 * MINUTE, &[server("shop", 9, 0, 5).later(16 * 60_000)]);
    assert!(shown.samples("traces_spanmetrics_calls_total")[0].contains("service=\"shop\""));
}

#[test]
fn beyond_the_limit_of_a_label_its_values_are_one_and_counted() {
    let limits = Limits { max_cardinality_per_label: 2, ..Limits::default() };
    let shown = Shown::new(TenantConfig { limits, ..config(&["span-metrics-count"]) });
    let spans: Vec<Sent> = (1..=4).map(|id| server("shop", id, 0, 5).named(&format!("GET /{id}"))).collect();
    shown.take(&spans);
    let samples = shown.samples("traces_spanmetrics_calls_total");
    assert_eq!(samples.len(), 3);
    assert!(samples.iter().any(|line| line.contains("span_name=\"__cardinality_overflow__\"") && line.ends_with(" 2")));
    let own = shown.own("tempo_metrics_generator_registry_label_values_limited");
    assert!(own[0].ends_with(r#"label_name="span_name"} 2"#), "{own:?}");
}

#[test]
fn a_scraper_that_reads_openmetrics_gets_exemplars_and_start_times() {
    let shown = span_metrics();
    shown.take(&[server("shop", 1, 0, 5)]);
    let text = shown.generator.exposition(&TenantId::single(), Format::OpenMetrics);
    assert!(text.contains("le=\"0.008\"} 1 # {traceID=\"1\"} 0.005\n"), "{text}");
    assert!(text.contains("# TYPE traces_spanmetrics_calls counter\ntraces_spanmetrics_calls_total{"), "{text}");
    assert!(text.contains("traces_spanmetrics_latency_created{service=\"shop\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"op\",status_code=\"STATUS_CODE_UNSET\"} 1700000001.000\n"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let mut config = config(&["service-graphs"]);
    config.service_graphs.filter_policies = serde_json::from_str(
        r#"[{"include": {"match_type": "regex", "attributes": [{"key": "duration", "value": "x"}]}}]"#,
    )
    .unwrap();
    let config = Config { default: config, collection_interval: Duration::from_secs(1), ..Config::default() };
    let error = config.check().unwrap_err().to_string();
    assert_eq!(
        error,
        "filter_policies: \"duration\" is no key; write kind, name, status, span.<attribute> or resource.<attribute>"
    );
    assert!(Processor::parse("local-blocks").unwrap_err().contains("span-metrics, span-metrics-latency"));
}

#[test]
fn names_with_ids_are_one_series_where_that_is_switched_on() {
    let spans: Vec<Sent> =
        (1..=5).map(|id| server("shop", id, 0, 5).named(&format!("GET /user/{}", 8000 + id))).collect();
    let names = |shown: &Shown| shown.samples("traces_spanmetrics_calls_total").len();
    let folding = |name_folding| TenantConfig { name_folding, ..config(&["span-metrics-count"]) };
    let (on, dry, off) = (NameFolding::On, NameFolding::DryRun, NameFolding::Off);
    let shown = [on, dry, off].map(|name_folding| Shown::new(folding(name_folding)));
    shown.iter().for_each(|shown| _ = shown.take(&spans));
    assert_eq!(shown.each_ref().map(names), [1, 5, 5]);
    let calls = shown[0].samples("traces_spanmetrics_calls_total");
    assert!(calls[0].contains(r#"span_name="GET /user/<_>""#) && calls[0].ends_with(" 5"), "{calls:?}");
    let counted = shown.each_ref().map(|shown| {
        ["tempo_metrics_generator_registry_spans_sanitized_total", "tempo_metrics_generator_registry_post_sanitization"]
            .map(|name| shown.own(name).first().and_then(|line| line.rsplit(' ').next().map(str::to_owned)))
    });
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(counted, [[some("5"), some("1")], [some("5"), some("1")], [None, None]]);
}

#[test]
fn what_has_no_room_in_memory_is_counted_by_what_it_was() {
    let mut registry = Default::default();
    let default = config(&["span-metrics-count", "service-graphs-request"]);
    // 4 KiB for series, 2 KiB for halves and 2 KiB for remembered spans
    let config = Config { default, memory_bytes: 8 << 10, ..Config::default() };
    let generator = Generator::new(config, "here".to_owned(), START_NANOS, &mut registry).unwrap();
    let shown = Shown { generator, registry };
    let spans: Vec<Sent> = (1..=100).map(|id| client("shop", id, 1000, 5).named(&format!("GET {id}"))).collect();
    shown.take(&spans).tick_at(NOW);
    let calls = shown.samples("traces_spanmetrics_calls_total");
    assert!((2..50).contains(&calls.len()), "{} series", calls.len());
    let counts: f64 = calls.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(counts, 100.0, "what has no series of its own is in the one of all others");
    let value = |name: &str| -> f64 {
        let line = shown.own(name).pop().unwrap_or_default();
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default()
    };
    let of = |what: &str| value(&format!(r#"mosso_metrics_generator_out_of_memory_total{{part="{what}"}}"#));
    assert_eq!(of("series"), (100 - (calls.len() - 1)) as f64);
    assert_eq!(of("halves"), 100.0 - value("mosso_metrics_generator_waiting_halves"));
    assert!(of("copies") >= 28.0, "{}", of("copies"));
    for (part, most) in [("series", 4096.0), ("halves", 2048.0)] {
        let bytes = value(&format!(r#"mosso_metrics_generator_memory_bytes{{part="{part}"}}"#));
        assert!(bytes > most / 2.0 && bytes <= most, "{part}: {bytes}");
    }
}
