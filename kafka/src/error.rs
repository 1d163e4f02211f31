//! What can go wrong, in words that name the broker.

use std::fmt;
use std::io;

use crate::wire::Malformed;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("connect to the broker {broker}: {source}")]
    Connect { broker: String, source: io::Error },
    #[error("the broker {broker} does not answer: {what} took longer than {seconds}s")]
    Timeout { broker: String, what: &'static str, seconds: u64 },
    #[error("{what} of the broker {broker}: {source}")]
    Io { broker: String, what: &'static str, source: io::Error },
    #[error("the broker {broker} refuses {mechanism}: {reason}")]
    Sasl { broker: String, mechanism: &'static str, reason: String },
    #[error("the broker {broker} has no version {version} of {api}: Kafka 2.1 or newer is needed")]
    Unsupported { broker: String, api: &'static str, version: i16 },
    #[error("the broker {broker} answered {api} with what cannot be read: {source}")]
    Malformed { broker: String, api: &'static str, source: Malformed },
    #[error("{api}: {code}")]
    Refused { api: &'static str, code: ErrorCode },
    #[error("no broker answers: {0}")]
    NoBroker(Box<Error>),
    #[error("the partition {partition} of the topic {topic} has no leader")]
    NoLeader { topic: String, partition: i32 },
}

impl Error {
    /// Whether the group has given the partitions to others, or is about to: what is under way was not in vain, and the
    /// next poll joins again.
    pub fn is_rebalance(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.is_rebalance())
    }
}

/// Why a broker refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    pub(crate) const OFFSET_OUT_OF_RANGE: Self = Self(1);
    pub(crate) const ILLEGAL_GENERATION: Self = Self(22);
    pub(crate) const UNKNOWN_MEMBER_ID: Self = Self(25);
    pub(crate) const REBALANCE_IN_PROGRESS: Self = Self(27);

    pub(crate) fn check(self, api: &'static str) -> Result<(), Error> {
        if self.0 == 0 { Ok(()) } else { Err(Error::Refused { api, code: self }) }
    }

    fn is_rebalance(self) -> bool {
        [Self::ILLEGAL_GENERATION, Self::UNKNOWN_MEMBER_ID, Self::REBALANCE_IN_PROGRESS].contains(&self)
    }

    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            -1 => "UNKNOWN_SERVER_ERROR",
            1 => "OFFSET_OUT_OF_RANGE",
            2 => "CORRUPT_MESSAGE",
            3 => "UNKNOWN_TOPIC_OR_PARTITION",
            5 => "LEADER_NOT_AVAILABLE",
            6 => "NOT_LEADER_OR_FOLLOWER",
            7 => "REQUEST_TIMED_OUT",
            14 => "COORDINATOR_LOAD_IN_PROGRESS",
            15 => "COORDINATOR_NOT_AVAILABLE",
            16 => "NOT_COORDINATOR",
            22 => "ILLEGAL_GENERATION",
            23 => {
                "INCONSISTENT_GROUP_PROTOCOL: other members of the group share partitions in another way than `range`"
            }
            25 => "UNKNOWN_MEMBER_ID",
            26 => "INVALID_SESSION_TIMEOUT: the broker allows none so short or so long",
            27 => "REBALANCE_IN_PROGRESS",
            29 => "TOPIC_AUTHORIZATION_FAILED: the user may not read the topic",
            30 => "GROUP_AUTHORIZATION_FAILED: the user may not read as this group",
            33 => "UNSUPPORTED_SASL_MECHANISM",
            58 => "SASL_AUTHENTICATION_FAILED",
            76 => "UNSUPPORTED_COMPRESSION_TYPE",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error code {}", self.0),
        }
    }
}
