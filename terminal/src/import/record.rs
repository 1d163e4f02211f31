//! Spans that are read together, and the place where reading goes on after them.

use std::io::BufRead;
use std::path::PathBuf;

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Spans that were read together.
#[derive(Debug)]
pub(super) struct Record {
    pub resource_spans: Vec<ResourceSpans>,
    /// Where reading goes on after it.
    pub next: Place,
}

/// Where reading goes on, in what the file holds when decompressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The beginning of a value or frame.
    pub offset: u64,
    /// Parts of it that are done, where one value holds many traces.
    pub parts: u64,
}

pub(super) type Records = Box<dyn Iterator<Item = Result<Record, Error>> + Send>;

/// A source of bytes from some place of a file on, and what is needed to name a place in it.
pub(super) struct Source {
    pub bytes: Box<dyn BufRead + Send>,
    pub path: PathBuf,
    pub start: Place,
}

impl Source {
    pub(super) fn content_error(&self, offset: u64, reason: impl Into<String>) -> Error {
        Error::Content { path: self.path.clone(), offset, reason: reason.into() }
    }
}
