//! Series as text that a Prometheus scrapes: the classic format, and OpenMetrics with exemplars and start times. Neither can
//! say what native buckets hold: of a histogram without others there are the sum and the count.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::registry::{Exemplar, Family, Histogram, Kind, Registry, Series, SeriesValue};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

/// Writes all series of a tenant. Nothing can fail while a text is written to memory.
pub(crate) fn write(
    registry: &Registry,
    external_labels: &BTreeMap<String, String>,
    trace_id_label: &str,
    format: Format,
) -> String {
    let mut writer = Writer { text: String::new(), external_labels, trace_id_label, format };
    registry.families().iter().for_each(|family| writer.family(family));
    writer.text.push_str(&none(format));
    writer.text
}

/// A text without series, which is also how every text ends.
pub(crate) fn none(format: Format) -> String {
    match format {
        Format::Text => String::new(),
        Format::OpenMetrics => "# EOF\n".to_owned(),
    }
}

struct Writer<'a> {
    text: String,
    external_labels: &'a BTreeMap<String, String>,
    trace_id_label: &'a str,
    format: Format,
}

impl Writer<'_> {
    fn family(&mut self, family: &Family) {
        if family.series().next().is_none() {
            return;
        }
        let (kind, name) = match (&family.kind, self.format) {
            (Kind::Counter, Format::OpenMetrics) => ("counter", family.name.trim_end_matches("_total")),
            (Kind::Counter, Format::Text) => ("counter", family.name.as_str()),
            (Kind::Gauge, _) => ("gauge", family.name.as_str()),
            (Kind::Histogram(_), _) => ("histogram", family.name.as_str()),
        };
        _ = writeln!(self.text, "# HELP {name} {}.\n# TYPE {name} {kind}", family.help);
        for series in family.series() {
            match (&series.value, &family.kind) {
                (SeriesValue::Histogram(histogram), Kind::Histogram(kind)) => {
                    self.histogram(family, series, histogram, kind.bounds());
                }
                (SeriesValue::Number(number), _) => self.sample(family, "", series, None, *number, None),
                (SeriesValue::Histogram(_), _) => {}
            }
            if self.format == Format::OpenMetrics && family.kind != Kind::Gauge {
                _ = write!(self.text, "{name}_created");
                self.labels(family, series, None);
                _ = writeln!(self.text, " {}", seconds(series.start_millis));
            }
        }
    }

    fn histogram(&mut self, family: &Family, series: &Series, histogram: &Histogram, bounds: &[f64]) {
        let mut count = 0.0;
        for (bucket, more) in histogram.counts.iter().enumerate() {
            count += more;
            let bound = bounds.get(bucket).map_or("+Inf".to_owned(), f64::to_string);
            self.sample(family, "_bucket", series, Some(&bound), count, histogram.exemplars[bucket].as_ref());
        }
        self.sample(family, "_sum", series, None, histogram.sum, None);
        self.sample(family, "_count", series, None, count, None);
    }

    fn sample(
        &mut self,
        family: &Family,
        suffix: &str,
        series: &Series,
        bound: Option<&str>,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) {
        _ = write!(self.text, "{}{suffix}", family.name);
        self.labels(family, series, bound);
        _ = write!(self.text, " {value}");
        if let (Format::OpenMetrics, Some(exemplar)) = (self.format, exemplar) {
            let (label, id) = (self.trace_id_label, hexadecimal(&exemplar.trace_id));
            _ = write!(self.text, " # {{{label}=\"{id}\"}} {}", exemplar.value);
        }
        self.text.push('\n');
    }

    fn labels(&mut self, family: &Family, series: &Series, bound: Option<&str>) {
        let own = series.labels.iter().map(|(name, value)| (&**name, &**value));
        let external = self.external_labels.iter().filter(|_| family.has_external_labels);
        let all = own.chain(external.map(|(name, value)| (name.as_str(), value.as_str())));
        let mut separator = '{';
        for (name, value) in all.chain(bound.map(|bound| ("le", bound))) {
            _ = write!(self.text, "{separator}{name}=\"");
            escape(value, &mut self.text);
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
    }
}

fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// Milliseconds as seconds with three digits behind the point.
fn seconds(millis: i64) -> String {
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}

/// A trace id as Tempo writes it in exemplars: without zeros before it.
pub(crate) fn hexadecimal(trace_id: &[u8; 16]) -> String {
    format!("{:x}", u128::from_be_bytes(*trace_id))
}
