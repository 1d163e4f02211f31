//! Series → requests of remote write 1.0 and 2.0: protobuf, compressed with snappy.
//!
//! Both messages are written by hand: a few of each are all there is.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use model::TenantId;
use prost::Message;

use super::{Form, Protocol, Request};
use crate::exposition::hexadecimal;
use crate::registry::{Exemplar, Family, Kind, NativeHistogram, Registry, Series, SeriesValue, ZERO_THRESHOLD};

/// Series of one request.
const MOST_SERIES: usize = 2_000;

/// What is the same for all series of a tenant.
#[derive(Clone, Copy)]
pub(crate) struct SeriesOptions<'a> {
    pub external_labels: &'a BTreeMap<String, String>,
    pub trace_id_label: &'a str,
    pub now_millis: i64,
    /// A series that is new was zero then.
    pub zero_millis: i64,
}

/// Gathers the samples of a tenant into requests.
pub(crate) struct RequestWriter<'a> {
    tenant: TenantId,
    form: Form,
    options: SeriesOptions<'a>,
    series: Vec<Sent>,
    requests: Vec<Request>,
}

/// A series as both versions send it.
struct Sent {
    labels: Vec<(String, String)>,
    samples: Vec<Sample>,
    histograms: Vec<HistogramMessage>,
    exemplar: Option<(String, Exemplar)>,
    kind: MetricType,
    start_millis: i64,
}

#[derive(Clone, Copy)]
enum MetricType {
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
}

impl<'a> RequestWriter<'a> {
    pub(crate) fn new(tenant: TenantId, form: Form, options: SeriesOptions<'a>) -> Self {
        Self { tenant, form, options, series: Vec::new(), requests: Vec::new() }
    }

    pub(crate) fn write(mut self, registry: &Registry) -> Vec<Request> {
        for family in registry.families() {
            family.series().for_each(|series| self.series(family, series));
        }
        self.close();
        self.requests
    }

    fn series(&mut self, family: &Family, series: &Series) {
        match (&series.value, &family.kind) {
            (SeriesValue::Histogram(histogram), Kind::Histogram(kind)) => {
                if let Some(buckets) = &kind.classic {
                    let mut count = 0.0;
                    for (bucket, more) in histogram.counts.iter().enumerate() {
                        count += more;
                        let bound = buckets.bounds().get(bucket).map_or("+Inf".to_owned(), f64::to_string);
                        self.sample(family, series, ("_bucket", Some(bound)), count, histogram.exemplars[bucket]);
                    }
                    self.sample(family, series, ("_sum", None), histogram.sum, None);
                    self.sample(family, series, ("_count", None), count, None);
                }
                if let Some(native) = &histogram.native {
                    let exemplar = histogram.exemplars.iter().rev().find_map(|exemplar| *exemplar);
                    self.native(family, series, native, histogram.sum, exemplar);
                }
            }
            (SeriesValue::Number(number), _) => self.sample(family, series, ("", None), *number, None),
            (SeriesValue::Histogram(_), _) => {}
        }
        if self.series.len() >= MOST_SERIES {
            self.close();
        }
    }

    fn sample(
        &mut self,
        family: &Family,
        series: &Series,
        suffix_and_bound: (&str, Option<String>),
        value: f64,
        exemplar: Option<Exemplar>,
    ) {
        let mut sent = self.sent(family, series, suffix_and_bound, exemplar);
        // a counter that was never seen at zero would hide what it counted first
        if series.is_new && family.kind != Kind::Gauge {
            sent.samples.push(Sample { value: 0.0, timestamp: self.options.zero_millis });
        }
        sent.samples.push(Sample { value, timestamp: self.options.now_millis });
        self.series.push(sent);
    }

    fn native(
        &mut self,
        family: &Family,
        series: &Series,
        native: &NativeHistogram,
        sum: f64,
        exemplar: Option<Exemplar>,
    ) {
        let mut sent = self.sent(family, series, ("", None), exemplar);
        if series.is_new {
            let zero = NativeHistogram { schema: native.schema, zero_count: 0.0, counts: BTreeMap::new() };
            sent.histograms.push(HistogramMessage::new(&zero, 0.0, self.options.zero_millis));
        }
        sent.histograms.push(HistogramMessage::new(native, sum, self.options.now_millis));
        self.series.push(sent);
    }

