//! What the generator knows, on disk, with how far in the log it has counted: a restart goes on from there.
//!
//! ```text
//! <folder>/state            magic "MGS1", CRC-32 of the rest, a protobuf `State` (state.rs)
//! <folder>/recent-<number>  magic "MGR1", CRC-32 of the rest, hashes of spans that were counted, 8 bytes each
//! ```
//!
//! The order is the commit protocol: hashes that are in no file yet are written first, then `state` is replaced, which names
//! all files of hashes that count. Then the requests of the collection that it describes go to the queues, and last the log
//! may forget what lies before the position. A crash before `state` is replaced leaves files that nothing names; one after
//! it leaves requests to be made again: `state` says which number the first of them has.
//!
//! Time in which no process runs does not count: what waits, or gets old, is as old after a restart as it was before.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use storage::ids::SegmentSequence;
use storage::wal::{Files, Position};

use crate::copies::Generations;
use crate::error::Error;
use crate::generator::Generator;
use crate::state::{Checkpoint, Collection, QueueState, RecentState, State};

const STATE_MAGIC: &[u8; 4] = b"MGS1";
const RECENT_MAGIC: &[u8; 4] = b"MGR1";
const HEAD_BYTES: usize = 8;

/// The folder of checkpoints.
pub struct Checkpoints {
    files: Arc<dyn Files>,
    folder: PathBuf,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Position and state of the generator when it was last saved.
    saved: Option<(Position, u64)>,
    next_number: u64,
    /// Files of hashes that may lie in the folder.
    on_disk: BTreeSet<u64>,
}

impl Checkpoints {
    /// Opens the folder. A checkpoint that is damaged is told of and left out.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read.
    pub fn open(files: Arc<dyn Files>, folder: &Path) -> Result<(Self, Option<Checkpoint>), Error> {
        files.create_dir(folder).map_err(Error::io("create", folder))?;
        let on_disk: BTreeSet<u64> = files
            .list(folder)
            .map_err(Error::io("list", folder))?
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.strip_prefix("recent-")?.parse().ok())
            .collect();
        let next_number = on_disk.last().map_or(0, |newest| newest + 1);
        let progress = Mutex::new(Progress { saved: None, next_number, on_disk });
        let checkpoints = Self { files, folder: folder.to_owned(), progress };
        let checkpoint = checkpoints.load()?;
        Ok((checkpoints, checkpoint))
    }

    fn state_path(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn recent_path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("recent-{number}"))
    }

    fn load(&self) -> Result<Option<Checkpoint>, Error> {
        let path = self.state_path();
        let Some(bytes) = self.read(&path)? else { return Ok(None) };
        let state = open(STATE_MAGIC, &bytes).and_then(|body| State::decode(body).ok());
        let Some(state) = state else {
            tracing::error!(path = %path.display(), "the checkpoint of the metrics generator is damaged, its series begin anew");
            return Ok(None);
        };
        let recent = state.recent.clone().unwrap_or_default();
        Ok(Some(Checkpoint {
            position: Position { segment: SegmentSequence(state.segment), offset: state.offset },
            collection: Collection { now_millis: state.now_millis, zero_millis: state.zero_millis },
            queues: state.queues.iter().map(|queue| (queue.target.clone(), queue.next_number)).collect(),
            recent: Generations { previous: self.parts(&recent.previous)?, current: self.parts(&recent.current)? },
            state,
        }))
    }

    fn parts(&self, numbers: &[u64]) -> Result<Vec<(u64, Vec<u64>)>, Error> {
        numbers.iter().map(|number| Ok((*number, self.hashes(*number)?))).collect()
    }

    fn hashes(&self, number: u64) -> Result<Vec<u64>, Error> {
        let path = self.recent_path(number);
        let bytes = self.read(&path)?.unwrap_or_default();
        let Some(body) = open(RECENT_MAGIC, &bytes) else {
            tracing::error!(path = %path.display(), "the record of spans counted lately is damaged, copies of them may be counted again");
            return Ok(Vec::new());
        };
        Ok(body.as_chunks().0.iter().map(|hash| u64::from_le_bytes(*hash)).collect())
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let mut file = match self.files.open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io("open", path))?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        Ok(Some(bytes))
    }

    /// Stores what the generator knows, and that it has counted what lies before `position`. `queues` has the number of the
    /// next request of every target, which will be the first of `collection`. Nothing is written when nothing has changed.
    ///
    /// # Errors
    /// [`Error::Io`]: a restart goes on from the checkpoint before, or from this one.
    pub fn save(
        &self,
        generator: &Generator,
        position: Position,
        collection: Collection,
        queues: Vec<(String, u64)>,
    ) -> Result<(), Error> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = Some((position, generator.changes()));
        if progress.saved == saved {
            return Ok(());
        }
        let recent = generator.with_recent(|recent| {
            let since_millis = recent.since_millis();
            let generations = recent.save(|hashes| {
                let number = progress.next_number;
                progress.next_number += 1;
                progress.on_disk.insert(number);
                let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
                let path = self.recent_path(number);
                self.files.replace(&path, &close(RECENT_MAGIC, &bytes)).map_err(Error::io("write", &path))?;
                Ok::<_, Error>(number)
            });
            generations.map(|[previous, current]| RecentState { since_millis, previous, current })
        })?;
        let named: BTreeSet<u64> = recent.previous.iter().chain(&recent.current).copied().collect();
        let queue = |(target, next_number)| QueueState { target, next_number };
        let state = State {
            segment: position.segment.0,
            offset: position.offset,
            saved_millis: collection.now_millis,
            now_millis: collection.now_millis,
            zero_millis: collection.zero_millis,
            queues: queues.into_iter().map(queue).collect(),
            tenants: generator.save_tenants(),
            recent: Some(recent),
        };
        let path = self.state_path();
        self.files.replace(&path, &close(STATE_MAGIC, &state.encode_to_vec())).map_err(Error::io("write", &path))?;
        progress.saved = saved;
        generator.stored();
        // what cannot be deleted now is deleted the next time
        progress.on_disk.retain(|number| named.contains(number) || !self.delete(*number));
        Ok(())
    }

    /// Whether the file is gone.
    fn delete(&self, number: u64) -> bool {
        let removed = self.files.remove(&self.recent_path(number));
        removed.map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |()| true)
    }
}

fn close(magic: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [magic, crc32fast::hash(body).to_le_bytes().as_slice(), body].concat()
}

/// What a file holds, if it is whole.
fn open<'b>(magic: &[u8; 4], bytes: &'b [u8]) -> Option<&'b [u8]> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES)?;
    (head[..4] == *magic && head[4..] == crc32fast::hash(body).to_le_bytes()).then_some(body)
}

#[cfg(test)]
mod tests;
