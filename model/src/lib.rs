//! The nouns that every crate shares. Pure: no IO, no clocks, no Arrow.
#![doc = ""]
#![doc = include_str!("glossary.md")]

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