    /// A series without samples.
    fn sent(
        &self,
        family: &Family,
        series: &Series,
        (suffix, bound): (&str, Option<String>),
        exemplar: Option<Exemplar>,
    ) -> Sent {
        let SeriesOptions { external_labels, trace_id_label, zero_millis, .. } = self.options;
        let mut labels = BTreeMap::from([("__name__".to_owned(), format!("{}{suffix}", family.name))]);
        labels.extend(series.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        if family.has_external_labels {
            labels.extend(external_labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        labels.extend(bound.map(|bound| ("le".to_owned(), bound)));
        let kind = match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram(_) => MetricType::Histogram,
        };
        let exemplar =
            exemplar.filter(|_| self.form.has_exemplars).map(|exemplar| (trace_id_label.to_owned(), exemplar));
        let start_millis = series.start_millis.min(zero_millis);
        let (samples, histograms) = Default::default();
        Sent { labels: labels.into_iter().collect(), samples, histograms, exemplar, kind, start_millis }
    }

    fn close(&mut self) {
        if self.series.is_empty() {
            return;
        }
        let series = std::mem::take(&mut self.series);
        let samples = series.iter().map(|series| (series.samples.len() + series.histograms.len()) as u64).sum();
        let bytes = match self.form.protocol {
            Protocol::V1 => v1(series, self.options.now_millis).encode_to_vec(),
            Protocol::V2 => v2(series, self.options.now_millis).encode_to_vec(),
        };
        let body = snap::raw::Encoder::new().compress_vec(&bytes);
        match body {
            Ok(body) => {
                let request = Request { tenant: self.tenant.clone(), form: self.form, samples, body };
                self.requests.push(request);
            }
            // only a message of more than 4 GiB cannot be compressed
            Err(error) => tracing::error!(tenant = %self.tenant, %error, samples, "series could not be compressed"),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<ExemplarMessage>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<HistogramMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A native histogram; the same in both versions. Counts are whole numbers, each told by its distance from the one before,
/// or numbers as they are.
#[derive(Clone, PartialEq, Message)]
struct HistogramMessage {
    #[prost(uint64, optional, tag = "1")]
    count_int: Option<u64>,
    #[prost(double, optional, tag = "2")]
    count_float: Option<f64>,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, tag = "5")]
    zero_threshold: f64,
    #[prost(uint64, optional, tag = "6")]
    zero_count_int: Option<u64>,
    #[prost(double, optional, tag = "7")]
    zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "13")]
    positive_counts: Vec<f64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

impl HistogramMessage {
    fn new(native: &NativeHistogram, sum: f64, timestamp: i64) -> Self {
        let counts: Vec<f64> = native.counts.values().copied().collect();
        let (count, zero_count) = (native.count(), native.zero_count);
        let is_whole = counts.iter().chain([&zero_count]).all(|count| count.fract() == 0.0) && count < 2_f64.powi(53);
        let deltas = || {
            counts.iter().scan(0, |before, &count| {
                let delta = count as i64 - *before;
                *before = count as i64;
                Some(delta)
            })
        };
        Self {
            count_int: is_whole.then_some(count as u64),
            count_float: (!is_whole).then_some(count),
            sum,
            schema: native.schema,
            zero_threshold: ZERO_THRESHOLD,
            zero_count_int: is_whole.then_some(zero_count as u64),
            zero_count_float: (!is_whole).then_some(zero_count),
            positive_spans: native.spans().into_iter().map(|(offset, length)| BucketSpan { offset, length }).collect(),
            positive_deltas: if is_whole { deltas().collect() } else { Vec::new() },
            positive_counts: if is_whole { Vec::new() } else { counts },
            timestamp,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarMessage {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

fn v1(series: Vec<Sent>, now_millis: i64) -> WriteRequest {
    let label = |(name, value)| Label { name, value };
    let timeseries = series.into_iter().map(|Sent { labels, samples, histograms, exemplar, .. }| TimeSeries {
        labels: labels.into_iter().map(label).collect(),
        samples,
        histograms,
        exemplars: exemplar
            .map(|(name, Exemplar { trace_id, value })| ExemplarMessage {
                labels: vec![Label { name, value: hexadecimal(&trace_id) }],
                value,
                timestamp: now_millis,
            })
            .into_iter()
            .collect(),
    });
    WriteRequest { timeseries: timeseries.collect() }
}

#[derive(Clone, PartialEq, Message)]
struct RequestV2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<TimeSeriesV2>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<HistogramMessage>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<ExemplarV2>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<MetadataV2>,
    #[prost(int64, tag = "6")]
    created_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ExemplarV2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct MetadataV2 {
    #[prost(int32, tag = "1")]
    kind: i32,
}

/// Texts by number; the empty one is the first.
#[derive(Default)]
struct Symbols {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Symbols {
    fn number(&mut self, text: String) -> u32 {
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }
}

fn v2(series: Vec<Sent>, now_millis: i64) -> RequestV2 {
    let mut symbols = Symbols::default();
    symbols.number(String::new());
    let mut timeseries = Vec::with_capacity(series.len());
    for Sent { labels, samples, histograms, exemplar, kind, start_millis } in series {
        let mut numbers = |(name, value)| [symbols.number(name), symbols.number(value)];
        timeseries.push(TimeSeriesV2 {
            labels_refs: labels.into_iter().flat_map(&mut numbers).collect(),
            samples,
            histograms,
            exemplars: exemplar
                .map(|(name, Exemplar { trace_id, value })| ExemplarV2 {
                    labels_refs: numbers((name, hexadecimal(&trace_id))).to_vec(),
                    value,
                    timestamp: now_millis,
                })
                .into_iter()
                .collect(),
            metadata: Some(MetadataV2 { kind: kind as i32 }),
            created_timestamp: if matches!(kind, MetricType::Gauge) { 0 } else { start_millis },
        });
    }
    RequestV2 { symbols: symbols.texts, timeseries }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::memory::Account;
    use crate::registry::{HistogramKind, NativeBuckets};

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

    #[test]
    fn a_native_histogram_is_one_series_that_was_empty_before_in_both_versions() {
        let (classic, native) = (None, Some(NativeBuckets::new(1.1, 100)));
        let mut registry = Registry::new(Limits::default(), Account::new(usize::MAX));
        let family = registry.family("latency", "", Kind::Histogram(HistogramKind { classic, native }));
        let series = registry.series(family, &std::sync::Arc::from([]), 500);
        registry.observe(series, 0.25, 1.0, [1; 16], 500);
        let body = |protocol| {
            let form = Form { protocol, has_exemplars: false };
            let external_labels = &BTreeMap::new();
            let options = SeriesOptions { external_labels, trace_id_label: "", now_millis: 900, zero_millis: 400 };
            let requests = RequestWriter::new(TenantId::single(), form, options).write(&registry);
            assert_eq!(requests.iter().map(|request| request.samples).collect::<Vec<_>>(), [2]);
            snap::raw::Decoder::new().decompress_vec(&requests[0].body).unwrap()
        };
        let v1 = WriteRequest::decode(body(Protocol::V1).as_slice()).unwrap().timeseries;
        let v2 = RequestV2::decode(body(Protocol::V2).as_slice()).unwrap();
        assert_eq!((v1.len(), v2.timeseries.len()), (1, 1));
        assert_eq!((v1[0].labels[0].value.as_str(), v1[0].samples.len()), ("latency", 0));
        for histograms in [&v1[0].histograms, &v2.timeseries[0].histograms] {
            let told: Vec<_> = histograms.iter().map(|one| (one.timestamp, one.count_int, one.sum)).collect();
            assert_eq!(told, [(400, Some(0), 0.0), (900, Some(1), 0.25)]);
        }
        assert_eq!(v2.timeseries[0].created_timestamp, 400);
        assert_eq!(v2.timeseries[0].metadata, Some(MetadataV2 { kind: MetricType::Histogram as i32 }));
    }
}
