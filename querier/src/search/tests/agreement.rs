//! Searches agree with the slow and obvious evaluator, wherever the spans lie.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proptest::prelude::*;
use traceql::{Field, FieldExpr, Query, Stage};

use super::*;
use crate::answer::{FoundSpan, ServiceStats};
use crate::engine::spread::tests::{any_faults, spread};
use crate::slow::generate::{LONGEST_MILLIS, any_dealt, any_search, asks_for_children};
use crate::slow::pipeline::{self, Refused, Set};
use crate::slow::rows::{self, Value as SlowValue};
use crate::slow::{Sent, Trace};

/// What is said of a trace.
#[derive(Debug, PartialEq)]
struct Entry {
    time: TimeRange,
    root_service: String,
    root_name: String,
    services: BTreeMap<String, ServiceStats>,
    /// Span ids and attributes of each span set, in no order of their own.
    sets: Vec<(Vec<u64>, Vec<String>)>,
}

type Entries = BTreeMap<TraceId, Entry>;

/// The extremes of a mix of numbers may be of either type where the numbers are equal.
fn attribute_text(key: &str, value: &Value) -> String {
    match value {
        Value::Int(number) if !key.starts_with("by(") => format!("{key} = {:?}", Value::Double(*number as f64)),
        value => format!("{key} = {value:?}"),
    }
}

fn shown(value: SlowValue) -> Option<Value> {
    match value {
        SlowValue::One(value) => Some(value.into()),
        SlowValue::Many(values) => Some(Value::Array(values.into_iter().map(Value::from).collect())),
        SlowValue::Missing | SlowValue::Opaque => None,
    }
}

fn slowly(traces: &[Trace], query: &Query) -> Result<Entries, Refused> {
    let mut entries = Entries::new();
    for trace in traces {
        let sets = pipeline::evaluate(trace, &query.pipeline)?;
        if !sets.is_empty() {
            entries.insert(trace.id, entry(trace, sets));
        }
    }
    Ok(entries)
}

fn entry(trace: &Trace, sets: Vec<Set>) -> Entry {
    let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
    for sent in &trace.spans {
        let stats = services.entry(sent.service().unwrap_or_default()).or_default();
        stats.span_count += 1;
        stats.error_count += u32::from(sent.span.status.as_ref().is_some_and(|status| status.code == 2));
    }
    // a group without a value says nil where others have a text
    let all: Vec<(String, Option<Value>)> =
        sets.iter().flat_map(|set| set.attributes.iter().cloned()).map(|(key, value)| (key, shown(value))).collect();
    let has_texts = |key: &str| all.iter().any(|(of, value)| of == key && matches!(value, Some(Value::String(_))));
    let set = |set: Set| {
        let ids = set.spans.iter().map(|&span| id_of(&trace.spans[span])).collect();
        let texts = set.attributes.into_iter().filter_map(|(key, value)| {
            let value = shown(value).or_else(|| has_texts(&key).then(|| Value::String("nil".to_owned())))?;
            Some(attribute_text(&key, &value))
        });
        (ids, texts.collect())
    };
    let root = trace.root();
    Entry {
        time: trace.time_range(),
        root_service: root.and_then(Sent::service).unwrap_or_default(),
        root_name: root.map_or(String::new(), |root| root.span.name.clone()),
        services,
        sets: in_order(sets.into_iter().map(set).collect()),
    }
}

fn id_of(sent: &Sent) -> u64 {
    u64::from_be_bytes(sent.span.span_id.as_slice().try_into().unwrap())
}

fn in_order(mut sets: Vec<(Vec<u64>, Vec<String>)>) -> Vec<(Vec<u64>, Vec<String>)> {
    for (ids, attributes) in &mut sets {
        ids.sort_unstable();
        attributes.sort_unstable();
    }
    sets.sort();
    sets
}

fn found_entry(trace: &FoundTrace) -> Entry {
    let set = |set: &SpanSet| {
        assert_eq!(set.matched as usize, set.spans.len());
        let ids = set.spans.iter().map(|span| u64::from_be_bytes(span.span_id.0)).collect();
        (ids, set.attributes.iter().map(|(key, value)| attribute_text(key, value)).collect())
    };
    Entry {
        time: TimeRange::new(trace.start_nanos, trace.start_nanos + trace.duration_nanos),
        root_service: trace.root_service.clone().unwrap_or_default(),
        root_name: trace.root_name.clone().unwrap_or_default(),
        services: trace.services.clone(),
        sets: in_order(trace.span_sets.iter().map(set).collect()),
    }
}

