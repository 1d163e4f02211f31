//! Whether a process can be started with the values of a file: what `check-config` calls ok can start.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::overrides::Loaded;
use super::receivers::Jaeger;
use super::{Compaction, Config};

/// Columns of live spans hold less than 2 GiB of text.
const MAX_BLOCK_BYTES: usize = 1 << 30;
/// A gRPC message states its length in 32 bits, and is held in memory as a whole.
const GRPC_MESSAGE_MIB: RangeInclusive<usize> = 1..=2048;

/// A key whose value cannot be used, and why.
pub(super) struct Unusable {
    pub(super) key: &'static str,
    pub(super) reason: String,
}

fn ensure(holds: bool, key: &'static str, reason: impl Into<String>) -> Result<(), Unusable> {
    if holds { Ok(()) } else { Err(Unusable { key, reason: reason.into() }) }
}

fn longer_than_nothing(key: &'static str, duration: Duration) -> Result<(), Unusable> {
    ensure(!duration.is_zero(), key, "must be longer than 0s")
}

impl Config {
    /// Checks all values, and the files that they name; gives what the file with the limits of tenants says.
    pub(super) fn check(&self) -> Result<Loaded, Unusable> {
        self.check_cluster()?;
        let has_block_bytes = self.ingester.max_block_bytes.is_none_or(|bytes| (1..=MAX_BLOCK_BYTES).contains(&bytes));
        ensure(has_block_bytes, "ingester.max_block_bytes", format!("must be between 1 and {MAX_BLOCK_BYTES}"))?;
        self.memory.validate().map_err(|error| Unusable { key: "memory", reason: error.to_string() })?;
        self.check_receivers()?;
        self.check_storage()?;
        let loaded = self
            .overrides
            .load(&self.of_all_tenants(), self.expand_env)
            .map_err(|error| Unusable { key: "overrides.per_tenant_override_config", reason: format!("{error:#}") })?;
        self.check_generator()?;
        let api = self.secured_api()?;
        let files = api::ListenerFiles::load(&api);
        files.map_err(|error| Unusable { key: section_of(&error), reason: error.to_string() })?;
        Ok(loaded)
    }

    fn check_receivers(&self) -> Result<(), Unusable> {
        let receivers = &self.distributor.receivers;
        let jaeger = receivers.jaeger.as_ref();
        ensure(
            jaeger.is_none_or(Jaeger::names_a_protocol),
            "distributor.receivers.jaeger",
            "names no protocol; write grpc, thrift_http, thrift_compact or thrift_binary in `protocols`",
        )?;
        if let Some((key, reason)) = jaeger.and_then(Jaeger::problem_of_packets) {
            return Err(Unusable { key, reason });
        }
        let otlp_grpc = receivers.otlp.protocols.grpc.as_ref();
        let jaeger_grpc = jaeger.and_then(|jaeger| jaeger.protocols.grpc.as_ref());
        for (key, message_mib) in [
            (
                "distributor.receivers.otlp.protocols.grpc.max_recv_msg_size_mib",
                otlp_grpc.map(|grpc| grpc.max_recv_msg_size_mib),
            ),
            (
                "distributor.receivers.jaeger.protocols.grpc.max_recv_msg_size_mib",
                jaeger_grpc.map(|grpc| grpc.max_recv_msg_size_mib),
            ),
        ] {
            let reason = format!("must be between {} and {}", GRPC_MESSAGE_MIB.start(), GRPC_MESSAGE_MIB.end());
            ensure(message_mib.is_none_or(|mib| GRPC_MESSAGE_MIB.contains(&mib)), key, reason)?;
        }
        Ok(())
    }

    fn check_storage(&self) -> Result<(), Unusable> {
        storage::objects::check(&self.storage.trace)
            .map_err(|error| Unusable { key: "storage.trace", reason: error.to_string() })?;
        let Compaction { compaction_window, compaction_cycle, .. } = &self.compactor.compaction;
        longer_than_nothing("compactor.compaction.block_retention", self.block_retention())?;
        longer_than_nothing("compactor.compaction.compaction_window", compaction_window.get())?;
        longer_than_nothing("compactor.compaction.compaction_cycle", compaction_cycle.get())?;
        let (query_timeout, poll) = (self.querier.search.query_timeout.get(), self.storage.trace.blocklist_poll.get());
        longer_than_nothing("storage.trace.blocklist_poll", poll)?;
        let least_grace = storage::garbage::least_grace(query_timeout, poll);
        ensure(
            self.garbage_grace() >= least_grace,
            "compactor.compaction.compacted_block_retention",
            format!(
                "must be at least {least_grace:?} with this querier.search.query_timeout and \
                 storage.trace.blocklist_poll: blocks are read and written for so long"
            ),
        )
    }

    fn check_generator(&self) -> Result<(), Unusable> {
        longer_than_nothing(
            "metrics_generator.registry.collection_interval",
            self.metrics_generator.registry.collection_interval.get(),
        )?;
        let checked = self.generator().and_then(|generated| {
            generated.remote_write.check()?;
            Ok(generated.config.check()?)
        });
        checked.map_err(|error| Unusable { key: "metrics_generator", reason: format!("{error:#}") })
    }
}

/// The section that names the file which cannot be used.
fn section_of(error: &api::Error) -> &'static str {
    match error {
        api::Error::Tls { listener: api::Listener::Http, .. } => "server.http_tls_config",
        api::Error::Tls { listener: api::Listener::OtlpGrpc, .. } => "distributor.receivers.otlp.protocols.grpc.tls",
        api::Error::Tls { listener: api::Listener::OtlpHttp, .. } => "distributor.receivers.otlp.protocols.http.tls",
        api::Error::Tls { listener: api::Listener::JaegerGrpc, .. } => {
            "distributor.receivers.jaeger.protocols.grpc.tls"
        }
        api::Error::Tls { listener: api::Listener::JaegerThriftHttp, .. } => {
            "distributor.receivers.jaeger.protocols.thrift_http.tls"
        }
        api::Error::Tls { listener: api::Listener::Zipkin, .. } => "distributor.receivers.zipkin.tls",
        api::Error::Kafka(_) => "distributor.receivers.kafka",
        api::Error::Credentials(_) => "authentication",
        api::Error::Cors(_) | api::Error::Listen { .. } => "server",
    }
}
