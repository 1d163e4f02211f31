//! The answers agree with slow and obvious ones, wherever the spans lie.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use proptest::prelude::*;

use super::*;
use crate::metrics::quantile::{bucket, bucket_end};

/// A span, and the source that has it.
#[derive(Debug, Clone)]
struct Sample {
    source: usize,
    trace: u8,
    id: u64,
    parent: u64,
    name: &'static str,
    service: &'static str,
    start_ms: u64,
    duration_ms: u64,
    is_error: bool,
    n: Option<i64>,
    lane: Option<&'static str>,
}

impl Sample {
    fn otlp(&self) -> ResourceSpans {
        let mut pairs = Vec::new();
        pairs.extend(self.n.map(|n| ("n", int(n))));
        pairs.extend(self.lane.map(|lane| ("lane", text(lane))));
        let span = with(span(self.trace, self.id, self.parent, self.name, self.start_ms, self.duration_ms), &pairs);
        service(self.service, vec![Span { status: status(if self.is_error { 2 } else { 0 }, ""), ..span }])
    }

    fn trace<'a>(&self, all: &'a [Sample]) -> impl Iterator<Item = &'a Sample> + use<'a> {
        let trace = self.trace;
        all.iter().filter(move |other| other.trace == trace)
    }
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample = (
        (0..3_usize, 1..5_u8, 0..4_u64),
        (prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["x", "y"])),
        (0..30_000_u64, 0..3000_u64, any::<bool>()),
        (proptest::option::of(-3..40_i64), proptest::option::of(prop::sample::select(vec!["l", "m", ""]))),
    );
    proptest::collection::vec(sample, 1..24).prop_map(|samples| {
        let number = |(at, sample): (usize, _)| {
            let ((source, trace, parent), (name, service), (start_ms, duration_ms, is_error), (n, lane)) = sample;
            // parents come before their children, so that there are no cycles; some never came
            let (id, parent) = (at as u64 + 1, if parent > at as u64 { 0 } else { parent });
            Sample { source, trace, id, parent, name, service, start_ms, duration_ms, is_error, n, lane }
        };
        samples.into_iter().enumerate().map(number).collect()
    })
}

type Keeps = fn(&Sample, &[Sample]) -> bool;

const FILTERS: [(&str, Keeps); 6] = [
    ("{ }", |_, _| true),
    ("{ span.n > 5 && name = `a` }", |span, _| span.n.is_some_and(|n| n > 5) && span.name == "a"),
    ("{ status = error || span.lane = `l` }", |span, _| span.is_error || span.lane == Some("l")),
    ("{ } | by(name) | count() > 1", |span, all| span.trace(all).filter(|other| other.name == span.name).count() > 1),
    ("{ name = `a` } && { name = `b` }", |span, all| {
        let has = |name| span.trace(all).any(|other| other.name == name);
        has("a") && has("b")
    }),
    ("{ traceDuration > 10s }", |span, all| {
        let start = span.trace(all).map(|other| other.start_ms).min().unwrap_or(0);
        let end = span.trace(all).map(|other| other.start_ms + other.duration_ms).max().unwrap_or(0);
        end - start > 10_000
    }),
];

type Group = fn(&Sample) -> String;

const GROUPINGS: [(&str, Group); 4] = [
    ("", |_| String::new()),
    (" by (span.lane)", |span| format!("span.lane={}", span.lane.unwrap_or("nil"))),
    (" by (resource.service.name)", |span| format!("resource.service.name={}", span.service)),
    (" by (span.n, name)", |span| match span.n {
        Some(n) => format!("span.n={n},name={}", span.name),
        None => format!("name={}", span.name),
    }),
];

fn millis_seconds(span: &Sample) -> f64 {
    (span.duration_ms * MS) as f64 / 1e9
}

/// A function, its values, and how those of an interval become a number.
struct Function {
    text: &'static str,
    value: fn(&Sample) -> Option<f64>,
    join: fn(&[f64]) -> Option<f64>,
}

