//! `meta.json` of a block of Tempo's.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use uuid::Uuid;

/// What a block says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TempoBlockMeta {
    pub format: Format,
    pub block_id: Uuid,
    /// Unix seconds within which its spans lie, as far as Tempo knew.
    pub start_seconds: u64,
    pub end_seconds: u64,
    pub traces: u64,
    /// Attributes that have a column of their own, in the order in which columns are assigned.
    pub dedicated_columns: Vec<DedicatedColumn>,
}

/// What the meta of a block of another schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBlock {
    pub block_id: Uuid,
    /// In Tempo's word, or in JSON where it is none.
    pub format: String,
    pub start_seconds: u64,
    pub end_seconds: u64,
    pub traces: u64,
}

/// A block, as far as its schema is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Described {
    Known(TempoBlockMeta),
    Unknown(UnknownBlock),
}

/// The schemas that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Format {
    #[serde(rename = "vParquet3")]
    VParquet3,
    #[serde(rename = "vParquet4")]
    VParquet4,
    #[serde(rename = "vParquet5")]
    VParquet5,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DedicatedColumn {
    #[serde(rename = "n")]
    pub name: String,
    #[serde(rename = "s", default)]
    pub scope: DedicatedScope,
    #[serde(rename = "t", default)]
    pub kind: DedicatedType,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DedicatedScope {
    Resource,
    #[default]
    Span,
    Event,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DedicatedType {
    #[default]
    String,
    Int,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    format: serde_json::Value,
    #[serde(rename = "blockID")]
    block_id: Uuid,
    start_time: String,
    end_time: String,
    total_objects: u64,
    /// Read where the schema is known: another may say it otherwise.
    dedicated_columns: Option<serde_json::Value>,
}

impl Described {
    /// Reads a meta; an error says what is wrong.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text).map_err(|error| format!("it is no meta: {error}"))?;
        let Document { format, block_id, total_objects: traces, .. } = document;
        let (start_seconds, end_seconds) = (unix_seconds(&document.start_time)?, unix_seconds(&document.end_time)?);
        let Ok(known) = Format::deserialize(&format) else {
            let format = format.as_str().map_or_else(|| format.to_string(), str::to_owned);
            return Ok(Self::Unknown(UnknownBlock { block_id, format, start_seconds, end_seconds, traces }));
        };
        let dedicated_columns = document.dedicated_columns.map(Vec::<DedicatedColumn>::deserialize).transpose();
        Ok(Self::Known(TempoBlockMeta {
            format: known,
            block_id,
            start_seconds,
            end_seconds,
            traces,
            dedicated_columns: dedicated_columns
                .map_err(|error| format!("dedicatedColumns: {error}"))?
                .unwrap_or_default(),
        }))
    }
}

/// RFC 3339, in any zone: Tempo writes that of its machine.
fn unix_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time");
    let zone = text.len().saturating_sub("+00:00".len());
    let (local, offset_seconds) = match text.get(zone..) {
        Some(offset) if offset.starts_with(['+', '-']) => {
            let (hours, minutes) = offset[1..].split_once(':').ok_or_else(wrong)?;
            let minutes = hours.parse::<i64>().ok().zip(minutes.parse::<i64>().ok()).map(|(h, m)| 60 * h + m);
            let sign = if offset.starts_with('-') { -1 } else { 1 };
            (format!("{}Z", &text[..zone]), sign * 60 * minutes.ok_or_else(wrong)?)
        }
        _ => (text.to_owned(), 0),
    };
    let time: SystemTime = match humantime::parse_rfc3339(&local) {
        // Go's time of nothing, in the year 1
        Err(humantime::TimestampError::OutOfRange) => UNIX_EPOCH,
        time => time.map_err(|_| wrong())?,
    };
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(seconds.saturating_add_signed(-offset_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = r#"{"format":"vParquet4","blockID":"b27b0e53-66a0-4505-afd6-434ae3cd4a10","tenantID":"t",
        "startTime":"2022-07-04T11:11:09Z","endTime":"2022-07-04T11:11:35Z","totalObjects":134,"size":1,
        "dedicatedColumns":[{"s":"resource","n":"ip"},{"n":"retries","t":"int","o":["array"]}]}"#;

    fn known(text: &str) -> TempoBlockMeta {
        match Described::parse(text.as_bytes()) {
            Ok(Described::Known(meta)) => meta,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scopes_and_types_that_are_not_said_are_spans_and_strings() {
        let meta = known(META);
        let column = |scope, kind, name: &str| DedicatedColumn { name: name.to_owned(), scope, kind };
        assert_eq!((meta.format, meta.traces, meta.end_seconds - meta.start_seconds), (Format::VParquet4, 134, 26));
        let resource = column(DedicatedScope::Resource, DedicatedType::String, "ip");
        assert_eq!(meta.dedicated_columns, [resource, column(DedicatedScope::Span, DedicatedType::Int, "retries")]);
        let bare = META.replace("dedicatedColumns", "other");
        assert!(known(&bare).dedicated_columns.is_empty());
    }

    #[test]
    fn times_are_those_of_any_zone() {
        for (text, seconds) in [
            ("2022-07-04T11:11:09Z", 1_656_933_069),
            ("2022-07-04T13:11:09+02:00", 1_656_933_069),
            ("2022-07-04T05:41:09.5-05:30", 1_656_933_069),
            ("0001-01-01T00:00:00Z", 0),
        ] {
            assert_eq!(unix_seconds(text), Ok(seconds), "{text}");
        }
        assert_eq!(unix_seconds("yesterday"), Err("\"yesterday\" is no time".to_owned()));
    }

    #[test]
    fn a_block_of_another_format_says_what_it_is() {
        for (written, format) in [(r#""v2""#, "v2"), (r#""vParquet9""#, "vParquet9"), ("7", "7")] {
            let text = META.replace(r#""vParquet4""#, written).replace(r#"{"s":"resource","n":"ip"}"#, "[1]");
            let Ok(Described::Unknown(block)) = Described::parse(text.as_bytes()) else { panic!("{written}") };
            assert_eq!((block.format.as_str(), block.traces, block.block_id), (format, 134, known(META).block_id));
        }
        assert!(Described::parse(b"{}").unwrap_err().starts_with("it is no meta: "));
    }
}
