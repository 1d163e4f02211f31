use std::collections::BTreeMap;

use model::TenantId;

use super::super::{RequestWriter, SeriesOptions};
use super::*;
use crate::buckets::Buckets;
use crate::limits::Limits;
use crate::memory::Account;
use crate::registry::{HistogramKind, Kind, NativeBuckets, Registry};
use crate::remote_write::Form;

fn observed(weight: f64) -> HistogramMessage {
    let buckets = NativeBuckets::new(2.0, 100);
    let mut native = NativeHistogram::new(buckets);
    for value in [0.0, 1.5, 3.0, 3.5, 40.0] {
        native.observe(value, weight, buckets);
    }
    HistogramMessage::new(&native, 48.0, 7)
}

#[test]
fn native_counts_are_whole_numbers_told_by_their_distance_or_fractions_as_they_are() {
    let spans = vec![BucketSpan { offset: 1, length: 2 }, BucketSpan { offset: 3, length: 1 }];
    let both = HistogramMessage {
        sum: 48.0,
        schema: 0,
        zero_threshold: ZERO_THRESHOLD,
        positive_spans: spans,
        timestamp: 7,
        ..Default::default()
    };
    let whole = HistogramMessage {
        count_int: Some(5),
        zero_count_int: Some(1),
        positive_deltas: vec![1, 1, -1],
        ..both.clone()
    };
    assert_eq!(observed(1.0), whole);
    let fractions = HistogramMessage {
        count_float: Some(2.5),
        zero_count_float: Some(0.5),
        positive_counts: vec![0.5, 1.0, 0.5],
        ..both
    };
    assert_eq!(observed(0.5), fractions);
}

/// The series of a registry as a target of this version gets them.
fn body(registry: &Registry, protocol: Protocol, now_millis: i64) -> Vec<u8> {
    body_of_form(registry, Form { protocol, has_exemplars: true, has_native_histograms: true }, now_millis)
}

fn body_of_form(registry: &Registry, form: Form, now_millis: i64) -> Vec<u8> {
    let external_labels = &BTreeMap::from([("cluster".to_owned(), "one".to_owned())]);
    let options =
        SeriesOptions { external_labels, trace_id_label: "traceID", now_millis, zero_millis: now_millis - 500 };
    let mut requests = RequestWriter::new(TenantId::single(), form, options).write(registry);
    assert_eq!(requests.len(), 1);
    requests.remove(0).body
}

fn decode_v1(body: &[u8]) -> Vec<TimeSeries> {
    WriteRequest::decode(decompress(body).as_slice()).unwrap().timeseries
}

fn decode_v2(body: &[u8]) -> Vec<TimeSeriesV2> {
    RequestV2::decode(decompress(body).as_slice()).unwrap().timeseries
}

fn decompress(body: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(body).unwrap()
}

/// A counter, a gauge and histograms of both kinds.
fn registry() -> Registry {
    let mut registry = Registry::new(Limits::default(), Account::new(usize::MAX));
    let (classic, native) = (Buckets::try_from(vec![0.1, 1.0]).ok(), Some(NativeBuckets::new(1.1, 100)));
    let latency = registry.family("latency", "", Kind::Histogram(HistogramKind { classic, native }));
    let calls = registry.family("calls", "", Kind::Counter);
    let info = registry.info_family("info", "");
    let labels = [("service".into(), "shop".into())].into();
    let series = registry.series(latency, &labels, 500);
    registry.observe(series, 0.25, 1.0, [1; 16], 500);
    let series = registry.series(calls, &labels, 500);
    registry.add(series, 3.0, 500);
    let series = registry.series(info, &labels, 500);
    registry.set(series, 1.0, 500);
    registry
}

#[test]
fn a_native_histogram_is_one_series_that_was_empty_before_in_both_versions() {
    let (v1, v2) = (decode_v1(&body(&registry(), Protocol::V1, 900)), decode_v2(&body(&registry(), Protocol::V2, 900)));
    let is_native = |series: &&TimeSeries| series.labels.iter().any(|label| label.value == "latency");
    let native: Vec<&TimeSeries> = v1.iter().filter(is_native).collect();
    assert_eq!((native.len(), native[0].samples.len()), (1, 0));
    let v2 = v2.iter().find(|series| !series.histograms.is_empty()).unwrap();
    for histograms in [&native[0].histograms, &v2.histograms] {
        let told: Vec<_> = histograms.iter().map(|one| (one.timestamp, one.count_int, one.sum)).collect();
        assert_eq!(told, [(400, Some(0), 0.0), (900, Some(1), 0.25)]);
    }
    assert_eq!(v2.metadata, Some(MetadataV2 { kind: MetricType::Histogram as i32 }));
}

#[test]
fn a_target_without_native_histograms_gets_the_rest() {
    let form = Form { protocol: Protocol::V2, has_exemplars: true, has_native_histograms: false };
    let (some, all) =
        (decode_v2(&body_of_form(&registry(), form, 900)), decode_v2(&body(&registry(), Protocol::V2, 900)));
    assert_eq!(some.len() + 1, all.len());
    assert!(some.iter().all(|series| series.histograms.is_empty() && !series.samples.is_empty()));
}

#[test]
fn samples_of_version_2_say_since_when_they_count_and_go_on_saying_it() {
    let mut registry = registry();
    let starts = |registry: &Registry, now_millis| {
        let all = decode_v2(&body(registry, Protocol::V2, now_millis));
        let samples = |series: &TimeSeriesV2| {
            let numbers = series.samples.iter().map(|sample| (sample.timestamp, sample.start_timestamp));
            let histograms = series.histograms.iter().map(|sample| (sample.timestamp, sample.start_timestamp));
            (series.metadata.unwrap().kind, series.created_timestamp, numbers.chain(histograms).collect::<Vec<_>>())
        };
        all.iter().map(samples).collect::<Vec<_>>()
    };
    for (kind, created, samples) in starts(&registry, 900) {
        match kind == MetricType::Gauge as i32 {
            true => assert_eq!((created, samples), (0, vec![(900, 0)])),
            false => assert_eq!((created, samples), (400, vec![(400, 0), (900, 400)])),
        }
    }
    registry.mark_collected(400);
    for (kind, created, samples) in starts(&registry, 2_000) {
        let start = if kind == MetricType::Gauge as i32 { 0 } else { 400 };
        assert_eq!((created, samples), (start, vec![(2_000, start)]));
    }
}

#[test]
fn what_was_made_for_version_2_is_for_an_old_target_what_would_have_been_made_for_it() {
    let registry = registry();
    let (v1, v2) = (body(&registry, Protocol::V1, 900), body(&registry, Protocol::V2, 900));
    assert_eq!((protocol_of(&v1), protocol_of(&v2)), (Some(Protocol::V1), Some(Protocol::V2)));
    let converted = as_v1(&v2).unwrap();
    assert_eq!(decode_v1(&converted), decode_v1(&v1));
    assert!(decode_v1(&v1).iter().any(|series| !series.exemplars.is_empty()));
    assert_eq!((as_v1(b"other"), protocol_of(b"other")), (None, None));
}
