//! Spans, and the sources that they lie in.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use proptest::collection::{hash_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use storage::index::Limits;
use storage::source::Source;

use super::{KEYS, SERVICES, TEXTS};
use crate::slow::Sent;
use crate::testing::{
    MS, SMALL_PAGES, array, attributes, bool, float, indexed_block, int, source, span as span_of, span_id, status,
    table, text,
};

/// Sources that spans are dealt to.
const HANDS: usize = 3;
/// The id of a parent that no span has.
const NEVER_CAME: u64 = 250;
/// When the last span starts at the latest, after the start of traces.
pub(crate) const LONGEST_MILLIS: u64 = 30_000;

/// Spans in the order in which they arrived, and the source that each lies in.
#[derive(Debug, Clone)]
pub(crate) struct Dealt {
    pub spans: Vec<Sent>,
    hands: Vec<usize>,
    /// For each source, if it is a block, whether its index has small pages; else it is live.
    blocks: Vec<Option<std::primitive::bool>>,
}

impl Dealt {
    /// The sources, in the order in which they came to be.
    pub async fn sources(&self) -> Vec<Arc<dyn Source>> {
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        for (hand, block) in self.blocks.iter().enumerate() {
            let spans = self.spans.iter().zip(&self.hands).filter(|(_, of)| **of == hand);
            let spans: Vec<_> = spans.map(|(sent, _)| sent.otlp()).collect();
            sources.extend(match block {
                _ if spans.is_empty() => None,
                None => Some(source(spans)),
                Some(small_pages) => {
                    let limits = if *small_pages { SMALL_PAGES } else { Limits::default() };
                    let block: Arc<dyn Source> = Arc::new(indexed_block(&table(spans), limits).await);
                    Some(block)
                }
            });
        }
        sources
    }
}

/// Spans that lie in up to three sources, blocks or live ones. An earlier source has what arrived earlier.
pub(crate) fn any_dealt() -> impl Strategy<Value = Dealt> {
    let hands = vec(0..HANDS, MOST_SPANS);
    (any_spans(), hands, vec(option::of(any::<std::primitive::bool>()), HANDS)).prop_map(
        |(spans, mut hands, blocks)| {
            hands.truncate(spans.len());
            hands.sort_unstable();
            Dealt { spans, hands, blocks }
        },
    )
}

/// Whose child a span is.
#[derive(Debug, Clone, Copy)]
enum Parent {
    None,
    Earlier(Index),
    /// Also the span itself, or one below it.
    Any(Index),
    NeverCame,
}

const MOST_SPANS: usize = 14;

/// Spans of up to three traces: with several roots or none, parents that come later or never, and cycles.
pub(crate) fn any_spans() -> impl Strategy<Value = Vec<Sent>> {
    let parent = prop_oneof![
        2 => Just(Parent::None),
        6 => any::<Index>().prop_map(Parent::Earlier),
        2 => any::<Index>().prop_map(Parent::Any),
        1 => Just(Parent::NeverCame),
    ];
    let resources = vec((any_resource(), any_scope()), 1..4);
    (resources, vec((any_span(), parent, any::<Index>()), 1..=MOST_SPANS)).prop_map(|(resources, spans)| {
        let traces: Vec<Vec<u8>> = spans.iter().map(|(span, ..)| span.trace_id.clone()).collect();
        let id_of = |number: usize| span_id(number as u64 + 1).0.to_vec();
        let sent = |(number, (span, parent, of)): (usize, (Span, Parent, Index))| {
            let of_trace = |until: usize| (0..until).filter(|&other| traces[other] == traces[number]);
            let pick = |index: Index, numbers: Vec<usize>| {
                if numbers.is_empty() { Vec::new() } else { id_of(*index.get(&numbers)) }
            };
            let parent_span_id = match parent {
                Parent::None => Vec::new(),
                Parent::Earlier(index) => pick(index, of_trace(number).collect()),
                Parent::Any(index) => pick(index, of_trace(traces.len()).collect()),
                Parent::NeverCame => span_id(NEVER_CAME).0.to_vec(),
            };
            let (resource, scope) = of.get(&resources).clone();
            Sent { resource, scope, span: Span { span_id: id_of(number), parent_span_id, ..span } }
        };
        spans.into_iter().enumerate().map(sent).collect()
    })
}

prop_compose! {
    fn any_resource()(service in select(&SERVICES[..]), pairs in any_attributes()) -> Resource {
        let named = [("service.name", text(service))].into_iter().chain(pairs).collect::<Vec<_>>();
        Resource { attributes: attributes(&named), ..Default::default() }
    }
}

prop_compose! {
    fn any_scope()(
        name in select(&TEXTS[..]), version in select(&TEXTS[..]), pairs in any_attributes(),
    ) -> InstrumentationScope {
        let attributes = attributes(&pairs);
        InstrumentationScope { name: name.to_owned(), version: version.to_owned(), attributes, ..Default::default() }
    }
}

prop_compose! {
    fn any_span()(
        name in select(&TEXTS[..]), kind in 0..6_i32, code in 0..3_i32, message in select(&TEXTS[..]),
        trace in 1..4_u8, start in 0..=LONGEST_MILLIS / 500, duration in 0..4_u64, pairs in any_attributes(),
        events in vec((select(&TEXTS[..]), 0..4_u64, any_attributes()), 0..3),
        links in vec((1..8_u64, any_attributes()), 0..2),
    ) -> Span {
        let span = span_of(trace, 0, 0, name, start * 500, duration);
        // one millisecond before the span at the earliest
        let event = |(name, at, pairs): (&str, u64, Vec<_>)| {
            crate::testing::event(name, span.start_time_unix_nano + at * MS - MS, &pairs)
        };
        let link = |(id, pairs): (u64, Vec<_>)| {
            span::Link { span_id: span_id(id).0.to_vec(), attributes: attributes(&pairs), ..Default::default() }
        };
        Span {
            kind,
            status: status(code, message),
            attributes: attributes(&pairs),
            events: events.into_iter().map(event).collect(),
            links: links.into_iter().map(link).collect(),
            ..span
        }
    }
}

fn any_attribute() -> impl Strategy<Value = AnyValue> {
    let scalar = prop_oneof![
        select(&TEXTS[..]).prop_map(text),
        (-2_i64..8).prop_map(int),
        (-2_i32..8).prop_map(|number| float(f64::from(number) / 2.0)),
        any::<std::primitive::bool>().prop_map(bool),
    ];
    prop_oneof![
        6 => scalar.clone(),
        1 => vec(select(&TEXTS[..]).prop_map(text), 0..3).prop_map(array),
        1 => vec((0_i64..4).prop_map(int), 0..4).prop_map(array),
        1 => vec(scalar, 0..3).prop_map(array),
        1 => Just(AnyValue::default()),
    ]
}

/// Each key at most once: a block may change which value of a repeated key comes first.
fn any_attributes() -> impl Strategy<Value = Vec<(&'static str, AnyValue)>> {
    hash_map(select(&KEYS[..]), any_attribute(), 0..=KEYS.len()).prop_map(|pairs| pairs.into_iter().collect())
}
