//! Version 2: a span has a kind, a local and a remote endpoint, and tags.

pub(super) mod json;
pub(super) mod proto;

pub(super) mod translate;

mod annotation;

use super::endpoint::Endpoint;

/// A span of version 2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) trace_id: u128,
    pub(super) id: u64,
    /// 0 for none.
    pub(super) parent_id: u64,
    pub(super) name: String,
    pub(super) kind: Option<Kind>,
    /// 0 for none.
    pub(super) timestamp_micros: i64,
    pub(super) duration_micros: i64,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    /// Times in microseconds, and what happened.
    pub(super) annotations: Vec<(i64, String)>,
    pub(super) tags: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Client,
    Server,
    Producer,
    Consumer,
}
