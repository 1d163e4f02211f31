//! Why keys of Tempo's change nothing here.

/// A key or a section, and why it is read over; the longest that a key begins with is its own.
const REASONS: &[(&str, &str)] = &[
    ("", "mosso has nothing that it could set"),
    ("backend_scheduler", "every process compacts what it may, nobody schedules it"),
    ("backend_scheduler_client", "every process compacts what it may, nobody schedules it"),
    ("backend_worker", "compaction has `compactor.compaction`; the rest is about the scheduler's queue"),
    ("block_builder", "blocks are cut from the write-ahead log of the process, not from Kafka"),
    ("cache", "caches are in the memory of the process: `storage.trace.block_cache` and `memory.budget_bytes`"),
    ("compactor", "compactors agree through the object store, without a ring"),
    ("distributor.forwarders", "spans are not forwarded; let the collector in front send them twice"),
    ("distributor.receivers", "the receivers are made for their clients as they are"),
    ("distributor.receivers.jaeger.protocols.grpc.tls", ALWAYS_RELOADED),
    ("distributor.receivers.jaeger.protocols.thrift_http.tls", ALWAYS_RELOADED),
    (
        "distributor.receivers.kafka",
        "offsets are committed when the spans are in the synced log, and what cannot be read is left out",
    ),
    (
        "distributor.receivers.opencensus",
        "it is not received here, nor by Tempo since 3.0: send OTLP, to `distributor.receivers.otlp`",
    ),
    ("distributor.receivers.otlp.protocols.grpc.tls", ALWAYS_RELOADED),
    ("distributor.receivers.otlp.protocols.http.tls", ALWAYS_RELOADED),
    ("distributor.receivers.zipkin.tls", ALWAYS_RELOADED),
    ("distributor.ring", "there is no ring"),
    ("ingest", "spans are logged on disk, not in Kafka"),
    ("ingester", "there is no ring and no replication; see `ingester.max_block_duration`"),
    ("ingester_client", "the parts of a process call each other directly"),
    ("internal_server", "there is one HTTP port, `server.http_listen_port`"),
    ("live_store", "the write-ahead log takes its place; see `ingester`"),
    ("live_store_client", "the parts of a process call each other directly"),
    ("memberlist", "processes find each other's blocks in the object store, without gossip"),
    ("memory", "`memory.budget_bytes` says what the process may take"),
    ("metrics_generator", "the generator is a part of the process, without a ring, Kafka or blocks of its own"),
    ("metrics_generator.storage", "series wait in files of a form of their own until they are sent"),
    (
        "metrics_generator.storage.remote_write",
        "a target has one queue, within `metrics_generator.storage.max_queue_bytes`, and gets its requests one after the other; \
         what a series is goes with it in version 2",
    ),
    ("metrics_generator_client", "the parts of a process call each other directly"),
    ("overrides", "this limit is not kept"),
    (
        "overrides.defaults.metrics_generator.native_histogram_min_reset_duration",
        "a native histogram is never reset: with too many buckets, two become one",
    ),
    (
        "overrides.user_configurable_overrides.client",
        "what tenants set is kept in the object store of the blocks, `storage.trace`",
    ),
    ("querier", "the parts of a process call each other directly"),
    (
        "querier.max_concurrent_queries",
        "row groups of all queries take turns; `querier.max_concurrent_scans` says how many queries scan at a time",
    ),
    ("query_frontend", "a query is not cut into jobs for others"),
    ("query_frontend.url_deny_list", "requests are not chosen by their path: do it in a proxy in front"),
    ("server", "the HTTP port is made for its clients as it is"),
    ("server.cluster_validation", "the parts of a process call each other directly"),
    ("server.grpc_", "gRPC shares the port `server.http_listen_port`"),
    ("storage.trace", "blocks are of a form of their own"),
    ("storage.trace.block", "blocks are of a form of their own"),
    (
        "storage.trace.blocklist_poll_",
        "the poller reads one manifest for each tenant: there is no list to build, to share out or to fall back to",
    ),
    ("storage.trace.azure.hedge_requests_", "a read that is slow is not asked a second time"),
    ("storage.trace.gcs.hedge_requests_", "a read that is slow is not asked a second time"),
    ("storage.trace.s3.hedge_requests_", "a read that is slow is not asked a second time"),
    ("storage.trace.background_cache", CACHES_OF_THE_PROCESS),
    ("storage.trace.cache", CACHES_OF_THE_PROCESS),
    ("storage.trace.memcached", CACHES_OF_THE_PROCESS),
    ("storage.trace.redis", CACHES_OF_THE_PROCESS),
    ("storage.trace.pool", "reading has one pool with a thread for each core"),
    ("stream_over_http_enabled", "HTTP and gRPC always share the port"),
    ("usage_report", "nothing is reported to anybody"),
];

