//! Names of what a store is made of. Blocks, traces and tenants have theirs from [`model`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names one log, and so the process that writes it, for as long as its data folder lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterId(pub Uuid);

/// One start of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

/// Names one start of a process that takes part in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub Uuid);

impl NodeId {
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }
}

/// Orders the segments of a log; never used twice while a segment or a watermark remembers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentSequence(pub u64);

impl SegmentSequence {
    /// Before every segment.
    pub const NONE: Self = Self(0);

    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(crate) fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Names a part of manifests; time-ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ManifestPartId(pub Uuid);

impl ManifestPartId {
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

/// Names a trace map; time-ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceMapId(pub Uuid);

impl TraceMapId {
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

macro_rules! shown_as_their_content {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

macro_rules! read_as_uuids {
    ($($id:ident),*) => {$(
        impl FromStr for $id {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Ok(Self(text.parse()?))
            }
        }
    )*};
}

shown_as_their_content!(WriterId, Incarnation, NodeId, SegmentSequence, ManifestPartId, TraceMapId);
read_as_uuids!(ManifestPartId, TraceMapId);