const FUNCTIONS: [Function; 5] = [
    Function { text: "count_over_time()", value: |_| Some(1.0), join: |values| Some(values.len() as f64) },
    Function { text: "rate()", value: |_| Some(1.0), join: |values| Some(values.len() as f64 / 10.0) },
    Function {
        text: "sum_over_time(span.n)",
        value: |span| span.n.map(|n| n as f64),
        join: |values| (!values.is_empty()).then(|| values.iter().sum()),
    },
    Function {
        text: "max_over_time(duration)",
        value: |span| Some(millis_seconds(span)),
        join: |values| values.iter().copied().reduce(f64::max),
    },
    Function {
        text: "avg_over_time(span.n)",
        value: |span| span.n.map(|n| n as f64),
        join: |values| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64),
    },
];

const INTERVALS: usize = 4;

/// The interval of a span in a range of 30 seconds in steps of 10.
fn interval(span: &Sample) -> usize {
    span.start_ms.div_ceil(10 * SECOND) as usize
}

fn slow(all: &[Sample], keeps: Keeps, function: &Function, group: Group) -> BTreeMap<String, Vec<f64>> {
    let mut values: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for span in all.iter().filter(|span| keeps(span, all)) {
        if let Some(value) = (function.value)(span) {
            let of_group = values.entry(group(span)).or_insert_with(|| vec![Vec::new(); INTERVALS]);
            of_group[interval(span)].push(value);
        }
    }
    let name = function.text.split('(').next().unwrap_or_default();
    let joined =
        |values: Vec<Vec<f64>>| values.iter().map(|values| (function.join)(values).unwrap_or(f64::NAN)).collect();
    let labelled = |(group, values): (String, _)| {
        (if group.is_empty() { format!("__name__={name}") } else { group }, joined(values))
    };
    values.into_iter().map(labelled).collect()
}

fn sources_of(all: &[Sample], together: bool) -> Vec<Arc<dyn Source>> {
    let numbers: BTreeSet<usize> = all.iter().map(|span| if together { 0 } else { span.source }).collect();
    let of = |number| all.iter().filter(move |span| together || span.source == number).map(Sample::otlp).collect();
    numbers.into_iter().map(|number| source(of(number))).collect()
}

fn fast(sources: &[Arc<dyn Source>], query: &str) -> BTreeMap<String, Vec<f64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let answer = runtime.block_on(ask(sources, request(query, 30, 10)));
    let answer = answer.unwrap_or_else(|error| panic!("{query}: {error}"));
    let series: BTreeMap<String, Vec<f64>> =
        answer.series.iter().map(|series| (labels_text(&series.labels), series.values.clone())).collect();
    assert_eq!(series.len(), answer.series.len(), "{query}: two series have the same labels");
    series
}

fn assert_same(slow: &BTreeMap<String, Vec<f64>>, fast: &BTreeMap<String, Vec<f64>>, query: &str) {
    let names = |of: &BTreeMap<String, Vec<f64>>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(fast), names(slow), "{query}");
    for (name, expected) in slow {
        let close = |(one, other): (&f64, &f64)| one.is_nan() && other.is_nan() || (one - other).abs() < 1e-9;
        assert!(expected.iter().zip(&fast[name]).all(close), "{query} {name}: {:?}, not {expected:?}", fast[name]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_function_of_every_filter_by_every_group(all in samples()) {
        let (split, together) = (sources_of(&all, false), sources_of(&all, true));
        for (filter, keeps) in FILTERS {
            for function in &FUNCTIONS {
                for (by, group) in GROUPINGS {
                    let query = format!("{filter} | {}{by}", function.text);
                    let mut expected = slow(&all, keeps, function, group);
                    if expected.is_empty() && by.is_empty() && matches!(function.text, "rate()" | "count_over_time()") {
                        let name = function.text.trim_end_matches("()");
                        expected.insert(format!("__name__={name}"), vec![0.0; INTERVALS]);
                    }
                    assert_same(&expected, &fast(&split, &query), &query);
                    assert_same(&expected, &fast(&together, &query), &query);
                }
            }
        }
    }

    #[test]
    fn histograms_count_every_value_from_two_on(all in samples()) {
        let mut expected: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for span in &all {
            if let Some(end) = span.n.and_then(bucket).map(bucket_end) {
                let label = format!("name={},__bucket={end}", span.name);
                expected.entry(label).or_insert_with(|| vec![0.0; INTERVALS])[interval(span)] += 1.0;
            }
        }
        let query = "{ } | histogram_over_time(span.n) by (name)";
        assert_same(&expected, &fast(&sources_of(&all, false), query), query);
    }
}
