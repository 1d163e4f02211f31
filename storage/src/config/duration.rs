//! Durations as Tempo's YAML has them: `5m`, `1h30m`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration that is not negative, written as Go does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GoDuration(Duration);

impl GoDuration {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub fn get(self) -> Duration {
        self.0
    }

    pub fn as_secs(self) -> u64 {
        self.0.as_secs()
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&traceql::format_go_duration(i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let nanos = traceql::parse_go_duration(&text)
            .map_err(|error| D::Error::custom(format!("{error}; write for example 5m")))?;
        let nanos =
            u64::try_from(nanos).map_err(|_| D::Error::custom(format!("duration {text} must not be negative")))?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}
