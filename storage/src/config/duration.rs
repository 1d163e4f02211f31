//! Durations as Tempo's YAML has them: `5m`, `1h30m`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAY_NANOS: i64 = 24 * 3600 * 1_000_000_000;

/// A duration that is not negative, written as Go does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct GoDuration(Duration);

impl GoDuration {
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

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

/// Reads a duration as Go has it. Before that, days may stand, as in Tempo's limits: `2d12h`.
fn parse(text: &str) -> Result<i64, String> {
    let as_go = |text: &str| traceql::parse_go_duration(text).map_err(|error| error.to_string());
    let Some((days, rest)) = text.split_once('d').filter(|(days, _)| days.bytes().all(|byte| byte.is_ascii_digit()))
    else {
        return as_go(text);
    };
    let days: i64 = days.parse().map_err(|_| format!("{text:?} is no duration"))?;
    let rest = if rest.is_empty() { 0 } else { as_go(rest)? };
    let nanos = days.checked_mul(DAY_NANOS).and_then(|nanos| nanos.checked_add(rest));
    nanos.ok_or_else(|| format!("{text:?} is too long"))
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let nanos = parse(&text).map_err(|error| D::Error::custom(format!("{error}; write for example 5m")))?;
        let nanos =
            u64::try_from(nanos).map_err(|_| D::Error::custom(format!("duration {text} must not be negative")))?;
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_may_stand_before_a_duration_of_go() {
        let seconds = |text: &str| serde_json::from_value::<GoDuration>(text.into()).map(GoDuration::as_secs);
        for (text, expected) in
            [("1h30m", 5400), ("2d", 172_800), ("1d12h0m", 129_600), ("0", 0), ("336h0m0s", 1_209_600)]
        {
            assert_eq!(seconds(text).unwrap(), expected, "{text}");
        }
        for text in ["d", "1w", "-1d", "1dd", "99999999999d", "-5m"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
