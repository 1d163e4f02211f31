mod receivers;
mod tempo;

use model::limits::LimitTable;

use super::*;

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("# nothing\n").unwrap(), Config::default());
    let api = Config::default().api();
    assert_eq!(api.http_listen.to_string(), "127.0.0.1:3200");
    assert_eq!(api.otlp_grpc.unwrap().endpoint.to_string(), "127.0.0.1:4317");
    assert_eq!(api.otlp_http.unwrap().endpoint.to_string(), "127.0.0.1:4318");
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
    assert_eq!(config.not_applicable(), ["querier.max_concurrent_queries"]);
    assert_eq!(querier.objectives.search.duration.as_secs(), 5);
    assert_eq!(Config::default().querier(), ::querier::Config::default());
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
    assert!(error("target: queriers").contains("target: \"queriers\" is not known"));
}

#[test]
fn a_key_without_a_value_means_its_defaults() {
    for yaml in [
        "distributor:\n  receivers:\n    otlp:\n      protocols:\n        grpc:\n        http:\n",
        "distributor: {receivers: {otlp: {protocols: {grpc: ~, http: null}}}}",
        "distributor:\n  receivers:\n    otlp:\n      protocols:\n",
        "distributor:",
        "server:\n  http_listen_port:\n  log_level:\nstorage:\n  trace:\n    backend:\n    wal:\n      path:\n",
        "querier:\n  max_concurrent_reads:\n  search:\n    query_timeout:\n",
        "overrides:\n  defaults:\n  per_tenant_override_config:\nmultitenancy_enabled:\nhttp_api_prefix:\n",
        "---\n",
    ] {
        assert_eq!(Config::parse(yaml).unwrap(), Config::default(), "{yaml}");
    }
    let protocols = Config::parse("distributor: {receivers: {otlp: {protocols: {http: }}}}").unwrap().api();
    assert_eq!((protocols.otlp_grpc.is_some(), protocols.otlp_http.is_some()), (false, true));
    let some =
        Config::parse("distributor: {receivers: {otlp: {protocols: {grpc: {max_recv_msg_size_mib: }, http: }}}}");
    assert_eq!(some.unwrap(), Config::default());
}

#[test]
fn a_wrong_key_is_answered_in_one_line_with_its_place_and_the_nearest_known_key() {
    let error = |yaml: &str| format!("{:#}", Config::parse(yaml).unwrap_err());
    for (yaml, line) in [
        ("servr: {}", "1:1: unknown key `servr`; did you mean `server`?"),
        ("servr:", "1:1: unknown key `servr`; did you mean `server`?"),
        ("server: 5", "1:9: server: expected a section with keys, found \"5\""),
        ("storage: {trace: [local]}", "1:18: storage.trace: expected a section with keys, found a list"),
        (
            "server:\n  http_listen_port: 1\n  http_lisen_address: ''\n",
            "3:3: server: unknown key `http_lisen_address`; did you mean `http_listen_address`?",
        ),
        (
            "distributor: {receivers: {otlp: {protocols: {gprc: }}}}",
            "1:46: distributor.receivers.otlp.protocols: unknown key `gprc`; did you mean `grpc`?",
        ),
        (
            "distributor: {receivers: {jager: {}}}",
            "1:27: distributor.receivers: unknown key `jager`; did you mean `jaeger`?",
        ),
        ("memberlist: {join_member: []}", "1:14: memberlist: unknown key `join_member`; did you mean `join_members`?"),
        (
            "storage:\n  trace:\n    backend: s4\n",
            "3:14: storage.trace.backend: unknown value `s4`; did you mean `s3`?",
        ),
        (
            "server: {http_listen_port: many}",
            "1:28: server.http_listen_port: expected a whole number up to 65535, found \"many\"",
        ),
        ("server: 5", "1:9: server: expected a section with keys, found \"5\""),
        ("multitenancy_enabled: maybe", "1:23: multitenancy_enabled: expected true or false, found \"maybe\""),
        (
            "server: {http_listen_port: 70000}",
            "1:28: server.http_listen_port: expected a whole number up to 65535, found \"70000\"",
        ),
        (
            "server:\n  log_level: loud",
            "2:14: server.log_level: \"loud\" is no log level; write error, warn, info, debug or trace",
        ),
        (
            "\nquerier: {search: {query_timeout: 40}}",
            "2:35: querier.search.query_timeout: time: missing unit in duration \"40\"; write for example 5m",
        ),
        (
            "compactor:\n  compaction:\n    compaction_window: 0s\n",
            "3:5: compactor.compaction.compaction_window: must be longer than 0s",
        ),
    ] {
        assert_eq!(error(yaml), line, "{yaml}");
    }
    let not_yaml = error("server: {http_listen_port: 1\nquerier: [");
    assert!(not_yaml.lines().count() == 1 && not_yaml.len() < 200, "{not_yaml}");
    let twice = error("server: {}\nquerier: {}\nserver: {}\n");
    assert!(twice.starts_with("3:1: ") && twice.contains("server"), "{twice}");
}

