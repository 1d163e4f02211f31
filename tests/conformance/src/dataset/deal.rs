//! Traces in pieces: the spans of each are dealt at random to several hands, which a server can be made to keep apart.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Dataset, Request};

impl Dataset {
    /// The dataset in so many hands, to be sent one after another: in each its requests, with the spans that it was dealt.
    ///
    /// Any hand may get any span, a child before its parent too. Only siblings keep their order, as an earlier one is never
    /// in a later hand: their order of arrival is part of the recorded answers, which number the spans of the tree.
    pub fn dealt(&self, hands: usize, seed: u64) -> Vec<Vec<Request>> {
        let hand_of_span = self.hands_of_spans(hands, &mut SmallRng::seed_from_u64(seed));
        let of_hand = |hand: usize| {
            let mut left = hand_of_span.iter();
            let of_request = |request: &Request| {
                let mut message = request.message.clone();
                for scope in message.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans) {
                    scope.spans.retain(|_| left.next() == Some(&hand));
                }
                drop_empty(&mut message);
                Request { message, ..*request }
            };
            let requests: Vec<Request> = self.requests.iter().map(of_request).collect();
            requests.into_iter().filter(|request| !request.message.resource_spans.is_empty()).collect()
        };
        (0..hands).map(of_hand).collect()
    }

    /// The hand that gets each span, in the order in which the spans are sent.
    fn hands_of_spans(&self, hands: usize, random: &mut SmallRng) -> Vec<usize> {
        let mut siblings: HashMap<(&[u8], &[u8]), Vec<usize>> = HashMap::new();
        for (number, span) in self.requests.iter().flat_map(|request| spans(&request.message)).enumerate() {
            siblings.entry((&span.trace_id, &span.parent_span_id)).or_default().push(number);
        }
        let mut families: Vec<Vec<usize>> = siblings.into_values().collect();
        families.sort_unstable(); // so that the same seed deals alike
        let mut dealt = vec![0; self.spans];
        for family in families {
            let mut of_family: Vec<usize> = family.iter().map(|_| random.random_range(0..hands)).collect();
            of_family.sort_unstable();
            family.into_iter().zip(of_family).for_each(|(span, hand)| dealt[span] = hand);
        }
        dealt
    }
}

fn spans(message: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    message.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}

fn drop_empty(message: &mut ExportTraceServiceRequest) {
    message.resource_spans.iter_mut().for_each(|resource| resource.scope_spans.retain(|scope| !scope.spans.is_empty()));
    message.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_span_is_dealt_once_and_traces_are_torn() {
        let data = Dataset::load(1_700_000_040).unwrap();
        let dealt = data.dealt(4, 7);
        let (mut count, mut hands_of_trace) = (0, HashMap::<Vec<u8>, HashSet<usize>>::new());
        for (hand, requests) in dealt.iter().enumerate() {
            for span in requests.iter().flat_map(|request| spans(&request.message)) {
                count += 1;
                hands_of_trace.entry(span.trace_id.clone()).or_default().insert(hand);
            }
        }
        assert_eq!((count, hands_of_trace.len()), (data.spans, data.traces()));
        assert!(hands_of_trace.values().filter(|hands| hands.len() > 1).count() > 300);
        let bodies = |dealt: &[Vec<Request>]| -> Vec<_> {
            dealt.iter().flatten().map(|request| request.body().unwrap().0).collect()
        };
        assert_eq!(bodies(&data.dealt(4, 7)), bodies(&dealt));
        assert_ne!(bodies(&data.dealt(4, 8)), bodies(&dealt));
        assert_eq!(bodies(&data.dealt(1, 7)).len(), data.requests.len());
    }
}
