//! What an operator of Tempo brings along.

use super::CLUSTER;
use crate::config::*;

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
overrides: {defaults: {ingestion: {rate_limit_bytes: 15000000, max_traces_per_user: 5}}}
";
    let config = Config::parse(yaml).unwrap();
    assert_eq!(config.api().http_listen.to_string(), "0.0.0.0:3201");
    assert!(config.api().otlp_grpc.is_none(), "a protocol that is not named does not listen");
    assert_eq!(config.ingester().max_block_duration.as_secs(), 90);
    assert_eq!(config.compactor.compaction.block_retention.as_secs(), 48 * 3600);
    let compaction = config.compaction();
    assert_eq!((compaction.window.as_secs(), compaction.max_block_bytes), (1800, 1_000_000));
    assert_eq!(config.not_applicable(), ["server.grpc_listen_port", "ingester.trace_idle_period", "usage_report"]);
    let limits = config.tenant_limits().unwrap().others;
    assert_eq!((limits.rate_limit_bytes, limits.max_live_traces), (15_000_000, 5));
}

#[test]
fn parts_of_tempo_that_never_poll_do_so_here_and_it_is_said() {
    let config = Config::parse("storage: {trace: {blocklist_poll: 0}}").unwrap();
    assert_eq!(config.storage.trace.blocklist_poll, Config::default().storage.trace.blocklist_poll);
    let wanted =
        "storage.trace.blocklist_poll is 0, which is never: it is looked every 60s for what others have stored";
    assert_eq!(config.warnings(), [wanted]);
}

#[test]
fn each_key_of_tempo_that_changes_nothing_is_named() {
    let yaml = "
query_frontend:
  max_outstanding_per_tenant: 2000
  max_retries: 2
  metrics: {max_response_series: 5, concurrent_jobs: 1}
  search: {concurrent_jobs: 1, default_result_limit: 5, query_backend_after: 15m}
storage: {trace: {pool: {max_workers: 1}, s3: {hedge_requests_at: 1s}}}
overrides: {defaults: {compaction: {compaction_window: 1h}, read: {max_bytes_per_tag_values_query: 5}}}
";
    let ignored = [
        "query_frontend.max_retries",
        "query_frontend.metrics.concurrent_jobs",
        "query_frontend.search.concurrent_jobs",
        "query_frontend.search.query_backend_after",
        "storage.trace.pool",
        "storage.trace.s3.hedge_requests_at",
        "overrides.defaults.compaction.compaction_window",
    ];
    let config = Config::parse(yaml).unwrap();
    assert_eq!(config.not_applicable(), ignored);
    assert_eq!(config.tenant_limits().unwrap().others.max_bytes_per_tag_answer, 5);
}

/// A file with every key of Tempo at its default.
fn every_key_of_tempo() -> String {
    let mut root = Map::new();
    for (path, value) in tempo_keys::table().values() {
        let default = match value.kind {
            tempo_keys::Kind::List => Value::Array(Vec::new()),
            tempo_keys::Kind::Map | tempo_keys::Kind::Any => Value::Object(Map::new()),
            tempo_keys::Kind::Text => Value::from(value.default),
            _ if value.default.is_empty() => Value::Null,
            _ => serde_json::from_str(value.default).unwrap(),
        };
        let mut names: Vec<&str> = path.split('.').collect();
        let name = names.pop().unwrap();
        let mut section = &mut root;
        for name in names {
            let entry = section.entry(name).or_insert_with(|| Value::Object(Map::new()));
            section = entry.as_object_mut().unwrap();
        }
        section.insert(name.to_owned(), default);
    }
    serde_json::to_string_pretty(&root).unwrap()
}

#[test]
fn a_file_with_every_key_of_tempo_at_its_default_can_be_used() {
    let config = Config::parse(&every_key_of_tempo()).unwrap();
    assert_eq!(config.server.http_listen_port, 3200);
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.storage.trace.local.path, None, "an empty path is none");
    for ignored in ["memberlist", "live_store.ring", "server.grpc_listen_port", "query_frontend.weights"] {
        let is_ignored = |key: &String| *key == ignored || ignored.starts_with(&format!("{key}."));
        assert!(config.not_applicable().iter().any(is_ignored), "{ignored}");
    }
    assert!(config.warnings().iter().all(|warning| !warning.ends_with(": ")), "each has its reason");
}

#[test]
fn settings_of_tempo_3_and_flat_limits_are_taken_under_our_names() {
    let config = Config::parse(
        "
auth_enabled: true
live_store: {max_block_duration: 45s, max_trace_idle: 5s}
backend_worker: {compaction: {block_retention: 48h}}
backend_scheduler: {provider: {compaction: {compaction: {block_retention: 24h, compaction_window: 10m}}}}
overrides: {block_retention: 12h, metrics_generator_processors: [span-metrics]}
",
    )
    .unwrap();
    assert!(config.multitenancy_enabled);
    assert_eq!(config.ingester().max_block_duration.as_secs(), 45);
    assert_eq!(config.compactor.compaction.block_retention.as_secs(), 48 * 3600, "the first name counts");
    assert_eq!(config.compaction().window.as_secs(), 600);
    assert_eq!(config.overrides.defaults.compaction.block_retention.as_secs(), 12 * 3600);
    assert!(config.generator().unwrap().config.is_on());
    assert_eq!(config.not_applicable(), ["live_store", "backend_scheduler"]);
    assert!(config.moved().contains(&("auth_enabled".to_owned(), "multitenancy_enabled".to_owned())));
    let both = Config::parse(
        "compactor: {compaction: {block_retention: 1h}}\nbackend_worker: {compaction: {block_retention: 2h}}",
    );
    assert_eq!(both.unwrap().compactor.compaction.block_retention.as_secs(), 3600, "our name counts");
}

