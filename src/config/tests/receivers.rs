//! Who may send, and what protects it.

use crate::config::*;

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
