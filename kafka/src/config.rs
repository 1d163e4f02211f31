//! What can be set of a consumer.

use std::fmt;
use std::time::Duration;

use crate::tls::Tls;

/// Which topic is read, from whom, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of some brokers; they name the others.
    pub brokers: Vec<String>,
    pub topic: String,
    /// Consumers of one group share the partitions, and go on where the group was.
    pub group: String,
    pub client: String,
    /// Where a group begins that has read nothing yet, or whose place has expired.
    pub start: Start,
    /// How long the group waits for a sign of life before the partitions go to others.
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    /// How long the members of the group may take to join it anew.
    pub rebalance_timeout: Duration,
    /// Bytes of one partition, and of all of one broker, that are fetched at a time. A larger batch of records is fetched by
    /// itself.
    pub partition_fetch_bytes: i32,
    pub fetch_bytes: i32,
    /// How long a broker waits for records when there are none.
    pub max_wait: Duration,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
}

/// Who the client is.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub username: String,
    pub password: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Without the password.
impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.mechanism.name(), self.username)
    }
}
