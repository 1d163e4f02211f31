use super::*;

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("# nothing\n").unwrap(), Config::default());
    let api = Config::default().api();
    assert_eq!((api.http_listen_address.as_str(), api.http_listen_port), ("127.0.0.1", 3200));
    assert_eq!(api.otlp_grpc.unwrap().endpoint, "127.0.0.1:4317");
    assert_eq!(api.otlp_http.unwrap().endpoint, "127.0.0.1:4318");
}

#[test]
fn tempo_keys_are_taken_over_or_read_over() {
    let yaml = "
server: {http_listen_address: 0.0.0.0, http_listen_port: 3201, grpc_listen_port: 9095}
distributor:
  receivers:
    otlp: {protocols: {http: {endpoint: '0.0.0.0:4318'}}}
ingester: {max_block_duration: 1m30s, trace_idle_period: 10s}
compactor: {compaction: {block_retention: 48h, compaction_window: 30m, max_block_bytes: 1000000}}
storage: {trace: {backend: local, wal: {path: /tmp/wal}, local: {path: /tmp/blocks}}}
usage_report: {reporting_enabled: false}
overrides: {defaults: {ingestion: {rate_limit_bytes: 15000000}}}
";
    let config = Config::parse(yaml).unwrap();
    assert_eq!(config.api().http_listen_port, 3201);
    assert!(config.api().otlp_grpc.is_none(), "a protocol that is not named does not listen");
    assert_eq!(config.ingester().max_block_duration.as_secs(), 90);
    assert_eq!(config.compactor.compaction.block_retention.as_secs(), 48 * 3600);
    let compaction = config.compaction();
    assert_eq!((compaction.window.as_secs(), compaction.max_block_bytes), (1800, 1_000_000));
    let ignored = ["usage_report", "overrides.defaults", "server.grpc_listen_port", "ingester.trace_idle_period"];
    assert_eq!(config.not_applicable(), ignored);
}

#[test]
fn budgets_of_queries_can_be_set() {
    let config = Config::parse(
        "
querier:
  search: {query_timeout: 500ms}
  max_bytes_per_query: 1
  max_memory_bytes_per_query: 2
  max_metrics_samples: 3
  metrics_cache_max_bytes: 5
  max_bytes_per_trace: 4
  max_concurrent_queries: 20
query_frontend: {api_timeout: 5s, search: {max_result_limit: 5, max_duration: 1h, duration_slo: 5s}}
",
    )
    .unwrap();
    let (querier, api) = (config.querier(), config.api().query);
    assert_eq!(querier.max_query_time.as_millis(), 500);
    let bounds = (querier.max_bytes_per_query, querier.max_memory_bytes_per_query, querier.max_metrics_samples);
    assert_eq!((bounds, querier.max_bytes_per_trace, querier.metrics_cache_max_bytes), ((1, 2, 3), 4, 5));
    assert_eq!((api.max_result_limit, api.max_search_range_seconds, api.timeout_seconds), (5, 3600, 5));
    assert_eq!(config.not_applicable(), ["querier.max_concurrent_queries", "query_frontend.search"]);
    assert_eq!(Config::default().querier(), querier::Config::default());
    assert_eq!(Config::default().api().query, api::QueryConfig::default());
}

#[test]
fn wrong_keys_and_values_are_named() {
    let error = |yaml: &str| format!("{:#}", Config::parse(yaml).unwrap_err());
    assert!(error("serverr: {}").contains("serverr"), "{}", error("serverr: {}"));
    assert!(error("server: {http_port: 1}").contains("http_port"));
    assert!(error("ingester: {max_block_duration: soon}").contains("soon"));
    assert!(error("compactor: {compaction: {compaction_window: 0s}}").contains("compaction_window"));
    assert!(error("compactor: {compaction: {compacted_block_retention: 0s}}").contains("at least 2520s"));
    assert!(error("storage: {trace: {blocklist_poll: 0s}}").contains("blocklist_poll"));
    assert!(error("target: querier").contains("target \"querier\" is not known"));
}

/// The retention that follows from `yaml` and a file with the limits of tenants.
fn retention(yaml: &str, per_tenant: &str) -> anyhow::Result<storage::retention::Config> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("overrides.yaml");
    std::fs::write(&file, per_tenant)?;
    Config::parse(&yaml.replace("FILE", &file.display().to_string()))?.retention()
}

#[test]
fn retention_differs_by_tenant() {
    let hours = |hours: u64| std::time::Duration::from_secs(3600 * hours);
    let yaml = "
compactor: {compaction: {block_retention: 10h}}
overrides: {defaults: {compaction: {block_retention: 20h}}, per_tenant_override_config: FILE}
";
    assert_eq!(retention(yaml, "# none\n").unwrap().default, hours(20));
    let file = "overrides: {a: {compaction: {block_retention: 48h}}, b: {ingestion: {rate_limit_bytes: 1}}}";
    let config = retention(yaml, file).unwrap();
    let of = |tenant| config.per_tenant[&model::TenantId::parse(tenant).unwrap()];
    assert_eq!((config.default, of("a"), of("b")), (hours(20), hours(48), hours(10)));
    let any = retention(yaml, "overrides: {'*': {compaction: {block_retention: 1h}}}").unwrap();
    assert_eq!((any.default, any.per_tenant.len()), (hours(1), 0));
    assert_eq!(Config::default().retention().unwrap().default, hours(7 * 24));
}

#[test]
fn a_broken_file_of_overrides_is_named() {
    let error = |yaml: &str, file: &str| format!("{:#}", retention(yaml, file).unwrap_err());
    let yaml = "overrides: {per_tenant_override_config: FILE}";
    for (file, wrong) in [
        ("overrides: {a: {compactoin: {}}}", "compactoin"),
        ("overrides: {a: {compaction: {block_retention: long}}}", "long"),
        ("overrides: {a/b: {}}", "a/b"),
        ("override: {}", "override"),
    ] {
        let error = error(yaml, file);
        assert!(error.contains("overrides.yaml") && error.contains(wrong), "{error}");
    }
    assert!(error("overrides: {per_tenant_override_config: FILE.gone}", "").contains("overrides.yaml.gone"));
    assert!(error("overrides: {block_retention: 1h}", "").contains("block_retention"));
}

#[test]
fn the_effective_configuration_is_a_configuration() {
    let config = Config::parse("server: {log_level: debug}").unwrap();
    let again = Config::parse(&config.to_yaml()).unwrap();
    assert_eq!(again.server.log_level, "debug");
    assert_eq!(again.ingester, config.ingester);
}
