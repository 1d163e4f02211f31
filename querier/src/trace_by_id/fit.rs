//! As much of a trace as fits into an answer.

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;

/// The most that key and length add to a message in a list.
const FRAME_BYTES: usize = 6;

/// Leaves out the spans that start last, until the rest has at most `max_bytes` as OTLP. Whether any was left out.
///
/// Spans must be in order of start within each scope, as [`crate::engine::merge::sort_by_start`] leaves them.
pub(super) fn fit(resource_spans: &mut Vec<ResourceSpans>, max_bytes: usize) -> bool {
    if framed(resource_spans) <= max_bytes {
        return false;
    }
    let mut kept = kept_counts(resource_spans, max_bytes).into_iter();
    for resource in resource_spans.iter_mut() {
        for scope in &mut resource.scope_spans {
            scope.spans.truncate(kept.next().unwrap_or_default());
        }
        resource.scope_spans.retain(|scope| !scope.spans.is_empty());
    }
    resource_spans.retain(|resource| !resource.scope_spans.is_empty());
    true
}

/// How many spans of each scope fit, in the order of the scopes.
fn kept_counts(resource_spans: &[ResourceSpans], max_bytes: usize) -> Vec<usize> {
    let scopes: Vec<(usize, &ScopeSpans)> = resource_spans
        .iter()
        .enumerate()
        .flat_map(|(resource, of)| of.scope_spans.iter().map(move |scope| (resource, scope)))
        .collect();
    let mut spans: Vec<(u64, usize, usize)> = Vec::new();
    for (number, (_, scope)) in scopes.iter().enumerate() {
        spans.extend(scope.spans.iter().map(|span| (span.start_time_unix_nano, number, span.encoded_len())));
    }
    spans.sort_by_key(|(start_nanos, scope, _)| (*start_nanos, *scope));
    let mut kept = vec![0; scopes.len()];
    let mut is_resource_kept = vec![false; resource_spans.len()];
    let mut used_bytes = 0;
    for (_, number, bytes) in spans {
        let (resource, scope) = scopes[number];
        let mut cost = bytes + FRAME_BYTES;
        if kept[number] == 0 {
            cost += scope.encoded_len() - framed(&scope.spans) + 2 * FRAME_BYTES;
        }
        if !is_resource_kept[resource] {
            let of_resource = &resource_spans[resource];
            cost += of_resource.encoded_len() - framed(&of_resource.scope_spans) + 2 * FRAME_BYTES;
        }
        if used_bytes + cost > max_bytes {
            break;
        }
        used_bytes += cost;
        kept[number] += 1;
        is_resource_kept[resource] = true;
    }
    kept
}

/// Bytes of messages in a list, with their exact frames.
fn framed(messages: &[impl Message]) -> usize {
    let framed = |bytes: usize| 1 + prost::length_delimiter_len(bytes) + bytes;
    messages.iter().map(|message| framed(message.encoded_len())).sum()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::Span;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::merge::sort_by_start;
    use crate::testing::{resource, span, text};

    fn starts(resources: &[ResourceSpans]) -> Vec<u64> {
        let scopes = resources.iter().flat_map(|resource| &resource.scope_spans);
        let mut starts: Vec<u64> =
            scopes.flat_map(|scope| &scope.spans).map(|span| span.start_time_unix_nano).collect();
        starts.sort_unstable();
        starts
    }

    proptest! {
        #[test]
        fn the_first_spans_that_fit_are_kept(
            resources in prop::collection::vec((0..300_usize, prop::collection::vec((0..50_u64, 0..200_usize), 1..20)), 1..5),
            max_bytes in 0..6000_usize,
        ) {
            let of = |(size, spans): &(usize, Vec<(u64, usize)>)| {
                let spans = spans.iter().map(|(start, size)| Span { name: "n".repeat(*size), ..span(1, 1, 0, "", *start, 1) });
                resource(&[("service.name", text(&"s".repeat(*size)))], "scope", spans.collect())
            };
            let mut all: Vec<ResourceSpans> = resources.iter().map(of).collect();
            sort_by_start(&mut all);
            let mut kept = all.clone();
            let is_cut = fit(&mut kept, max_bytes);
            prop_assert!(framed(&kept) <= max_bytes);
            prop_assert_eq!(is_cut, framed(&all) > max_bytes);
            let (kept, all) = (starts(&kept), starts(&all));
            prop_assert_eq!(&kept[..], &all[..kept.len()]);
            prop_assert!(is_cut || kept.len() == all.len());
        }
    }
}
