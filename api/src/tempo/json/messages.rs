//! The messages of `proto.rs` as JSON. The order of keys is the order of Tempo's structs.

use super::{Json, Object};
use crate::tempo::proto::{
    MetadataMetrics, PartialStatus, QueryInstantResponse, QueryRangeResponse, SearchMetrics, SearchResponse,
    SearchTagValuesResponse, SearchTagValuesV2Response, SearchTagsResponse, SearchTagsV2Response, SearchTagsV2Scope,
    ServiceStats, Span, SpanSet, TagValue, TimeSeries, Trace, TraceByIdResponse, TraceSearchMetadata,
};

/// A message that has a JSON form.
pub(in crate::tempo) trait ToJson {
    fn write(&self, json: &mut Json);
}

impl ToJson for Trace {
    /// The answer of the first version, which calls resource spans `batches`.
    fn write(&self, json: &mut Json) {
        json.object(|object| object.list("batches", &self.resource_spans, |json, spans| json.resource_spans(spans)));
    }
}

impl ToJson for TraceByIdResponse {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.member("trace").object(|trace| {
                trace.list("resourceSpans", &self.trace.resource_spans, |json, spans| json.resource_spans(spans));
            });
            object.member("metrics").object(|metrics| metrics.uint64("inspectedBytes", self.metrics.inspected_bytes));
            partial(object, self.status, &self.message);
        });
    }
}

fn partial(object: &mut Object<'_>, status: i32, message: &str) {
    object.enumeration("status", status, |status| (status == PartialStatus::Partial as i32).then_some("PARTIAL"));
    object.string("message", message);
}

impl ToJson for SearchResponse {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.full_list("traces", &self.traces, |json, trace| trace.write(json));
            self.metrics.write(object.member("metrics"));
        });
    }
}

impl ToJson for TraceSearchMetadata {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.string("traceID", &self.trace_id);
            object.string("rootServiceName", &self.root_service_name);
            object.string("rootTraceName", &self.root_trace_name);
            object.uint64("startTimeUnixNano", self.start_time_unix_nano);
            object.uint32("durationMs", self.duration_ms);
            if let Some(span_set) = &self.span_set {
                span_set.write(object.member("spanSet"));
            }
            object.list("spanSets", &self.span_sets, |json, span_set| span_set.write(json));
            if !self.service_stats.is_empty() {
                object.member("serviceStats").object(|services| {
                    for (name, stats) in &self.service_stats {
                        stats.write(services.member(name));
                    }
                });
            }
        });
    }
}

impl ToJson for ServiceStats {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.uint32("spanCount", self.span_count);
            object.uint32("errorCount", self.error_count);
        });
    }
}

impl ToJson for SpanSet {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.list("spans", &self.spans, |json, span| span.write(json));
            object.uint32("matched", self.matched);
            object.attributes(&self.attributes);
        });
    }
}

impl ToJson for Span {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.string("spanID", &self.span_id);
            object.string("name", &self.name);
            object.uint64("startTimeUnixNano", self.start_time_unix_nano);
            object.uint64("durationNanos", self.duration_nanos);
            object.attributes(&self.attributes);
        });
    }
}

impl ToJson for SearchMetrics {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.uint32("inspectedTraces", self.inspected_traces);
            object.uint64("inspectedBytes", self.inspected_bytes);
            object.uint32("totalBlocks", self.total_blocks);
            object.uint32("completedJobs", self.completed_jobs);
            object.uint32("totalJobs", self.total_jobs);
            object.uint64("totalBlockBytes", self.total_block_bytes);
            object.uint64("inspectedSpans", self.inspected_spans);
        });
    }
}

impl ToJson for QueryRangeResponse {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.full_list("series", &self.series, |json, series| series.write(json));
            self.metrics.write(object.member("metrics"));
            partial(object, self.status, &self.message);
        });
    }
}

impl ToJson for TimeSeries {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.labels(&self.labels);
            object.full_list("samples", &self.samples, |json, sample| {
                json.object(|object| {
                    object.int64("timestampMs", sample.timestamp_ms);
                    object.double("value", sample.value);
                });
            });
            object.list("exemplars", &self.exemplars, |json, exemplar| {
                json.object(|object| {
                    object.labels(&exemplar.labels);
                    object.double("value", exemplar.value);
                    object.int64("timestampMs", exemplar.timestamp_ms);
                });
            });
        });
    }
}

/// Without any series there is no list of them.
impl ToJson for QueryInstantResponse {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.list("series", &self.series, |json, series| {
                json.object(|object| {
                    object.labels(&series.labels);
                    object.double("value", series.value);
                });
            });
            self.metrics.write(object.member("metrics"));
            partial(object, self.status, &self.message);
        });
    }
}

impl ToJson for MetadataMetrics {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.uint64("inspectedBytes", self.inspected_bytes);
            object.uint32("totalJobs", self.total_jobs);
            object.uint32("completedJobs", self.completed_jobs);
            object.uint32("totalBlocks", self.total_blocks);
            object.uint64("totalBlockBytes", self.total_block_bytes);
        });
    }
}

impl ToJson for SearchTagsResponse {
    fn write(&self, json: &mut Json) {
        listing(
            json,
            |object| object.full_list("tagNames", &self.tag_names, |json, name| json.string(name)),
            &self.metrics,
        );
    }
}

impl ToJson for SearchTagsV2Response {
    fn write(&self, json: &mut Json) {
        listing(
            json,
            |object| object.full_list("scopes", &self.scopes, |json, scope| scope.write(json)),
            &self.metrics,
        );
    }
}

impl ToJson for SearchTagsV2Scope {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.string("name", &self.name);
            object.full_list("tags", &self.tags, |json, tag| json.string(tag));
        });
    }
}

impl ToJson for SearchTagValuesResponse {
    fn write(&self, json: &mut Json) {
        listing(
            json,
            |object| object.full_list("tagValues", &self.tag_values, |json, value| json.string(value)),
            &self.metrics,
        );
    }
}

impl ToJson for SearchTagValuesV2Response {
    fn write(&self, json: &mut Json) {
        listing(
            json,
            |object| object.full_list("tagValues", &self.tag_values, |json, value| value.write(json)),
            &self.metrics,
        );
    }
}

impl ToJson for TagValue {
    fn write(&self, json: &mut Json) {
        json.object(|object| {
            object.string("type", &self.kind);
            object.string("value", &self.value);
        });
    }
}

/// A list and what it cost.
fn listing(json: &mut Json, list: impl FnOnce(&mut Object<'_>), metrics: &MetadataMetrics) {
    json.object(|object| {
        list(object);
        metrics.write(object.member("metrics"));
    });
}
