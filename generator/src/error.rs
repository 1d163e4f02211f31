//! What can go wrong while metrics are made and sent.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read a span table: {0}")]
    Table(#[from] spans::Error),
    #[error("column {name} has another type")]
    Column { name: &'static str },
    /// Settings that nothing can be generated with.
    #[error("{key}: {reason}")]
    Config { key: &'static str, reason: String },
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl Error {
    /// For `map_err`: what was done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
