//! The messages of remote write 1.0 and 2.0, written by hand: a few of each are all there is.
//!
//! Their fields have different numbers, so a message says itself of which version it is.

use hashbrown::HashMap;
use prost::Message;

use super::{MetricType, Sent};
use crate::exposition::hexadecimal;
use crate::registry::{Exemplar, NativeHistogram, ZERO_THRESHOLD};
use crate::remote_write::Protocol;

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
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
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    /// Of version 2 only.
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

impl Sample {
    pub(super) fn new(value: f64, timestamp: i64) -> Self {
        Self { value, timestamp, start_timestamp: 0 }
    }
}

/// A native histogram; the same in both versions. Counts are whole numbers, each told by its distance from the one before,
/// or numbers as they are.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HistogramMessage {
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
    /// Of version 2 only.
    #[prost(int64, tag = "17")]
    start_timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

impl HistogramMessage {
    pub(super) fn new(native: &NativeHistogram, sum: f64, timestamp: i64) -> Self {
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
            start_timestamp: 0,
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

pub(super) fn v1(series: Vec<Sent>, now_millis: i64) -> WriteRequest {
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
pub(super) struct RequestV2 {
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
    /// Where drafts of version 2 had the start of all samples; receivers of that time read it still.
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

pub(super) fn v2(series: Vec<Sent>, now_millis: i64) -> RequestV2 {
    let mut symbols = Symbols::default();
    symbols.number(String::new());
    let mut timeseries = Vec::with_capacity(series.len());
    for Sent { labels, mut samples, mut histograms, exemplar, kind, start_millis } in series {
        let start_millis = if kind == MetricType::Gauge { 0 } else { start_millis };
        // a sample of the very start has none: it would start when it ends
        let start_of = |timestamp| if start_millis < timestamp { start_millis } else { 0 };
        samples.iter_mut().for_each(|sample| sample.start_timestamp = start_of(sample.timestamp));
        histograms.iter_mut().for_each(|sample| sample.start_timestamp = start_of(sample.timestamp));
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
            created_timestamp: start_millis,
        });
    }
    RequestV2 { symbols: symbols.texts, timeseries }
}

/// Which version a compressed request is of; `None` for what is none.
pub(in crate::remote_write) fn protocol_of(body: &[u8]) -> Option<Protocol> {
    let bytes = snap::raw::Decoder::new().decompress_vec(body).ok()?;
    // the number of the first field: series in version 1, texts in version 2
    match bytes.first()? >> 3 {
        1 => Some(Protocol::V1),
        4 => Some(Protocol::V2),
        _ => None,
    }
}

/// A compressed request of version 2 as one of version 1, which does not know of what kind series are, nor when counting
/// began. `None` for what is not of version 2.
pub(in crate::remote_write) fn as_v1(body: &[u8]) -> Option<Vec<u8>> {
    let bytes = snap::raw::Decoder::new().decompress_vec(body).ok()?;
    let RequestV2 { symbols, timeseries } = RequestV2::decode(bytes.as_slice()).ok()?;
    let text = |number: u32| symbols.get(number as usize).cloned();
    let labels = |refs: &[u32]| {
        let label = |pair: &[u32]| Some(Label { name: text(pair[0])?, value: text(pair[1])? });
        refs.chunks_exact(2).map(label).collect::<Option<Vec<Label>>>()
    };
    let exemplar = |ExemplarV2 { labels_refs, value, timestamp }: ExemplarV2| {
        Some(ExemplarMessage { labels: labels(&labels_refs)?, value, timestamp })
    };
    let series = |TimeSeriesV2 { labels_refs, mut samples, mut histograms, exemplars, .. }: TimeSeriesV2| {
        samples.iter_mut().for_each(|sample| sample.start_timestamp = 0);
        histograms.iter_mut().for_each(|sample| sample.start_timestamp = 0);
        let exemplars = exemplars.into_iter().map(exemplar).collect::<Option<_>>()?;
        Some(TimeSeries { labels: labels(&labels_refs)?, samples, exemplars, histograms })
    };
    let timeseries = timeseries.into_iter().map(series).collect::<Option<_>>()?;
    snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries }.encode_to_vec()).ok()
}

#[cfg(test)]
mod tests;
