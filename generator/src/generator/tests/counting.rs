//! What is found by numbers of one table and remembered from table to table, beside an obvious count over the spans.

use std::collections::BTreeMap;

use super::*;

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len() as u64) as usize]
    }
}

const BUCKETS_UP_TO: [(&str, u64); 3] = [("0.002", 2), ("0.064", 64), ("+Inf", u64::MAX)];

/// Spans of some services on several pods, and what they add to series: calls, milliseconds, and calls up to some bounds.
fn spans(numbers: &mut Numbers, ids: std::ops::Range<u64>, counts: &mut BTreeMap<String, [u64; 5]>) -> Vec<Sent> {
    let span = |id: u64| {
        let (service, pod) = (numbers.one_of(&["shop", "stock", "mail"]), numbers.one_of(&["pod-1", "pod-2"]));
        let (name, region) = (numbers.one_of(&["a", "b", "c", "d"]), numbers.one_of(&["", "north", "south"]));
        let (kind, millis) = (numbers.below(6) as i32, numbers.below(200));
        let (failed, of_resource) = (numbers.below(2) == 0, numbers.below(2) == 0);
        let mut sent = crate::testing::span(service, id, 0, kind, millis).named(name).of_resource("pod", pod);
        sent = match (region, of_resource) {
            ("", _) => sent,
            // the resource says first what an attribute is
            (region, true) => sent.of_resource("region", region).with("region", "elsewhere"),
            (region, false) => sent.with("region", region),
        };
        let (sent, status) = if failed { (sent.failed(), 2) } else { (sent, 0) };
        let region = if region.is_empty() { String::new() } else { format!("region=\"{region}\",") };
        let (kind, status) = (crate::names::kind_name(kind), crate::names::status_name(status));
        let labels =
            format!("{region}service=\"{service}\",span_kind=\"{kind}\",span_name=\"{name}\",status_code=\"{status}\"");
        let sums = counts.entry(labels).or_default();
        sums[0] += 1;
        sums[1] += millis;
        for (sum, (_, most)) in sums[2..].iter_mut().zip(BUCKETS_UP_TO) {
            *sum += u64::from(millis <= most);
        }
        sent
    };
    ids.map(span).collect()
}

/// All samples by series.
fn values(shown: &Shown) -> BTreeMap<String, f64> {
    let sample = |line: String| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().ok()?))
    };
    shown.samples("traces_").into_iter().filter_map(sample).collect()
}

#[test]
fn all_series_are_what_a_count_over_the_spans_gives_table_after_table() {
    let mut config = config(&["span-metrics"]);
    config.span_metrics.dimensions = vec!["region".to_owned()];
    let (shown, mut numbers, mut counts) = (Shown::new(config), Numbers(7), BTreeMap::new());
    for table in 0..6 {
        shown.take(&spans(&mut numbers, table * 300 + 1..table * 300 + 301, &mut counts));
        assert_eq!(shown.samples("traces_spanmetrics_calls_total").len(), counts.len());
        let values = values(&shown);
        for (labels, [calls, millis, buckets @ ..]) in &counts {
            assert_eq!(values.get(&format!("traces_spanmetrics_calls_total{{{labels}}}")), Some(&(*calls as f64)));
            let seconds = values[&format!("traces_spanmetrics_latency_sum{{{labels}}}")];
            assert!((seconds - *millis as f64 / 1000.0).abs() < 1e-9, "{labels}: {seconds}");
            for ((bound, _), count) in BUCKETS_UP_TO.iter().zip(buckets) {
                let series = format!("traces_spanmetrics_latency_bucket{{{labels},le=\"{bound}\"}}");
                assert_eq!(values.get(&series), Some(&(*count as f64)), "{series}");
            }
        }
    }
}

#[test]
fn a_series_that_was_forgotten_begins_anew_and_is_not_taken_for_another() {
    let both = TenantConfig { slack: Duration::from_secs(3600), ..config(&["span-metrics", "service-graphs"]) };
    let shown = Shown::new(both);
    let call = |id: u64, service: &'static str, later: i64| {
        [
            client("shop", id, 999, 5).named(service).later(later),
            server(service, id + 1, id, 5).named(service).later(later),
        ]
    };
    shown.take(&call(1, "stock", 0)).take(&call(3, "mail", 0));
    // only one of the two goes on; series are stale after a quarter of an hour
    let later = NOW + 16 * MINUTE;
    shown.take_at(later, &call(5, "mail", 16 * 60_000)).tick_at(later);
    for prefix in ["traces_spanmetrics_calls_total", "traces_service_graph_request_total"] {
        assert!(shown.samples(prefix).iter().all(|line| line.contains("mail") && line.ends_with(" 2")), "{prefix}");
    }
    shown.take_at(later, &call(7, "audit", 16 * 60_000)).take_at(later, &call(9, "mail", 16 * 60_000));
    shown.take_at(later, &call(11, "stock", 16 * 60_000));
    let calls = shown.samples("traces_service_graph_request_total");
    let of =
        |server, count| format!(r#"traces_service_graph_request_total{{client="shop",server="{server}"}} {count}"#);
    assert_eq!(calls, [of("audit", 1), of("mail", 3), of("stock", 1)]);
    let spans = shown.samples("traces_spanmetrics_calls_total");
    let counts: Vec<&str> = spans.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(counts, ["1", "3", "1", "3", "1", "1"], "{spans:?}");
}
