//! The real app on free ports, asked over its protocols; and its parts put together on storage that fails. One binary:
//! linking is the slow part.

mod bucket_log_latency;
mod bucket_log_simulation;
mod cluster;
mod cluster_jobs;
mod cluster_simulation;
mod cluster_wire;
mod conformance_suite;
mod copies;
mod damage;
mod deletion;
mod dependencies;
mod disk_full;
mod durability;
mod failure;
mod far_away;
mod generated;
mod language;
mod limits;
mod retention;
mod secure;
mod server;
mod service_graph;
mod simulation;
mod start;
mod stored;
mod tools;
mod trace_diff;
mod trace_pruned;
mod traffic;
mod user_overrides;
