//! What is asked of each method in tests: everything in a range.

use prost::Message;

use super::requests::{
    QueryInstantRequest, QueryRangeRequest, SearchRequest, SearchTagValuesRequest, SearchTagsRequest,
};

const NANOS: u64 = 1_000_000_000;

/// The message of a method, by its short name, for a range of unix seconds.
pub(crate) fn question(method: &str, (start, end): (u32, u32)) -> Vec<u8> {
    let query = "{ } | rate() by (name)".to_owned();
    let (start_nanos, end_nanos) = (u64::from(start) * NANOS, u64::from(end) * NANOS);
    let values = |tag: &str| SearchTagValuesRequest { tag_name: tag.to_owned(), start, end, ..Default::default() };
    match method {
        "Search" => SearchRequest { start, end, query: "{ }".to_owned(), ..Default::default() }.encode_to_vec(),
        "SearchTags" | "SearchTagsV2" => SearchTagsRequest { start, end, ..Default::default() }.encode_to_vec(),
        "SearchTagValues" => values("fruit").encode_to_vec(),
        "SearchTagValuesV2" => values("span.fruit").encode_to_vec(),
        "MetricsQueryRange" => {
            QueryRangeRequest { query, start: start_nanos, end: end_nanos, step: 10 * NANOS, ..Default::default() }
                .encode_to_vec()
        }
        "MetricsQueryInstant" => QueryInstantRequest { query, start: start_nanos, end: end_nanos }.encode_to_vec(),
        method => panic!("how to call {method}?"),
    }
}
