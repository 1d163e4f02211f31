//! Identifiers: parse, print, order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A 128-bit trace id, ordered as its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TraceId(pub [u8; 16]);

/// A 64-bit span id, ordered as its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SpanId(pub [u8; 8]);

/// Names a block; time-ordered (UUID version 7), so later blocks sort later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockId(pub Uuid);

/// Why a text is not a trace id. The texts are Tempo's, because clients show and match them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTraceIdError {
    #[error("trace IDs can only contain hex characters: invalid character '{character}' at position {position}")]
    NotHex { character: char, position: usize },
    #[error("trace IDs can't be larger than 128 bits")]
    TooLong,
}

impl TraceId {
    /// Accepts 1 to 32 hex digits of any case; shorter ids are padded with zeros on the left. The empty text is id 0.
    pub fn parse(text: &str) -> Result<Self, ParseTraceIdError> {
        let mut value: u128 = 0;
        for (index, character) in text.chars().enumerate() {
            let digit = character.to_digit(16).ok_or(ParseTraceIdError::NotHex { character, position: index + 1 })?;
            if index >= 32 {
                continue; // the first bad character is reported before the length
            }
            value = value << 4 | u128::from(digit);
        }
        if text.chars().count() > 32 {
            return Err(ParseTraceIdError::TooLong);
        }
        Ok(Self(value.to_be_bytes()))
    }

    /// Lower-case hex without leading zeros, as Tempo prints ids in search results. The zero id prints as `0`.
    pub fn short_hex(&self) -> String {
        format!("{:x}", u128::from_be_bytes(self.0))
    }

    pub fn is_zero(&self) -> bool {
        self.0 == [0; 16]
    }

    /// The number drawn for the trace: as good as random, but the same every time. Of several traces the one with the smallest
    /// stands for the others.
    pub fn draw(&self) -> u64 {
        let number = u128::from_be_bytes(self.0);
        mixed(mixed((number >> 64) as u64).wrapping_add(number as u64))
    }
}

/// The finalizer of SplitMix64.
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl SpanId {
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 8]
    }
}

impl fmt::Display for TraceId {
    /// 32 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    /// 16 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl BlockId {
    /// A new id, later than every id made before it by this process.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Another id that was made at the same time: it sorts among others as this one does.
    #[must_use]
    pub fn another(&self) -> Self {
        Self(self.0.get_timestamp().map_or_else(Uuid::now_v7, Uuid::new_v7))
    }

    /// When the id was made, in unix nanoseconds, to the millisecond; 0 for an id that is not time-ordered.
    pub fn created_nanos(&self) -> u64 {
        let (seconds, nanos) = self.0.get_timestamp().map_or((0, 0), |timestamp| timestamp.to_unix());
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::from(nanos))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for BlockId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_are_padded_on_the_left_and_print_back() {
        let id = TraceId::parse("a1B2").unwrap();
        assert_eq!(id.to_string(), "0000000000000000000000000000a1b2");
        assert_eq!(id.short_hex(), "a1b2");
        assert_eq!(TraceId::parse(&id.to_string()), Ok(id));
        assert!(TraceId::parse("0").unwrap().is_zero());
    }

    #[test]
    fn bad_trace_ids_say_what_is_wrong() {
        let text = |id: &str| TraceId::parse(id).unwrap_err().to_string();
        assert_eq!(text("xyz"), "trace IDs can only contain hex characters: invalid character 'x' at position 1");
        assert_eq!(text(&"1".repeat(33)), "trace IDs can't be larger than 128 bits");
    }

    #[test]
    fn block_ids_sort_by_the_time_they_were_made() {
        let ids: Vec<BlockId> = (0..100).map(|_| BlockId::generate()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn another_block_id_is_as_old() {
        let id = BlockId::generate();
        assert_ne!(id.another(), id);
        assert_eq!(id.another().created_nanos(), id.created_nanos());
    }
}
