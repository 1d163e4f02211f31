//! What is asked over gRPC, and how it reads as a question of the HTTP API. Zero and empty are what was not said.
//!
//! Fields that only Tempo's own parts send, and those that it has given up (`RF1After`), are skipped when read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::tempo::metrics;
use crate::tempo::params::range::{self, Bounds};
use crate::tempo::search::Asked;
use crate::tempo::tags::{NamesAsked, ValuesAsked};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchRequest {
    /// Looked at only without a query.
    #[prost(btree_map = "string, string", tag = "1")]
    pub(super) tags: BTreeMap<String, String>,
    #[prost(uint32, tag = "2")]
    pub(super) min_duration_ms: u32,
    #[prost(uint32, tag = "3")]
    pub(super) max_duration_ms: u32,
    #[prost(uint32, tag = "4")]
    pub(super) limit: u32,
    /// Unix seconds.
    #[prost(uint32, tag = "5")]
    pub(super) start: u32,
    #[prost(uint32, tag = "6")]
    pub(super) end: u32,
    #[prost(string, tag = "8")]
    pub(super) query: String,
    /// 0 for as many as are given unasked, as `spss=0`.
    #[prost(uint32, tag = "9")]
    pub(super) spans_per_span_set: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchTagsRequest {
    #[prost(string, tag = "1")]
    pub(super) scope: String,
    #[prost(string, tag = "2")]
    pub(super) query: String,
    /// Unix seconds.
    #[prost(uint32, tag = "3")]
    pub(super) start: u32,
    #[prost(uint32, tag = "4")]
    pub(super) end: u32,
    #[prost(uint32, tag = "5")]
    pub(super) max_tags_per_scope: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SearchTagValuesRequest {
    #[prost(string, tag = "1")]
    pub(super) tag_name: String,
    #[prost(string, tag = "2")]
    pub(super) query: String,
    /// Unix seconds.
    #[prost(uint32, tag = "4")]
    pub(super) start: u32,
    #[prost(uint32, tag = "5")]
    pub(super) end: u32,
    #[prost(uint32, tag = "6")]
    pub(super) max_tag_values: u32,
    #[prost(uint32, tag = "7")]
    pub(super) stale_value_threshold: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct QueryRangeRequest {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    /// Unix nanoseconds.
    #[prost(uint64, tag = "2")]
    pub(super) start: u64,
    #[prost(uint64, tag = "3")]
    pub(super) end: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "4")]
    pub(super) step: u64,
    #[prost(uint32, tag = "16")]
    pub(super) exemplars: u32,
    #[prost(uint32, tag = "17")]
    pub(super) max_series: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct QueryInstantRequest {
    #[prost(string, tag = "1")]
    pub(super) query: String,
    /// Unix nanoseconds.
    #[prost(uint64, tag = "2")]
    pub(super) start: u64,
    #[prost(uint64, tag = "3")]
    pub(super) end: u64,
}

impl QueryRangeRequest {
    pub(super) fn asked(&self, now_nanos: u64) -> metrics::Asked {
        metrics::Asked {
            query: self.query.clone(),
            range: range::of_metrics_nanos(self.start, self.end, now_nanos),
            step_nanos: (self.step > 0).then_some(self.step),
            exemplars: self.exemplars,
            max_series: self.max_series,
        }
    }
}

impl QueryInstantRequest {
    pub(super) fn asked(&self, now_nanos: u64) -> metrics::Asked {
        metrics::Asked {
            query: self.query.clone(),
            range: range::of_metrics_nanos(self.start, self.end, now_nanos),
            step_nanos: None,
            exemplars: 0,
            max_series: 0,
        }
    }
}

impl SearchRequest {
    pub(super) fn asked(&self) -> Asked {
        let duration = |millis: u32| (millis > 0).then(|| Duration::from_millis(millis.into()));
        Asked {
            bounds: Bounds::of_seconds(self.start, self.end),
            query: said(&self.query),
            tags: self.tags.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            min_duration: duration(self.min_duration_ms),
            max_duration: duration(self.max_duration_ms),
            limit: (self.limit > 0).then_some(self.limit),
            spans_per_span_set: Some(self.spans_per_span_set),
        }
    }
}

impl SearchTagsRequest {
    pub(super) fn asked(&self) -> NamesAsked {
        NamesAsked {
            scope: self.scope.clone(),
            query: said(&self.query),
            bounds: Bounds::of_seconds(self.start, self.end),
            limit: self.max_tags_per_scope,
        }
    }
}

impl SearchTagValuesRequest {
    pub(super) fn asked(&self) -> ValuesAsked {
        ValuesAsked {
            tag: self.tag_name.clone(),
            query: said(&self.query),
            bounds: Bounds::of_seconds(self.start, self.end),
            limit: self.max_tag_values,
            max_stale: self.stale_value_threshold,
        }
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
