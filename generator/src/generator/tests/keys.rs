//! Each key of a tenant's settings: what it changes in the series of the same spans.

use super::*;
use crate::buckets::Buckets;

/// The samples of some spans, whose names start so, with settings that were changed.
fn samples(processors: &[&str], change: impl FnOnce(&mut TenantConfig), spans: &[Sent], prefix: &str) -> Vec<String> {
    let mut config = config(processors);
    change(&mut config);
    Shown::new(config).take(spans).tick_at(NOW + 11 * MINUTE).samples(prefix)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_label_virtual_node_says_which_end_sends_no_spans() {
    let spans = [
        server("shop", 1, 0, 5),
        client("shop", 2, 1, 5).with("peer.service", "bank"),
        client("shop", 3, 1, 5),
        server("stock", 4, 3, 5),
    ];
    let lines = samples(
        &["service-graphs-request"],
        |config| config.service_graphs.enable_virtual_node_label = true,
        &spans,
        REQUESTS,
    );
    let edges = [
        r#"client="shop",connection_type="virtual_node",server="bank",virtual_node="server""#,
        r#"client="shop",server="stock""#,
        r#"client="user",connection_type="virtual_node",server="shop",virtual_node="client""#,
    ];
    assert_eq!(lines, edges.map(|labels| format!("{REQUESTS}{{{labels}}} 1")));
}

#[test]
fn chosen_attributes_name_the_other_end_and_the_database() {
    let spans = [client("shop", 1, 9, 5).with("rpc.peer", "bank"), client("shop", 2, 9, 5).with("db.table", "orders")];
    assert!(samples(&["service-graphs-request"], |_| {}, &spans, REQUESTS).is_empty(), "neither is named by default");
    let change = |config: &mut TenantConfig| {
        config.service_graphs.peer_attributes = names(&["rpc.peer"]);
        config.service_graphs.database_name_attributes = names(&["db.table"]);
    };
    let edge = |kind, server| format!(r#"{REQUESTS}{{client="shop",connection_type="{kind}",server="{server}"}} 1"#);
    let lines = samples(&["service-graphs-request"], change, &spans, REQUESTS);
    assert_eq!(lines, [edge("database", "orders"), edge("virtual_node", "bank")]);
}

#[test]
fn buckets_are_those_that_were_chosen() {
    let change = |config: &mut TenantConfig| {
        config.span_metrics.histogram_buckets = Buckets::try_from(vec![0.01, 0.1]).unwrap();
        config.service_graphs.histogram_buckets = Buckets::try_from(vec![0.5]).unwrap();
    };
    let bounds = |processor, name: &str| -> Vec<String> {
        let lines = samples(&[processor], change, &[server("shop", 1, 0, 50)], name);
        let bound = |line: &String| line.split_once("le=\"")?.1.split_once('"').map(|(bound, _)| bound.to_owned());
        lines.iter().filter_map(bound).collect()
    };
    assert_eq!(bounds("span-metrics-latency", "traces_spanmetrics_latency_bucket"), ["+Inf", "0.01", "0.1"]);
    assert_eq!(bounds("service-graphs-latency", "traces_service_graph_request_server_seconds_bucket"), ["+Inf", "0.5"]);
}

#[test]
fn intrinsic_labels_can_be_left_out_and_the_message_added() {
    let mut span = server("shop", 1, 0, 5).failed();
    span.span.status.as_mut().unwrap().message = "out of stock".to_owned();
    let change = |config: &mut TenantConfig| {
        let dimensions = &mut config.span_metrics.intrinsic_dimensions;
        (dimensions.service, dimensions.span_kind, dimensions.status_message) = (false, false, true);
    };
    assert_eq!(
        samples(&["span-metrics-count"], change, &[span], "traces_spanmetrics"),
        [
            r#"traces_spanmetrics_calls_total{span_name="op",status_code="STATUS_CODE_ERROR",status_message="out of stock"} 1"#
        ]
    );
}

#[test]
fn instances_are_no_label_where_that_is_switched_off() {
    let change = |config: &mut TenantConfig| {
        config.span_metrics.enable_target_info = true;
        config.span_metrics.enable_instance_label = false;
    };
    let span = server("shop", 1, 0, 5).of_resource("service.instance.id", "i-1").of_resource("zone", "a");
    let lines = samples(&["span-metrics-count"], change, &[span], "traces_");
    assert!(lines.len() == 2 && lines.iter().all(|line| line.contains(r#"job="shop""#)), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("i-1")), "{lines:?}");
}

#[test]
fn hosts_have_the_attributes_and_the_name_that_were_chosen() {
    let change = |config: &mut TenantConfig| {
        config.host_info.host_identifiers = names(&["rack", "host.id"]);
        config.host_info.metric_name = "hosts".to_owned();
    };
    let span = server("shop", 1, 0, 5).of_resource("host.id", "h-7").of_resource("rack", "r-2");
    assert_eq!(
        samples(&["host-info"], change, &[span], "hosts"),
        [r#"hosts{grafana_host_id="r-2",host_source="rack"} 1"#]
    );
}

#[test]
fn labels_of_the_process_stand_on_all_series_but_those_of_hosts_and_targets() {
    let change = |config: &mut TenantConfig| {
        config.external_labels = [("cluster".to_owned(), "one".to_owned())].into();
        config.span_metrics.enable_target_info = true;
    };
    let span = server("shop", 1, 0, 5).of_resource("host.id", "h-7");
    let lines = samples(&["span-metrics-count", "host-info"], change, &[span], "traces_");
    let with: Vec<&String> = lines.iter().filter(|line| line.contains(r#"cluster="one""#)).collect();
    assert!(lines.len() == 3 && with.len() == 1 && with[0].starts_with("traces_spanmetrics_calls_total"), "{lines:?}");
}

#[test]
fn series_name_their_tenant_where_that_is_asked_for() {
    let mut config = config(&["span-metrics-count"]);
    config.tenant_label = "tenant".to_owned();
    let (shown, tenants) = (Shown::new(config), ["blue", "green"].map(|name| TenantId::parse(name).unwrap()));
    for tenant in &tenants {
        shown.generator.take(tenant, &table(&[server("shop", 1, 0, 5)]), NOW).unwrap();
        let text = shown.generator.exposition(tenant, Format::Text);
        assert!(text.contains(&format!("tenant=\"{tenant}\"")), "{text}");
    }
}

#[test]
fn long_names_and_values_are_cut_off() {
    let change = |config: &mut TenantConfig| {
        config.span_metrics.dimensions = names(&["http.request.method"]);
        (config.limits.max_label_name_bytes, config.limits.max_label_value_bytes) = (11, 4);
    };
    let span = server("shop", 1, 0, 5).with("http.request.method", "OPTIONS");
    assert_eq!(
        samples(&["span-metrics-count"], change, &[span], "traces_spanmetrics"),
        [
            r#"traces_spanmetrics_calls_total{http_reques="OPTI",service="shop",span_kind="SPAN",span_name="op",status_code="STAT"} 1"#
        ]
    );
}

#[test]
fn the_label_of_exemplars_is_the_one_that_was_chosen_and_what_is_not_collected_is_shown() {
    let mut config = config(&["span-metrics-latency"]);
    (config.trace_id_label_name, config.disable_collection) = ("trace_id".to_owned(), true);
    let shown = Shown::new(config);
    shown.take(&[server("shop", 1, 0, 5)]);
    let text = shown.generator.exposition(&TenantId::single(), Format::OpenMetrics);
    assert!(text.contains(r##" # {trace_id=""##), "{text}");
    let form = Form { protocol: crate::remote_write::Protocol::V1, has_exemplars: true, has_native_histograms: true };
    assert!(shown.generator.collect(&[form], shown.generator.collection(NOW)).is_empty());
}