/// What `select()` names is shown: attributes of the span, its resource and its scope. What other parts of a query show
/// beside it has tests of its own.
fn assert_selected(query: &Query, trace: &Trace, span: &FoundSpan) {
    let number = trace.spans.iter().position(|sent| id_of(sent) == u64::from_be_bytes(span.span_id.0)).unwrap();
    let fields = query.pipeline.stages.iter().flat_map(|stage| match stage {
        Stage::Select(fields) => fields.as_slice(),
        _ => &[],
    });
    for field in fields {
        let Field::Attribute { name, scope } = field else { continue };
        if matches!(scope, Some(model::Scope::Event | model::Scope::Link)) {
            continue;
        }
        let value = rows::value(trace, number, &FieldExpr::Field(field.clone())).unwrap();
        if let Some(value) = shown(value) {
            assert!(span.attributes.contains(&(name.clone(), value)), "{field} of {span:?}");
        }
    }
}

/// What is asked for besides the query.
#[derive(Debug, Clone)]
enum Asked {
    Newest(usize),
    /// From when to when, in half seconds.
    Range(u64, u64),
}

fn any_asked() -> impl Strategy<Value = Asked> {
    let longest = LONGEST_MILLIS / 500;
    prop_oneof![
        2 => Just(Asked::Newest(20)),
        1 => (1..3_usize).prop_map(Asked::Newest),
        1 => (0..longest, 0..=longest).prop_map(|(start, length)| Asked::Range(start, start + length)),
    ]
}

impl Asked {
    fn request(&self, text: &str) -> SearchRequest {
        let request = SearchRequest { spans_per_span_set: 100, ..request(text) };
        match self {
            Self::Newest(limit) => SearchRequest { limit: *limit, ..request },
            Self::Range(start, end) => {
                let at = |half_seconds: u64| START + half_seconds * 500 * MS;
                SearchRequest { range: TimeRange::new(at(*start), at(*end)), ..request }
            }
        }
    }

    /// Of all that match, what the answer has. Traces touch the range with any of their spans.
    fn cut(&self, mut entries: Entries) -> Entries {
        let request = self.request("");
        entries.retain(|_, entry| entry.time.overlaps(&request.range));
        let mut places: Vec<_> = entries.iter().map(|(id, entry)| (Reverse(entry.time.start_nanos), *id)).collect();
        places.sort();
        places.into_iter().skip(request.limit).for_each(|(_, id)| _ = entries.remove(&id));
        entries
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn span_sets_are_those_of_the_language(
        dealt in any_dealt(), queries in proptest::collection::vec((any_search(), any_asked()), 6), faults in any_faults(),
    ) {
        let traces = Trace::all_of(&dealt.spans);
        let has_cycles = traces.iter().any(|trace| trace.tree.has_cycles());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sources = runtime.block_on(dealt.sources());
        for ((text, query), asked) in &queries {
            if has_cycles && asks_for_children(text) {
                continue;
            }
            let answer = runtime.block_on(ask(&sources, asked.request(text)));
            let expected = match slowly(&traces, query) {
                Ok(expected) => asked.cut(expected),
                // a trace in which a side finds nothing may be passed over before its operators are asked
                Err(refused) => {
                    prop_assert_eq!(refused, Refused::SeveralSpanSets, "{}", text);
                    continue;
                }
            };
            let answer = answer.unwrap_or_else(|error| panic!("{text}: {error}"));
            let (querier, _) = spread(&sources, faults.clone());
            let spread = runtime.block_on(querier.search(TenantId::single(), asked.request(text), None));
            prop_assert_eq!(&spread.unwrap().traces, &answer.traces, "over several processes: {} {:?}", text, asked);
            let found: Entries = answer.traces.iter().map(|found| (found.trace_id, found_entry(found))).collect();
            prop_assert_eq!(found, expected, "{} {:?}", text, asked);
            for found in &answer.traces {
                let trace = traces.iter().find(|trace| trace.id == found.trace_id).unwrap();
                found.span_sets.iter().flat_map(|set| &set.spans).for_each(|span| assert_selected(query, trace, span));
            }
        }
    }
}
