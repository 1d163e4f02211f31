//! What is imported, one thing after the other: a file, or a block of a Tempo.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::read;
use super::record::{Place, Record};
use super::tempo::Block;
use crate::error::Error;

/// Records that are read ahead.
const READ_AHEAD: usize = 4;

pub(super) struct Input {
    pub source: Source,
    /// What is shown to people.
    pub name: String,
    /// The tenant that it belongs to where it comes from.
    pub tenant: Option<String>,
    /// How much lies before it and how much there is, in what places count; `None` where that is not known.
    pub extent: Option<Extent>,
}

pub(super) enum Source {
    File(PathBuf),
    Block(Box<Block>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub before: u64,
    pub total: u64,
}

impl Input {
    pub(super) fn file(path: &Path) -> Result<Self, Error> {
        let bytes = file_bytes(path)?;
        let is_compressed = path.extension().is_some_and(|extension| extension == "gz" || extension == "zst");
        Ok(Self {
            source: Source::File(path.to_owned()),
            name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            tenant: None,
            extent: (!is_compressed).then_some(Extent { before: 0, total: bytes }),
        })
    }

    /// Blocks one after the other, of which the progress is one.
    pub(super) fn blocks(blocks: Vec<Block>) -> Vec<Self> {
        let (count, total) = (blocks.len(), blocks.iter().map(Block::traces).sum());
        let mut before = 0;
        let input = |(number, block): (usize, Block)| {
            let extent = Extent { before, total };
            before += block.traces();
            Self {
                name: format!("{}: block {} of {count}", block.tenant, number + 1),
                tenant: Some(block.tenant.clone()),
                extent: Some(extent),
                source: Source::Block(Box::new(block)),
            }
        };
        blocks.into_iter().enumerate().map(input).collect()
    }

    /// Under which name it stands in the state: the same file has one, wherever the command runs.
    pub(super) fn key(&self) -> PathBuf {
        match &self.source {
            Source::File(path) => std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()),
            Source::Block(block) => PathBuf::from(block.name()),
        }
    }

    /// How large it is now. One that is smaller than it was is another.
    pub(super) fn size(&self) -> Result<u64, Error> {
        match &self.source {
            Source::File(path) => file_bytes(path),
            Source::Block(block) => Ok(block.traces()),
        }
    }

    /// Reads its records from a place on, a few ahead of who takes them. Reading ends when nobody does.
    pub(super) fn records(&self, start: Place) -> (mpsc::Receiver<Result<Record, Error>>, JoinHandle<()>) {
        let (records, received) = mpsc::channel(READ_AHEAD);
        let reading = match &self.source {
            Source::File(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || {
                    for record in read::records(&path, start) {
                        if records.blocking_send(record).is_err() {
                            return;
                        }
                    }
                })
            }
            Source::Block(block) => tokio::spawn(block.as_ref().clone().read(start, records)),
        };
        (received, reading)
    }
}

fn file_bytes(path: &Path) -> Result<u64, Error> {
    Ok(std::fs::metadata(path).map_err(|source| Error::File { path: path.to_owned(), source })?.len())
}