#[test]
fn what_could_not_start_is_an_error_of_the_configuration() {
    let error = |yaml: &str| format!("{:#}", Config::parse(yaml).unwrap_err());
    for (yaml, wrong) in [
        ("http_api_prefix: tempo", "1:18: http_api_prefix: \"tempo\" must begin with a slash"),
        ("http_api_prefix: '/{a}'", "http_api_prefix"),
        (
            "distributor: {receivers: {otlp: {protocols: {grpc: {endpoint: '4317'}}}}}",
            "grpc.endpoint: \"4317\" has no port",
        ),
        ("distributor: {receivers: {otlp: {protocols: {http: {endpoint: 'http://a:4318'}}}}}", "has a scheme"),
        ("distributor: {receivers: {otlp: {protocols: {grpc: {max_recv_msg_size_mib: 0}}}}}", "between 1 and 2048"),
        ("server: {http_listen_address: '0.0.0.0:3200'}", "has a key of its own"),
    ] {
        assert!(error(yaml).contains(wrong), "{yaml}: {}", error(yaml));
    }
    let api = Config::parse(
        "http_api_prefix: /tempo/\nserver: {http_listen_address: ''}\ndistributor: {receivers: {otlp: {protocols: {grpc: {endpoint: ':4317'}}}}}",
    )
    .unwrap()
    .api();
    assert_eq!((&*api.http_api_prefix, api.http_listen.to_string()), ("/tempo", ":3200".to_owned()));
    assert_eq!(api.otlp_grpc.unwrap().endpoint.to_string(), ":4317");
}

#[test]
fn levels_of_the_log_are_known_by_each_of_their_names() {
    for (level, expected) in
        [("warning", LogLevel::Warn), ("warn", LogLevel::Warn), ("ERROR", LogLevel::Error), ("trace", LogLevel::Trace)]
    {
        let config = Config::parse(&format!("server: {{log_level: {level}}}")).unwrap();
        assert_eq!(config.server.log_level, expected, "{level}");
    }
}

/// The limits that follow from `yaml` and a file with those of tenants.
fn limits(yaml: &str, per_tenant: &str) -> anyhow::Result<LimitTable> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("overrides.yaml");
    std::fs::write(&file, per_tenant)?;
    Config::parse(&yaml.replace("FILE", &file.display().to_string()))?.tenant_limits()
}

#[test]
fn retention_differs_by_tenant() {
    let hours = |hours: u64| std::time::Duration::from_secs(3600 * hours);
    let yaml = "
compactor: {compaction: {block_retention: 10h}}
overrides: {defaults: {compaction: {block_retention: 20h}}, per_tenant_override_config: FILE}
";
    assert_eq!(limits(yaml, "# none\n").unwrap().others.block_retention, hours(20));
    let file = "overrides: {a: {compaction: {block_retention: 48h}}, b: {ingestion: {rate_limit_bytes: 1}}}";
    let table = limits(yaml, file).unwrap();
    let of = |tenant| table.of(&model::TenantId::parse(tenant).unwrap());
    assert_eq!((of("c").block_retention, of("a").block_retention), (hours(20), hours(48)));
    assert_eq!((of("b").block_retention, of("b").rate_limit_bytes), (hours(10), 1));
    let any = limits(yaml, "overrides: {'*': {compaction: {block_retention: 1h}}}").unwrap();
    assert_eq!((any.others.block_retention, any.tenants.len()), (hours(1), 0));
    assert_eq!(Config::default().tenant_limits().unwrap().others.block_retention, hours(7 * 24));
}

#[test]
fn a_broken_file_of_overrides_is_named() {
    let error = |yaml: &str, file: &str| format!("{:#}", limits(yaml, file).unwrap_err());
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
    assert!(error("overrides: {block_retension: 1h}", "").contains("block_retension"));
}

#[test]
fn the_effective_configuration_is_a_configuration() {
    let config = Config::parse("server: {log_level: debug}").unwrap();
    let again = Config::parse(&config.to_yaml()).unwrap();
    assert_eq!(again, config);
}

#[test]
fn flags_go_before_the_file_and_are_named_when_they_are_wrong() {
    let with = |key: &str, value: &str| {
        let flags = vec![flags::Flag { key: key.to_owned(), value: value.to_owned() }];
        Sources { flags, ..Sources::default() }.config_of("server: {http_listen_port: 1, log_level: warn}")
    };
    let config = with("server.http_listen_port", "2").unwrap();
    assert_eq!((config.server.http_listen_port, config.server.log_level), (2, LogLevel::Warn));
    assert!(!with("storage.trace.backend", "memory").unwrap().storage.trace.backend.is_remote());
    assert_eq!(with("memberlist.bind_port", "7946").unwrap().not_applicable(), ["memberlist"]);
    let error = with("server.http_listen_port", "many").unwrap_err().to_string();
    assert_eq!(error, "command line: server.http_listen_port: expected a whole number up to 65535, found \"many\"");
}

