//! Series → requests of remote write 1.0 and 2.0: protobuf, compressed with snappy.

mod wire;

use std::collections::BTreeMap;

use model::TenantId;
use prost::Message;

use self::wire::{HistogramMessage, Sample};
use super::{Form, Protocol, Request};
use crate::registry::{Exemplar, Family, Kind, NativeHistogram, Registry, Series, SeriesValue};

pub(super) use wire::{as_v1, protocol_of};

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
    /// When counting began.
    start_millis: i64,
}

#[derive(Clone, Copy, PartialEq)]
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
                if let Some(native) = histogram.native.as_ref().filter(|_| self.form.has_native_histograms) {
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
            sent.samples.push(Sample::new(0.0, self.options.zero_millis));
        }
        sent.samples.push(Sample::new(value, self.options.now_millis));
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
        let start_millis = series.start_told(zero_millis);
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
            Protocol::V1 => wire::v1(series, self.options.now_millis).encode_to_vec(),
            Protocol::V2 => wire::v2(series, self.options.now_millis).encode_to_vec(),
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
