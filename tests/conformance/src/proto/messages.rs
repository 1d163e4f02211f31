//! The field tables: Tempo's answers and streaming requests, and the OTLP messages within them. Only what the suite sends or reads.

use super::Kind::{self, Bool, Bytes, Double, Enum, Fixed32, Fixed64, Int32, Int64, String, Uint32, Uint64};
use super::Rule::{self, Oneof, Repeated, Single};
use super::{Field, Message};

const fn field(name: &'static str, number: u64, kind: Kind) -> Field {
    with_rule(name, number, kind, Single)
}

const fn many(name: &'static str, number: u64, kind: Kind) -> Field {
    with_rule(name, number, kind, Repeated)
}

const fn one_of(name: &'static str, number: u64, kind: Kind) -> Field {
    with_rule(name, number, kind, Oneof)
}

const fn with_rule(name: &'static str, number: u64, kind: Kind, rule: Rule) -> Field {
    Field { name, number, kind, rule }
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($field:expr),* $(,)? })*) => {
        $($(#[$doc])* pub static $name: Message = Message { fields: &[$($field),*] };)*
    };
}

/// `Kind::Message`, short enough for a table.
const fn of(message: &'static Message) -> Kind {
    Kind::Message(message)
}

const PARTIAL_STATUS: Kind = Enum(&["COMPLETE", "PARTIAL"]);
const SPAN_KIND: Kind = Enum(&[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
]);
const STATUS_CODE: Kind = Enum(&["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"]);

// OTLP
messages! {
    ANY_VALUE {
        one_of("stringValue", 1, String), one_of("boolValue", 2, Bool), one_of("intValue", 3, Int64),
        one_of("doubleValue", 4, Double), one_of("arrayValue", 5, of(&ARRAY_VALUE)),
        one_of("kvlistValue", 6, of(&KEY_VALUE_LIST)), one_of("bytesValue", 7, Bytes),
        one_of("stringValueStrindex", 8, Int32),
    }
    ARRAY_VALUE { many("values", 1, of(&ANY_VALUE)) }
    KEY_VALUE_LIST { many("values", 1, of(&KEY_VALUE)) }
    KEY_VALUE { field("key", 1, String), field("value", 2, of(&ANY_VALUE)), field("keyStrindex", 3, Int32) }
    ENTITY_REF {
        field("schemaUrl", 1, String), field("type", 2, String), many("idKeys", 3, String),
        many("descriptionKeys", 4, String),
    }
    RESOURCE {
        many("attributes", 1, of(&KEY_VALUE)), field("droppedAttributesCount", 2, Uint32),
        many("entityRefs", 3, of(&ENTITY_REF)),
    }
    SCOPE {
        field("name", 1, String), field("version", 2, String), many("attributes", 3, of(&KEY_VALUE)),
        field("droppedAttributesCount", 4, Uint32),
    }
    RESOURCE_SPANS {
        field("resource", 1, of(&RESOURCE)), many("scopeSpans", 2, of(&SCOPE_SPANS)), field("schemaUrl", 3, String),
    }
    SCOPE_SPANS { field("scope", 1, of(&SCOPE)), many("spans", 2, of(&SPAN)), field("schemaUrl", 3, String) }
    SPAN {
        field("traceId", 1, Bytes), field("spanId", 2, Bytes), field("traceState", 3, String),
        field("parentSpanId", 4, Bytes), field("name", 5, String), field("kind", 6, SPAN_KIND),
        field("startTimeUnixNano", 7, Fixed64), field("endTimeUnixNano", 8, Fixed64),
        many("attributes", 9, of(&KEY_VALUE)), field("droppedAttributesCount", 10, Uint32),
        many("events", 11, of(&EVENT)), field("droppedEventsCount", 12, Uint32),
        many("links", 13, of(&LINK)), field("droppedLinksCount", 14, Uint32),
        field("status", 15, of(&STATUS)), field("flags", 16, Fixed32),
    }
    EVENT {
        field("timeUnixNano", 1, Fixed64), field("name", 2, String), many("attributes", 3, of(&KEY_VALUE)),
        field("droppedAttributesCount", 4, Uint32),
    }
    LINK {
        field("traceId", 1, Bytes), field("spanId", 2, Bytes), field("traceState", 3, String),
        many("attributes", 4, of(&KEY_VALUE)), field("droppedAttributesCount", 5, Uint32), field("flags", 6, Fixed32),
    }
    STATUS { field("message", 2, String), field("code", 3, STATUS_CODE) }
    EXPORT_RESPONSE { field("partialSuccess", 1, of(&PARTIAL_SUCCESS)) }
    PARTIAL_SUCCESS { field("rejectedSpans", 1, Int64), field("errorMessage", 2, String) }
    /// google.rpc.Status, which OTLP servers send on failure; its details are not read.
    RPC_STATUS { field("code", 1, Int32), field("message", 2, String) }
}

// Traces by id
messages! {
    /// A trace, which is also an OTLP export request.
    TRACE { many("resourceSpans", 1, of(&RESOURCE_SPANS)) }
    TRACE_BY_ID_METRICS { field("inspectedBytes", 1, Uint64) }
    TRACE_BY_ID_RESPONSE {
        field("trace", 1, of(&TRACE)), field("metrics", 2, of(&TRACE_BY_ID_METRICS)),
        field("status", 3, PARTIAL_STATUS), field("message", 4, String),
    }
}

// Search
messages! {
    /// A `map<string,string>` entry on the wire.
    TAG_PAIR { field("key", 1, String), field("value", 2, String) }
    SEARCH_REQUEST {
        many("Tags", 1, of(&TAG_PAIR)), field("MinDurationMs", 2, Uint32), field("MaxDurationMs", 3, Uint32),
        field("Limit", 4, Uint32), field("start", 5, Uint32), field("end", 6, Uint32), field("Query", 8, String),
        field("SpansPerSpanSet", 9, Uint32),
    }
    SERVICE_STATS { field("spanCount", 1, Uint32), field("errorCount", 2, Uint32) }
    SERVICE_STATS_ENTRY { field("key", 1, String), field("value", 2, of(&SERVICE_STATS)) }
    SEARCH_SPAN {
        field("spanID", 1, String), field("name", 2, String), field("startTimeUnixNano", 3, Uint64),
        field("durationNanos", 4, Uint64), many("attributes", 5, of(&KEY_VALUE)),
    }
    SPAN_SET { many("spans", 1, of(&SEARCH_SPAN)), field("matched", 2, Uint32), many("attributes", 3, of(&KEY_VALUE)) }
    TRACE_SEARCH_METADATA {
        field("traceID", 1, String), field("rootServiceName", 2, String), field("rootTraceName", 3, String),
        field("startTimeUnixNano", 4, Uint64), field("durationMs", 5, Uint32), field("spanSet", 6, of(&SPAN_SET)),
        many("spanSets", 7, of(&SPAN_SET)), many("serviceStats", 8, of(&SERVICE_STATS_ENTRY)),
    }
    SEARCH_METRICS {
        field("inspectedTraces", 1, Uint32), field("inspectedBytes", 2, Uint64), field("totalBlocks", 3, Uint32),
        field("completedJobs", 4, Uint32), field("totalJobs", 5, Uint32), field("totalBlockBytes", 6, Uint64),
        field("inspectedSpans", 7, Uint64),
    }
    SEARCH_RESPONSE { many("traces", 1, of(&TRACE_SEARCH_METADATA)), field("metrics", 2, of(&SEARCH_METRICS)) }
}

// Tags and their values
messages! {
    SEARCH_TAGS_REQUEST {
        field("scope", 1, String), field("query", 2, String), field("start", 3, Uint32), field("end", 4, Uint32),
        field("maxTagsPerScope", 5, Uint32),
    }
    METADATA_METRICS {
        field("inspectedBytes", 1, Uint64), field("totalJobs", 2, Uint32), field("completedJobs", 3, Uint32),
        field("totalBlocks", 4, Uint32), field("totalBlockBytes", 5, Uint64),
    }
    SEARCH_TAGS_RESPONSE { many("tagNames", 1, String), field("metrics", 2, of(&METADATA_METRICS)) }
    SEARCH_TAGS_V2_SCOPE { field("name", 1, String), many("tags", 2, String) }
    SEARCH_TAGS_V2_RESPONSE {
        many("scopes", 1, of(&SEARCH_TAGS_V2_SCOPE)), field("metrics", 2, of(&METADATA_METRICS)),
    }
    SEARCH_TAG_VALUES_REQUEST {
        field("tagName", 1, String), field("query", 2, String), field("start", 4, Uint32), field("end", 5, Uint32),
        field("maxTagValues", 6, Uint32),
    }
    SEARCH_TAG_VALUES_RESPONSE { many("tagValues", 1, String), field("metrics", 2, of(&METADATA_METRICS)) }
    TAG_VALUE { field("type", 1, String), field("value", 2, String) }
    SEARCH_TAG_VALUES_V2_RESPONSE { many("tagValues", 1, of(&TAG_VALUE)), field("metrics", 2, of(&METADATA_METRICS)) }
}

// Metrics
messages! {
    QUERY_INSTANT_REQUEST { field("query", 1, String), field("start", 2, Uint64), field("end", 3, Uint64) }
    INSTANT_SERIES { many("labels", 1, of(&KEY_VALUE)), field("value", 2, Double) }
    QUERY_INSTANT_RESPONSE {
        many("series", 1, of(&INSTANT_SERIES)), field("metrics", 2, of(&SEARCH_METRICS)),
        field("status", 3, PARTIAL_STATUS), field("message", 4, String),
    }
    QUERY_RANGE_REQUEST {
        field("query", 1, String), field("start", 2, Uint64), field("end", 3, Uint64), field("step", 4, Uint64),
        field("exemplars", 16, Uint32), field("maxSeries", 17, Uint32),
    }
    SAMPLE { field("value", 1, Double), field("timestampMs", 2, Int64) }
    EXEMPLAR { many("labels", 1, of(&KEY_VALUE)), field("value", 2, Double), field("timestampMs", 3, Int64) }
    TIME_SERIES {
        many("labels", 1, of(&KEY_VALUE)), many("samples", 2, of(&SAMPLE)), many("exemplars", 4, of(&EXEMPLAR)),
    }
    QUERY_RANGE_RESPONSE {
        many("series", 1, of(&TIME_SERIES)), field("metrics", 2, of(&SEARCH_METRICS)),
        field("status", 3, PARTIAL_STATUS), field("message", 4, String),
    }
}
