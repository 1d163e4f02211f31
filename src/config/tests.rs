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
fn parts_of_tempo_that_never_poll_do_so_here_and_it_is_said() {
    let config = Config::parse("storage: {trace: {blocklist_poll: 0}}").unwrap();
    assert_eq!(config.storage.trace.blocklist_poll, Config::default().storage.trace.blocklist_poll);
    let wanted =
        "storage.trace.blocklist_poll is 0, which is never: it is looked every 60s for what others have stored";
    assert_eq!(config.warnings(), [wanted]);
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
fn what_receivers_have_of_their_own_is_read_over_and_slips_are_not() {
    let yaml = "
distributor:
  receivers:
    jaeger: {protocols: {thrift_http: {endpoint: '0.0.0.0:14268', cors: {max_age: 5}}}}
    kafka: {brokers: ['kafka:9092'], autocommit: {enable: true}}
    opencensus: {endpoint: '0.0.0.0:55678'}
    otlp: {protocols: {grpc: {endpoint: '0.0.0.0:4317', keepalive: {server_parameters: {time: 1m}}}}}
";
    let ignored = [
        "distributor.receivers.jaeger.protocols.thrift_http.cors",
        "distributor.receivers.kafka.autocommit",
        "distributor.receivers.opencensus",
        "distributor.receivers.otlp.protocols.grpc.keepalive",
    ];
    assert_eq!(Config::parse(yaml).unwrap().not_applicable(), ignored);
    let error = Config::parse(&yaml.replace("keepalive", "keepalife")).unwrap_err().to_string();
    assert!(error.contains("did you mean `keepalive`"), "{error}");
}

#[test]
fn a_receiver_that_is_named_listens_where_tempo_s_does() {
    let api = |receivers: &str| Config::parse(&format!("distributor:\n  receivers:\n{receivers}")).unwrap().api();
    let none = Config::parse("").unwrap().api();
    assert_eq!((none.jaeger, none.zipkin), (api::JaegerConfig::default(), None), "nothing listens that nobody named");
    let named = "    zipkin:\n    jaeger:\n      protocols:\n        grpc:\n        thrift_http:\n        thrift_compact:\n        thrift_binary:\n";
    let api::Config { jaeger, zipkin, otlp_grpc, .. } = api(named);
    let endpoints = [
        jaeger.grpc.unwrap().endpoint,
        jaeger.thrift_http.unwrap().endpoint,
        jaeger.thrift_compact.unwrap().endpoint,
        jaeger.thrift_binary.unwrap().endpoint,
        zipkin.unwrap().endpoint,
        otlp_grpc.unwrap().endpoint,
    ];
    let ports = ["14250", "14268", "6831", "6832", "9411", "4317"];
    assert_eq!(endpoints.map(|endpoint| endpoint.to_string()), ports.map(|port| format!("127.0.0.1:{port}")));

    let set = "    zipkin: {endpoint: ':9000', parse_string_tags: true}\n    jaeger: {protocols: {thrift_binary: {endpoint: 'localhost:1', queue_size: 5}}}";
    let api::Config { jaeger, zipkin, .. } = api(set);
    let (zipkin, binary) = (zipkin.unwrap(), jaeger.thrift_binary.unwrap());
    assert_eq!((zipkin.endpoint.to_string(), zipkin.parse_string_tags), (":9000".to_owned(), true));
    assert_eq!((binary.endpoint.to_string(), binary.queue_size, binary.workers), ("localhost:1".to_owned(), 5, 10));
    assert_eq!((jaeger.grpc, jaeger.thrift_http, jaeger.thrift_compact), (None, None, None));
}

#[test]
fn receivers_that_cannot_be_are_told_why() {
    for (receivers, expected) in [
        ("jaeger: ", "distributor.receivers.jaeger: names no protocol; write grpc"),
        ("jaeger: {protocols: {thrift_htp: }}", "unknown key `thrift_htp`; did you mean `thrift_http`?"),
        ("jaeger: {protocols: {thrift_compact: {queue_size: 0}}}", "queue_size must be between 1 and 100000"),
        (
            "jaeger: {protocols: {thrift_binary: {max_packet_size: 70000}}}",
            "max_packet_size must be between 1 and 65535",
        ),
        ("jaeger: {protocols: {grpc: {max_recv_msg_size_mib: 0}}}", "between 1 and 2048"),
        (
            "jaeger: {protocols: {thrift_http: {tls: {cert_file: a}}}}",
            "distributor.receivers.jaeger.protocols.thrift_http.tls: key_file is missing",
        ),
        ("zipkin: {tls: {ca_file: a}}", "client_ca_file"),
        ("zipkin: {endpont: ':9411'}", "unknown key `endpont`; did you mean `endpoint`?"),
        ("zipkin: {endpoint: '9411'}", "has no port"),
    ] {
        let error = Config::parse(&format!("distributor: {{receivers: {{{receivers}}}}}")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let packets = "multitenancy_enabled: true\ndistributor: {receivers: {jaeger: {protocols: {thrift_compact: }}}}";
    assert!(Config::parse(packets).unwrap().warnings()[0].contains("cannot name a tenant"));
}

#[test]
fn what_protects_in_tempo_and_not_here_is_refused() {
    let error = |yaml: &str| Config::parse(yaml).unwrap_err().to_string();
    let receiver =
        |settings: &str| format!("distributor: {{receivers: {{otlp: {{protocols: {{http: {settings}}}}}}}}}");
    assert!(error(&receiver("{auth: {authenticator: oidc}}")).contains("`authentication` says who may send"));
    assert!(error(&receiver("{tls: {ca_file: /ca.crt}}")).contains("`client_ca_file` says"));
    assert!(error("server: {proxy_protocol_enabled: true}").contains("told apart by address"));
    assert!(error("storage: {trace: {s3: {sse: {type: SSE-KMS}}}}").contains("the bucket's own default"));
    let unset = Config::parse("server: {http_tls_config: {cert_file: '', client_auth_type: ''}}").unwrap();
    assert_eq!((unset.not_applicable(), unset.api().http_tls), (&[][..], None));
}

#[test]
fn what_protects_is_whole_or_an_error() {
    let error = |yaml: &str| format!("{:#}", Config::parse(yaml).unwrap_err());
    for (yaml, wrong) in [
        ("server: {http_tls_config: {cert_file: /a.crt}}", "server.http_tls_config: key_file is missing"),
        ("server: {http_tls_config: {key_file: /a.key}}", "cert_file is missing"),
        (
            "server: {http_tls_config: {cert_file: /no.crt, key_file: /no.key}}",
            "1:10: server.http_tls_config: TLS of http: read /no.crt",
        ),
        ("server: {http_tls_config: {client_auth_type: RequireAnyClientCert}}", "without looking at them"),
        ("server: {http_tls_config: {client_auth_type: Sometimes}}", "\"Sometimes\" is not known"),
        ("server: {http_tls_config: {client_auth_type: RequireAndVerifyClientCert}}", "set cert_file and key_file"),
        (
            "server: {http_tls_config: {cert: a, key: b, client_auth_type: VerifyClientCertIfGiven}}",
            "needs client_ca_file",
        ),
        ("server: {http_tls_config: {cert: a, key: b, client_ca: c}}", "needs client_auth_type"),
        ("server: {tls_min_version: VersionTLS10}", "\"VersionTLS10\" is no version"),
        ("server: {grpc_tls_config: {cert_file: /a.crt, key_file: /a.key}}", "gRPC shares the port of HTTP"),
        (
            "distributor: {receivers: {otlp: {protocols: {grpc: {tls: {client_ca_file: /ca}}}}}}",
            "distributor.receivers.otlp.protocols.grpc.tls: TLS needs a certificate",
        ),
        ("server: {cors: {allowed_origins: ['*'], allowed_headers: ['a b']}}", "\"a b\" is no name of a header"),
        ("authentication: {credentials: [{username: a, read: ['*']}]}", "entry 1 of credentials: write username and"),
        ("authentication: {credentials: [{password_file: /a, read: ['*']}]}", "needs a username"),
        ("authentication: {credentials: [{username: 'a:b', password_file: /a, read: ['*']}]}", "has no colon"),
        ("authentication: {credentials: [{username: a, bearer_token_file: /a, read: ['*']}]}", "stands alone"),
        ("authentication: {credentials: [{bearer_token_file: /a}]}", "it allows nothing"),
        ("authentication: {credentials: [{bearer_token_file: /a, read: [b]}]}", "there is no tenant b"),
        ("authentication: {credentials: [{bearer_token_file: /no, admin: true}]}", "credentials: read /no"),
        ("authentication: {listeners: [grpc]}", "unknown value `grpc`; known are http, otlp_grpc"),
    ] {
        assert!(error(yaml).contains(wrong), "{yaml}: {}", error(yaml));
    }
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