#[test]
fn targets_of_tempo_are_parts_here_with_a_remark() {
    let config = Config::parse("target: scalable-single-binary").unwrap();
    assert_eq!(config.warnings(), ["target \"scalable-single-binary\" is \"all\" here"]);
    let config = Config::parse(&format!("target: ingester\n{CLUSTER}")).unwrap();
    assert_eq!(config.warnings(), ["target \"ingester\" is \"writer\" here"]);
    assert!(config.api().otlp_http.is_some());
    let config = Config::parse(&format!("target: querier\n{CLUSTER}")).unwrap();
    assert_eq!((config.warnings().len(), config.api().otlp_http.is_some()), (0, false));
    assert_eq!(Config::parse("target: all").unwrap().warnings(), Vec::<String>::new());
}

#[test]
fn a_flag_under_tempo_s_name_goes_before_the_file_under_ours() {
    let key = "backend_worker.compaction.block_retention".to_owned();
    let flags = vec![flags::Flag { key, value: "48h".to_owned() }];
    let sources = Sources { flags, ..Sources::default() };
    let config = sources.config_of("compactor: {compaction: {block_retention: 10h}}").unwrap();
    assert_eq!(config.compactor.compaction.block_retention.as_secs(), 48 * 3600);
}

/// As a Prometheus's `remote_write` may have them.
#[test]
fn sections_of_a_target_that_change_nothing_are_named() {
    let yaml = "
metrics_generator:
  storage:
    remote_write:
      - url: http://one/api/v1/write
        send_native_histograms: true
      - url: http://two/api/v1/write
        queue_config: {max_shards: 3, batch_send_deadline: 5s, retry_on_http_429: true}
        metadata_config: {send: false}
";
    let config = Config::parse(yaml).unwrap();
    let sections = ["queue_config", "metadata_config"];
    let keys = sections.map(|section| format!("metrics_generator.storage.remote_write.1.{section}"));
    assert_eq!(config.not_applicable(), keys);
    assert!(config.warnings().iter().all(|warning| warning.contains("max_queue_bytes")), "{:?}", config.warnings());
}

/// As the examples of Tempo 2.6 to 2.10 have them.
#[test]
fn keys_of_examples_that_no_page_of_tempo_lists_are_read_over() {
    let yaml = "
partition_ring_live_store: true
backend_scheduler: {schedule_interval: 100ms}
overrides: {defaults: {metrics_generator: {processors: [service-graphs, local-blocks]}}}
";
    let config = Config::parse(yaml).unwrap();
    assert_eq!(config.not_applicable(), ["partition_ring_live_store", "backend_scheduler"]);
    assert!(config.warnings().iter().any(|warning| warning.contains("local-blocks is read over")));
    assert_eq!(config.generator().unwrap().config.default.processors, [::generator::Processor::ServiceGraphs]);
}

#[test]
fn a_processor_without_effect_is_named_with_the_tenant_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("overrides.yaml");
    std::fs::write(&file, "overrides: {team-a: {metrics_generator: {processors: [local-blocks]}}}").unwrap();
    let yaml = |file: &Path| format!("overrides: {{per_tenant_override_config: {}}}", file.display());
    let warnings = Config::parse(&yaml(&file)).unwrap().warnings();
    assert!(warnings.iter().any(|warning| warning.contains("team-a: the processor local-blocks")), "{warnings:?}");
    let missing = Config::parse(&yaml(&dir.path().join("missing.yaml"))).unwrap_err().to_string();
    assert!(missing.contains("overrides.per_tenant_override_config: read"), "{missing}");
}

/// Sections that are empty in the listing that Tempo prints of its configuration, and have keys all the same.
#[test]
fn sections_of_caches_are_read_over_with_their_keys() {
    let yaml = "
storage:
  trace:
    cache: memcached
    memcached: {consistent_hash: true, host: memcached, service: memcached-client, timeout: 200ms}
    redis: {endpoint: 'redis:6379', password: secret}
";
    let config = Config::parse(yaml).unwrap();
    let ignored = ["cache", "memcached", "redis"].map(|key| format!("storage.trace.{key}"));
    assert_eq!(config.not_applicable(), ignored);
    assert!(config.warnings().iter().all(|warning| warning.contains("block_cache")), "{:?}", config.warnings());
    assert!(Config::parse("storage: {trace: {memcached: {consistent_hsh: true}}}").is_err());
}

#[test]
fn flags_of_tempo_that_change_nothing_are_named() {
    let sources = Sources { ignored_flags: vec!["mem-ballast-size-mbs".to_owned()], ..Sources::default() };
    let warnings = sources.config_of("").unwrap().warnings();
    assert_eq!(warnings, ["the flag -mem-ballast-size-mbs does not apply here and is ignored"]);
}