const CACHES_OF_THE_PROCESS: &str = "caches are in the memory of the process: `storage.trace.block_cache`";
const ALWAYS_RELOADED: &str = "clients are held to `client_ca_file`, which is read again whenever it changes";

/// Keys that protect something in Tempo and not here, and why a file that sets one is refused: a process that starts all the
/// same would be less safe than its operator thinks.
const PROTECTIONS: &[(&str, &str)] = &[
    ("distributor.receivers.otlp.protocols.grpc.auth", NO_AUTHENTICATION),
    ("distributor.receivers.otlp.protocols.http.auth", NO_AUTHENTICATION),
    ("distributor.receivers.otlp.protocols.grpc.tls.ca_file", NO_AUTHORITY),
    ("distributor.receivers.otlp.protocols.http.tls.ca_file", NO_AUTHORITY),
    ("distributor.receivers.otlp.protocols.grpc.tls.ca_pem", NO_AUTHORITY),
    ("distributor.receivers.otlp.protocols.http.tls.ca_pem", NO_AUTHORITY),
    (
        "server.proxy_protocol_enabled",
        "clients are not told apart by address: switch it off in the proxy, and leave this out",
    ),
    ("distributor.receivers.jaeger.protocols.grpc.tls.ca_file", NO_AUTHORITY),
    ("distributor.receivers.jaeger.protocols.grpc.tls.ca_pem", NO_AUTHORITY),
    ("distributor.receivers.jaeger.protocols.thrift_http.tls.ca_file", NO_AUTHORITY),
    ("distributor.receivers.jaeger.protocols.thrift_http.tls.ca_pem", NO_AUTHORITY),
    ("distributor.receivers.zipkin.tls.ca_file", NO_AUTHORITY),
    ("distributor.receivers.zipkin.tls.ca_pem", NO_AUTHORITY),
    ("distributor.receivers.kafka.auth.kerberos", NO_KERBEROS),
    ("distributor.receivers.kafka.auth.sasl.aws_msk", NO_KERBEROS),
    ("distributor.receivers.kafka.auth.tls.insecure_skip_verify", NOT_VERIFIED),
    ("distributor.receivers.kafka.tls.insecure_skip_verify", NOT_VERIFIED),
    ("distributor.receivers.jaeger.protocols.grpc.auth", NO_AUTHENTICATION),
    ("distributor.receivers.jaeger.protocols.thrift_http.auth", NO_AUTHENTICATION),
    ("distributor.receivers.zipkin.auth", NO_AUTHENTICATION),
    (
        "storage.trace.s3.sse",
        "objects are stored as the bucket's own default encrypts them: set it there, and leave this out",
    ),
];
const NO_KERBEROS: &str =
    "neither Kerberos nor the signatures of AWS are spoken: write `auth.sasl` with PLAIN or SCRAM";
const NOT_VERIFIED: &str = "certificates that nobody looks at protect nothing: name the authority in ca_file";
const NO_AUTHORITY: &str =
    "it names whom a client trusts, and this is a server: `client_ca_file` says whose certificates clients must show";
const NO_AUTHENTICATION: &str =
    "it names an extension of a collector, of which there are none: `authentication` says who may send";

/// Why a file that sets this key to something is refused, where it is.
pub(super) fn refusal(key: &str) -> Option<&'static str> {
    PROTECTIONS.iter().find(|(protection, _)| *protection == key).map(|(_, refusal)| *refusal)
}

/// The sections and keys, and why they are read over.
pub(super) fn reasons() -> impl Iterator<Item = (&'static str, &'static str)> {
    REASONS.iter().copied().filter(|(section, _)| !section.is_empty())
}

/// Why a key that Tempo has is read over.
pub fn reason(key: &str) -> &'static str {
    let own = REASONS.iter().filter(|(prefix, _)| key.starts_with(prefix));
    own.max_by_key(|(prefix, _)| prefix.len()).map(|(_, reason)| *reason).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_of_a_key_gives_its_reason() {
        assert!(reason("memberlist.join_members").contains("gossip"));
        assert!(reason("metrics_generator_client").contains("directly"));
        assert!(reason("storage.trace.pool.max_workers").contains("pool"));
        assert!(refusal("storage.trace.s3.sse").is_some() && refusal("server.http_listen_port").is_none());
        assert!(reason("storage.trace.blocklist_poll_concurrency").contains("manifest"));
        assert!(reason("storage.trace.s3.hedge_requests_at").contains("slow"));
        assert!(reason("query_frontend.url_deny_list").contains("proxy"));
        assert!(reason("querier.max_concurrent_queries").contains("scans"));
        assert!(reason("span_profiling").contains("nothing"));
    }
}
