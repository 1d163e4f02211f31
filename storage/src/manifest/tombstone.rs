//! A deleted trace as a manifest names it.

use model::TraceId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::UnknownFields;

/// A deleted trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    pub trace_id: TraceId,
    /// Higher than that of all before.
    pub number: u64,
    pub deleted_nanos: u64,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

fn write_id<S: Serializer>(id: &TraceId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TraceId, D::Error> {
    TraceId::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
