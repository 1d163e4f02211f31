//! Series → requests of remote write 1.0 and 2.0: protobuf, compressed with snappy.
//!
//! Both messages are written by hand: three of each are all there is.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use model::TenantId;
use prost::Message;

use super::{Form, Protocol, Request};
use crate::exposition::hexadecimal;
use crate::registry::{Exemplar, Family, Kind, Registry, Series, SeriesValue};

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
            (SeriesValue::Histogram(histogram), Kind::Histogram(buckets)) => {
                let mut count = 0.0;
                for (bucket, more) in histogram.counts.iter().enumerate() {
                    count += more;
                    let bound = buckets.bounds().get(bucket).map_or("+Inf".to_owned(), f64::to_string);
                    self.sample(family, series, "_bucket", Some(bound), count, histogram.exemplars[bucket]);
                }
                self.sample(family, series, "_sum", None, histogram.sum, None);
                self.sample(family, series, "_count", None, count, None);
            }
            (SeriesValue::Number(number), _) => self.sample(family, series, "", None, *number, None),
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
        suffix: &str,
        bound: Option<String>,
        value: f64,
        exemplar: Option<Exemplar>,
    ) {
        let SeriesOptions { external_labels, trace_id_label, now_millis, zero_millis } = self.options;
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
        // a counter that was never seen at zero would hide what it counted first
        let zero =
            (series.is_new && family.kind != Kind::Gauge).then_some(Sample { value: 0.0, timestamp: zero_millis });
        let samples = zero.into_iter().chain([Sample { value, timestamp: now_millis }]).collect();
        let exemplar =
            exemplar.filter(|_| self.form.has_exemplars).map(|exemplar| (trace_id_label.to_owned(), exemplar));
        let start_millis = series.start_millis.min(zero_millis);
        self.series.push(Sent { labels: labels.into_iter().collect(), samples, exemplar, kind, start_millis });
    }

    fn close(&mut self) {
        if self.series.is_empty() {
            return;
        }
        let series = std::mem::take(&mut self.series);
        let samples = series.iter().map(|series| series.samples.len() as u64).sum();
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
    let timeseries = series.into_iter().map(|Sent { labels, samples, exemplar, .. }| TimeSeries {
        labels: labels.into_iter().map(label).collect(),
        samples,
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
    for Sent { labels, samples, exemplar, kind, start_millis } in series {
        let mut numbers = |(name, value)| [symbols.number(name), symbols.number(value)];
        timeseries.push(TimeSeriesV2 {
            labels_refs: labels.into_iter().flat_map(&mut numbers).collect(),
            samples,
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
