//! Messages of a stream in sizes that clients take: what is larger is spread over several, whose lists belong together.

use bytes::Bytes;
use prost::Message;

use super::proto::{
    InstantSeries, QueryInstantResponse, QueryRangeResponse, SearchResponse, SearchTagValuesResponse,
    SearchTagValuesV2Response, SearchTagsResponse, SearchTagsV2Response, SearchTagsV2Scope, TagValue, TimeSeries,
    TraceSearchMetadata,
};

/// Largest message, as in Tempo; Grafana takes twice as much. A single entry of a list that is larger goes alone.
const MAX_PACKET_BYTES: usize = 2 << 20;

/// What an entry may take besides its own bytes: its key, and its length.
const ENTRY_BYTES: usize = 6;

/// Tags of a scope that stay together.
const TAGS_TOGETHER: usize = 4096;

/// A message of which one list may be long, and whose other fields are repeated with every part of it.
pub(super) trait Listing: Message + Clone + Default {
    /// A text or a message; the size of a text as a message is that of the text, and a little more.
    type Entry: Message;

    fn list(&mut self) -> &mut Vec<Self::Entry>;

    /// The list in entries that are small enough.
    fn small_entries(entries: Vec<Self::Entry>) -> Vec<Self::Entry> {
        entries
    }
}

/// The encoded message, in several if it is large.
pub(super) fn packets<L: Listing>(message: L) -> Vec<Bytes> {
    packets_of(message, MAX_PACKET_BYTES)
}

fn packets_of<L: Listing>(mut message: L, max_bytes: usize) -> Vec<Bytes> {
    if message.encoded_len() <= max_bytes {
        return vec![Bytes::from(message.encode_to_vec())];
    }
    let entries = L::small_entries(std::mem::take(message.list()));
    let frame = message;
    let mut packets = Vec::new();
    let (mut packet, mut packet_bytes) = (frame.clone(), frame.encoded_len());
    for entry in entries {
        let entry_bytes = entry.encoded_len() + ENTRY_BYTES;
        if packet_bytes + entry_bytes > max_bytes && !packet.list().is_empty() {
            packets.push(Bytes::from(packet.encode_to_vec()));
            (packet, packet_bytes) = (frame.clone(), frame.encoded_len());
        }
        packet.list().push(entry);
        packet_bytes += entry_bytes;
    }
    packets.push(Bytes::from(packet.encode_to_vec()));
    packets
}

impl Listing for SearchResponse {
    type Entry = TraceSearchMetadata;

    fn list(&mut self) -> &mut Vec<TraceSearchMetadata> {
        &mut self.traces
    }
}

impl Listing for SearchTagsResponse {
    type Entry = String;

    fn list(&mut self) -> &mut Vec<String> {
        &mut self.tag_names
    }
}

impl Listing for SearchTagsV2Response {
    type Entry = SearchTagsV2Scope;

    fn list(&mut self) -> &mut Vec<SearchTagsV2Scope> {
        &mut self.scopes
    }

    fn small_entries(scopes: Vec<SearchTagsV2Scope>) -> Vec<SearchTagsV2Scope> {
        let parts = |scope: &SearchTagsV2Scope| {
            let part = |tags: &[String]| SearchTagsV2Scope { name: scope.name.clone(), tags: tags.to_vec() };
            scope.tags.chunks(TAGS_TOGETHER).map(part).collect::<Vec<_>>()
        };
        scopes.iter().flat_map(parts).collect()
    }
}

impl Listing for SearchTagValuesResponse {
    type Entry = String;

    fn list(&mut self) -> &mut Vec<String> {
        &mut self.tag_values
    }
}

impl Listing for SearchTagValuesV2Response {
    type Entry = TagValue;

    fn list(&mut self) -> &mut Vec<TagValue> {
        &mut self.tag_values
    }
}

impl Listing for QueryRangeResponse {
    type Entry = TimeSeries;

    fn list(&mut self) -> &mut Vec<TimeSeries> {
        &mut self.series
    }
}

impl Listing for QueryInstantResponse {
    type Entry = InstantSeries;

    fn list(&mut self) -> &mut Vec<InstantSeries> {
        &mut self.series
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tempo::proto::MetadataMetrics;

    #[test]
    fn a_large_message_is_spread_over_several_and_nothing_is_lost() {
        let metrics = MetadataMetrics { inspected_bytes: 7, ..MetadataMetrics::default() };
        let tag_values: Vec<String> = (0..1000).map(|number| format!("value {number}")).collect();
        let message = SearchTagValuesResponse { tag_values: tag_values.clone(), metrics };
        assert_eq!(packets(message.clone()), [message.encode_to_vec()]);

        let packets = packets_of(message, 500);
        assert!(packets.len() > 10 && packets.iter().all(|packet| packet.len() <= 500));
        let parts: Vec<_> =
            packets.into_iter().map(|packet| SearchTagValuesResponse::decode(packet).unwrap()).collect();
        assert!(parts.iter().all(|part| part.metrics.inspected_bytes == 7), "every message has metrics");
        assert_eq!(parts.into_iter().flat_map(|part| part.tag_values).collect::<Vec<_>>(), tag_values);
    }

    #[test]
    fn a_long_scope_is_spread_too() {
        let tags: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        let scope = |name: &str| SearchTagsV2Scope { name: name.to_owned(), tags: tags.clone() };
        let message = SearchTagsV2Response { scopes: vec![scope("span"), scope("event")], ..Default::default() };
        let packets = packets_of(message, 40_000);
        assert!(packets.len() > 2 && packets.iter().all(|packet| packet.len() <= 40_000));
        let scopes = packets.into_iter().flat_map(|packet| SearchTagsV2Response::decode(packet).unwrap().scopes);
        let of_span = scopes.filter(|scope| scope.name == "span").flat_map(|scope| scope.tags);
        assert_eq!(of_span.collect::<Vec<_>>(), tags);
    }

    #[test]
    fn an_entry_that_is_larger_than_a_message_goes_alone() {
        let message = SearchTagsResponse {
            tag_names: vec!["a".to_owned(), "b".repeat(100), "c".to_owned()],
            ..SearchTagsResponse::default()
        };
        let names = |packet: Bytes| SearchTagsResponse::decode(packet).unwrap().tag_names.len();
        assert_eq!(packets_of(message, 50).into_iter().map(names).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
