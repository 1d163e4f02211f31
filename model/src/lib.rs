//! The nouns that every crate shares. Pure: no IO, no clocks, no Arrow.
//!
//! Glossary (Tempo's and OTLP's words):
//!
//! - **tenant**: whose data it is; every store path and every query belongs to one ([`TenantId`]).
//! - **span**: one timed operation; **trace**: all spans that share a [`TraceId`].
//! - **resource**: what produced a span (service, pod); **scope**: the instrumentation library that recorded it.
//! - **live data**: rows that are acknowledged and in the log, but not yet in a block.
//! - **cut**: to close the live data of a tenant, so that it can become a block; **flush**: to write and publish that block.
//! - **block**: an immutable set of Parquet files at rest ([`BlockId`]); **row group**: a part of it that is read as one.
//! - **manifest**: the list of the blocks that exist.
//! - **span set**: spans of one trace that a query keeps together.

pub mod attribute;
pub mod critical_path;
pub mod error_kind;
pub mod id;
pub mod known_tenants;
pub mod limits;
pub mod tenant;
pub mod time_range;

pub use attribute::{Intrinsic, Scope};
pub use error_kind::ErrorKind;
pub use id::{BlockId, SpanId, TraceId};
pub use known_tenants::KnownTenants;
pub use tenant::{TenantId, Tenants};
pub use time_range::TimeRange;
