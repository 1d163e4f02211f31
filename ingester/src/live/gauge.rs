//! How many spans are live, counted when somebody asks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use super::Live;

pub(crate) struct LiveSpansGauge(pub Arc<Live>);

impl fmt::Debug for LiveSpansGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveSpansGauge")
    }
}

impl Collector for LiveSpansGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauge = ConstGauge::new(i64::try_from(self.0.received_spans()).unwrap_or(i64::MAX));
        let help = "Spans that were received and are in no published block yet";
        gauge.encode(encoder.encode_descriptor("mosso_ingester_live_spans", help, None, gauge.metric_type())?)
    }
}
