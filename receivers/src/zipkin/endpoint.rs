//! Who sent or answered: a service, addresses, a port.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::attributes::{NET_PEER_IP, NET_PEER_PORT, PEER_SERVICE, put};
use crate::error::Error;
use crate::fields::Fields;

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Endpoint {
    /// Empty for none.
    pub(crate) service_name: String,
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
    /// 0 for none.
    pub(crate) port: i64,
}

impl Endpoint {
    /// The same in versions 1 and 2.
    pub(super) fn of_json(fields: Fields<'_>) -> Result<Self, Error> {
        let text = |name| fields.text(name).map(|text| text.unwrap_or_default().to_owned());
        Ok(Self {
            service_name: text("serviceName")?,
            ipv4: text("ipv4")?,
            ipv6: text("ipv6")?,
            port: fields.integer("port")?.unwrap_or_default(),
        })
    }

    /// The address that counts: one attribute has room for one.
    pub(super) fn ip(&self) -> &str {
        if self.ipv6.is_empty() { &self.ipv4 } else { &self.ipv6 }
    }

    /// As the other side of a span.
    pub(super) fn put_as_peer(&self, attributes: &mut Vec<KeyValue>) {
        if !self.service_name.is_empty() {
            put(attributes, PEER_SERVICE, Value::StringValue(self.service_name.clone()));
        }
        self.put_address(attributes, NET_PEER_IP, NET_PEER_PORT);
    }

    pub(super) fn put_address(&self, attributes: &mut Vec<KeyValue>, ip: &str, port: &str) {
        if !self.ip().is_empty() {
            put(attributes, ip, Value::StringValue(self.ip().to_owned()));
        }
        if self.port > 0 {
            put(attributes, port, Value::IntValue(self.port));
        }
    }
}
