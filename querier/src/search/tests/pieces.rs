//! The answer is the same whether a trace lies in one source or in several, whatever was put where.
//!
//! Siblings keep their order of arrival: an earlier one is never in a later source. Other things that follow arrival are
//! left out: spans that are sent twice, circles of parents, the order of what no root leads to.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Sources that the spans are dealt to.
const HANDS: usize = 4;
/// The id of a parent that no span has.
const NEVER_CAME: u64 = 90;

/// A span, and the draw that decides which source gets it.
#[derive(Debug, Clone)]
struct Dealt {
    hand: usize,
    service: &'static str,
    span: Span,
}

fn dealt_spans() -> impl Strategy<Value = Vec<Dealt>> {
    let one = (
        (0..HANDS, 1..4_u8, select(vec![0, 0, 1, 2, 3, 5, 8, NEVER_CAME])),
        (select(vec!["a", "b", "c"]), select(vec!["x", "y"])),
        (0..30_u64, 0..9_u64, 0..6_i32, 0..3_i32, proptest::option::of(0..5_i64)),
    );
    proptest::collection::vec(one, 2..20).prop_map(|all| {
        let mut dealt = Vec::new();
        for ((hand, trace, parent), (name, service), (start, duration, kind, code, n)) in all {
            let pairs: Vec<_> = n.map(|n| ("n", int(n))).into_iter().collect();
            let id = dealt.len() as u64 + 1;
            let parent = if parent < id { parent } else { NEVER_CAME };
            let span = span(trace, id, parent, name, start * 1000, duration * 1000);
            let span = Span { kind, status: status(code, ""), attributes: attributes(&pairs), ..span };
            dealt.push(Dealt { hand, service, span });
        }
        in_order_of_arrival(dealt)
    })
}

/// Deals again what each family of siblings was dealt, the earlier sibling to the earlier source.
fn in_order_of_arrival(mut all: Vec<Dealt>) -> Vec<Dealt> {
    let mut families: BTreeMap<(Vec<u8>, Vec<u8>), Vec<usize>> = BTreeMap::new();
    for (at, dealt) in all.iter().enumerate() {
        families.entry((dealt.span.trace_id.clone(), dealt.span.parent_span_id.clone())).or_default().push(at);
    }
    for family in families.into_values() {
        let mut hands: Vec<usize> = family.iter().map(|&at| all[at].hand).collect();
        hands.sort_unstable();
        family.into_iter().zip(hands).for_each(|(at, hand)| all[at].hand = hand);
    }
    all
}

/// A source for each hand, in the order in which they came to be.
fn sources_of(all: &[Dealt]) -> Vec<Arc<dyn Source>> {
    let of_hand = |hand: usize| -> Vec<_> {
        let spans = all.iter().filter(|dealt| dealt.hand == hand);
        spans.map(|dealt| service(dealt.service, vec![dealt.span.clone()])).collect()
    };
    (0..HANDS).map(of_hand).filter(|spans| !spans.is_empty()).map(source).collect()
}

const QUERIES: [&str; 20] = [
    "{ }",
    "{ name = `a` }",
    "{ span.n > 1 && resource.service.name = `x` }",
    "{ traceDuration > 9s }",
    "{ rootName = `a` }",
    "{ rootServiceName = `x` && status = error }",
    "{ nestedSetLeft > 2 } | select(nestedSetLeft, nestedSetRight, nestedSetParent)",
    "{ span:childCount > 0 }",
    "{ name = `a` } > { name = `b` }",
    "{ name = `a` } << { }",
    "{ status = error } !~ { kind = server }",
    "{ status = error } &>> { }",
    "{ name = `a` } && { name = `b` }",
    "{ name = `c` } || { kind = client }",
    "{ } | by(resource.service.name) | count() > 1",
    "{ } | by(name) | coalesce()",
    "{ } | sum(span.n) > 3",
    "{ } | avg(duration) > 3s | { span.n = nil }",
    "({ status = error } | count() > 1) ~ ({ } | count() > 2)",
    "{ name = `a` } | select(span.n, rootName)",
];

async fn answer(sources: &[Arc<dyn Source>], query: &str) -> Vec<FoundTrace> {
    let request = SearchRequest { spans_per_span_set: 100, ..request(query) };
    let mut traces = ask(sources, request).await.unwrap().traces;
    for trace in &mut traces {
        trace.span_sets.iter_mut().for_each(|set| set.spans.sort_by_key(|span| span.span_id));
        trace.span_sets.sort_by_key(|set| format!("{set:?}"));
    }
    traces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn pieces_are_answered_as_the_whole(all in dealt_spans()) {
        let whole: Vec<Dealt> = all.iter().map(|dealt| Dealt { hand: 0, ..dealt.clone() }).collect();
        let (pieces, whole) = (sources_of(&all), sources_of(&whole));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for query in QUERIES {
            let (got, expected) = runtime.block_on(async { (answer(&pieces, query).await, answer(&whole, query).await) });
            prop_assert_eq!(got, expected, "{}", query);
        }
    }
}

#[tokio::test]
async fn siblings_keep_their_order_of_arrival_whichever_source_ends_last() {
    let first = source(vec![service("s", vec![span(1, 1, 0, "root", 0, 100), span(1, 2, 1, "first", 50, 10)])]);
    let second = source(vec![service("s", vec![span(1, 3, 1, "second", 10, 5)])]);
    let longer = source(vec![service("s", vec![span(1, 3, 1, "second", 10, 500)])]);
    for sources in [[first.clone(), second.clone()], [second, first.clone()], [first, longer]] {
        for query in ["{ nestedSetLeft = 2 && name = `first` }", "{ nestedSetLeft = 4 && name = `second` }"] {
            assert_eq!(search(&sources, query).await.len(), 1, "{query}");
        }
    }
}