#[test]
fn variables_of_the_environment_stand_in_the_file_when_they_are_asked_for() {
    let yaml = "http_api_prefix: ${MOSSO_TEST_GONE:/tempo}\ntarget: '${MOSSO_TEST_GONE}'";
    let config = Sources { expand_env: true, ..Sources::default() }.config_of(yaml).unwrap();
    assert_eq!(config.api().http_api_prefix.to_string(), "/tempo");
    assert!(config.warnings()[0].contains("MOSSO_TEST_GONE is not set"), "{:?}", config.warnings());
    assert!(Config::parse(yaml).is_err(), "without being asked, nothing is replaced");
}

const CLUSTER: &str = "
cluster: {enabled: true, listen_address: '127.0.0.1:4319'}
storage: {trace: {local: {path: /blocks}}}
";
const GENERATED: &str = "overrides: {defaults: {metrics_generator: {processors: [span-metrics]}}}";

#[test]
fn a_cluster_needs_what_its_processes_share_and_where_they_meet() {
    let error = |yaml: &str| format!("{:#}", Config::parse(yaml).unwrap_err());
    for (yaml, wrong) in [
        ("target: querier", "target: one process of several needs cluster.enabled"),
        ("target: metrics-generator", "made where spans are taken"),
        ("cluster: {enabled: true, listen_address: '127.0.0.1:1'}", "cluster.enabled: needs a store that all"),
        (&CLUSTER.replace(", listen_address: '127.0.0.1:4319'", ""), "cluster.listen_address: is missing"),
        (&CLUSTER.replace("127.0.0.1:4319", ":4319"), "cluster.advertise_address: is missing"),
        (&CLUSTER.replace("127.0.0.1:4319", "0.0.0.0:4319"), "cluster.advertise_address: is missing"),
        (&CLUSTER.replace("4319'", "4319', peer_timeout: 0s"), "cluster.peer_timeout: must be longer"),
        ("cluster: {log: bucket}", "cluster.log: on the bucket needs cluster.enabled"),
        ("cluster: {log_ack: disk}", "cluster.log_ack: is about log: bucket"),
        (&CLUSTER.replace("4319'", "4319', log: bucket, log_linger: 6s"), "cluster.log_linger: must be at most 5s"),
        (
            &format!("{}\n{GENERATED}", CLUSTER.replace("4319'", "4319', log: bucket")),
            "cluster.log: on the bucket does not go with metrics from spans",
        ),
    ] {
        assert!(error(yaml).contains(wrong), "{yaml}: {}", error(yaml));
    }
    let without_listener = CLUSTER.replace(", listen_address: '127.0.0.1:4319'", "");
    Config::parse(&format!("target: compactor\n{without_listener}")).unwrap();
    Config::parse(&CLUSTER.replace("127.0.0.1:4319'", ":4319', advertise_address: 'pod-0:4319'")).unwrap();
    assert!(Config::default().ingester().joining_time.is_zero());
    let on_bucket = CLUSTER.replace("4319'", "4319', log: bucket");
    assert!(Config::parse(&on_bucket).unwrap().keeps_log_on_bucket());
    assert!(!Config::parse(&on_bucket).unwrap().has_folder());
    let shipped = Config::parse(&on_bucket.replace("log: bucket", "log: bucket, log_ack: disk")).unwrap();
    assert!(shipped.keeps_log_on_bucket() && shipped.ships_log() && shipped.has_folder());
    assert!(!Config::parse(&format!("target: querier\n{on_bucket}")).unwrap().keeps_log_on_bucket());
}

#[test]
fn blocks_are_kept_for_some_time_or_not_taken() {
    let error = Config::parse("compactor: {compaction: {block_retention: 0s}}").unwrap_err().to_string();
    assert!(error.contains("compactor.compaction.block_retention: must be longer than 0s"), "{error}");
}

#[test]
fn whole_numbers_may_be_written_as_helm_writes_them() {
    let rate = |text: &str| {
        let config = Config::parse(&format!("overrides: {{defaults: {{ingestion: {{rate_limit_bytes: {text}}}}}}}"));
        config.map(|config| config.tenant_limits().unwrap().others.rate_limit_bytes)
    };
    assert_eq!((rate("1.5e+07").unwrap(), rate("15_000_000").unwrap()), (15_000_000, 15_000_000));
    for wrong in ["1.5", "-1e3", "1e300", "fast"] {
        assert!(rate(wrong).unwrap_err().to_string().contains("expected a whole number"), "{wrong}");
    }
}
