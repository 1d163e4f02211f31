//! The tasks that keep the store in order.

use std::sync::Arc;

use ingester::Ingester;
use model::limits::TenantLimits;
use storage::compaction::Compactor;
use storage::garbage::Collector;
use storage::manifest::Poller;
use storage::memory_budget::Parts;
use storage::retention::Retention;
use storage::trace_mapper::TraceMapper;
use storage::upkeep_share::UpkeepShare;
use tokio::sync::watch;

use super::cluster::Cluster;
use super::earlier_logs::EarlierLogs;
use super::store::Store;
use crate::config::Config;
use crate::tasks::Tasks;

/// Upkeep may stop at any point; compaction comes to the end of its row group when `stop_compaction` says so.
pub(super) struct Upkeep {
    pub tasks: Tasks,
    pub compaction: Tasks,
    pub stop_compaction: watch::Sender<bool>,
}

impl Upkeep {
    /// Every process follows the manifests; what changes blocks runs where the target says so, for what is this process's share.
    pub fn begin(
        config: &Config,
        parts: &Parts,
        store: &Store,
        limits: &Arc<TenantLimits>,
        share: UpkeepShare,
    ) -> Self {
        let Store { objects, manifests, cache, background, telemetry, .. } = store.clone();
        let (mut tasks, mut compaction) = (Tasks::default(), Tasks::default());
        let (stop_compaction, running) = watch::channel(false);
        let poll_period = config.storage.trace.blocklist_poll.get();
        tasks.spawn("manifest poller", Poller::new(manifests.clone(), poll_period, telemetry.clone()).run());
        if config.target().keeps_blocks_in_order() {
            let retention = Retention::new(manifests.clone(), limits.clone(), telemetry.clone());
            tasks.spawn("retention", retention.sharing(share.clone()).run());
            let grace = config.garbage_grace();
            let collector = Collector::new(manifests.clone(), objects.clone(), grace, telemetry.clone());
            tasks.spawn("collector", collector.sharing(share.clone()).run());
            let (of_maps, cpu) = (telemetry.clone(), background.clone());
            let trace_mapper = TraceMapper::new(manifests.clone(), objects.clone(), cpu, cache, of_maps);
            let trace_mapper = trace_mapper.within(parts.trace_maps).sharing(share.clone());
            tasks.spawn("trace mapper", trace_mapper.run());
            let compactor = Compactor::new(manifests, objects, background, &config.compaction(), telemetry);
            compaction.spawn("compactor", compactor.within(parts.compaction).sharing(share).run(running));
        }
        Self { tasks, compaction, stop_compaction }
    }

    /// What a process of a cluster does besides: it follows the others, and publishes and deletes what those that are gone have
    /// left of their logs, and its own earlier starts. `way_in` is where a process takes spans.
    pub fn begin_in_cluster(
        &mut self,
        cluster: &Cluster,
        way_in: Option<(&Ingester, ingester::Storage)>,
        config: &Config,
        store: &Store,
        share: UpkeepShare,
    ) {
        let tasks = &mut self.tasks;
        tasks.spawn("watch over other processes", cluster.watch(share));
        if let Some((ingester, storage)) = way_in {
            tasks.spawn("retirement of earlier starts", cluster.retire_earlier_starts(ingester));
            if config.ships_log() {
                let earlier = EarlierLogs::new(cluster, store, ingester.adopter(storage.clone()));
                tasks.spawn("publisher of earlier logs", earlier.run());
            }
            if let Some(adoption) = cluster.adopt_others(ingester, storage) {
                tasks.spawn("adoption of writers that are gone", adoption);
            }
            if let Some(collector) = cluster.collect_own_log(ingester, store, config.garbage_grace()) {
                tasks.spawn("collector of the log", collector);
            }
        }
        if config.target().keeps_blocks_in_order() {
            tasks.spawn("collector of lost logs", cluster.collect_lost_logs(store));
        }
    }
}
