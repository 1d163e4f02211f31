//! The starts of a writer, told apart, so that its log does not go on in two places without a word.
//!
//! A copy of a data folder has the id of its writer. Two processes that write under one id would raise one watermark:
//! each would take for published what the other has published, and delete it from its log. So every start is an
//! incarnation, a random number:
//!
//! - a commit that raises a watermark names its incarnation in the manifest ([`crate::manifest`]);
//! - before its first such commit, an incarnation is written to a file of the data folder, behind those before it, so a
//!   copy of the folder does not know what the original does from then on, nor the original what the copy does;
//! - who finds an incarnation in a manifest that is not in its own folder is one of two. It stops, its log stays.
//!
//! The file has one incarnation a line, the oldest first. Those that no manifest names are forgotten after a while.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;

use uuid::Uuid;

use crate::error::Error;
use crate::ids::WriterId;
use crate::paths::DataDir;
use crate::{durable, lock};

pub use crate::ids::Incarnation;

/// As many incarnations are remembered that no manifest names: a commit of a process that died may still arrive.
const KEPT_UNNAMED: usize = 16;

/// A writer, in one of its incarnations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    pub id: WriterId,
    pub incarnation: Incarnation,
}

impl Writer {
    /// A writer that never starts again: its log is on the bucket, and is the log of this start alone.
    pub fn of_one_start() -> Self {
        let id = Uuid::new_v4();
        Self { id: WriterId(id), incarnation: Incarnation(id) }
    }

    /// Whether it is such a one.
    pub fn is_of_one_start(&self) -> bool {
        self.id.0 == self.incarnation.0
    }
}

/// This start of a writer, and those before it that its data folder remembers.
#[derive(Debug, PartialEq, Eq)]
pub struct Lineage {
    writer: Writer,
    before: Vec<Incarnation>,
    /// None where nothing needs to be remembered.
    file: Option<PathBuf>,
    recorded: OnceLock<()>,
}

impl Lineage {
    /// A new start of the writer whose folder this is; writes nothing but the writer's id, and that once.
    ///
    /// # Errors
    /// When the folder's files cannot be read, or hold something else.
    pub fn open(dir: &DataDir) -> Result<Self, Error> {
        let (id, file) = (lock::writer_id(dir)?, dir.incarnations_file());
        let before = match std::fs::read_to_string(&file) {
            Ok(text) => text.lines().map(|line| Uuid::from_str(line).map(Incarnation)).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => return Err(Error::io("read incarnations", &file)(error)),
        };
        let damaged = |error: uuid::Error| Error::IncarnationsDamaged { path: file.clone(), reason: error.to_string() };
        Ok(Self { file: Some(file.clone()), ..Self::new(id, before.map_err(damaged)?) })
    }

    /// A new start without a folder.
    pub fn new(id: WriterId, before: Vec<Incarnation>) -> Self {
        let writer = Writer { id, incarnation: Incarnation(Uuid::new_v4()) };
        Self { writer, before, file: None, recorded: OnceLock::new() }
    }

    /// A start that is the only one of its writer: one whose log is on the bucket.
    pub fn only(writer: Writer) -> Self {
        Self { writer, before: Vec::new(), file: None, recorded: OnceLock::new() }
    }

    pub fn writer(&self) -> Writer {
        self.writer
    }

    /// Whether this is the writer's present start or one before it.
    pub fn includes(&self, incarnation: &Incarnation) -> bool {
        *incarnation == self.writer.incarnation || self.before.contains(incarnation)
    }

    /// Whether [`record`](Self::record) has done its work.
    pub fn is_recorded(&self) -> bool {
        self.file.is_none() || self.recorded.get().is_some()
    }

    /// Makes this start durable; to be called before the first manifest names it. `named` are the incarnations that
    /// manifests name, `None` when not all of them could be read.
    ///
    /// # Errors
    /// When the file cannot be written; the one before stays.
    pub fn record(&self, named: Option<&BTreeSet<Incarnation>>) -> Result<(), Error> {
        let Some(file) = self.file.as_ref().filter(|_| !self.is_recorded()) else { return Ok(()) };
        let forgotten = named.map_or(0, |_| self.before.len().saturating_sub(KEPT_UNNAMED));
        let is_kept = |(position, incarnation): &(usize, &Incarnation)| {
            *position >= forgotten || named.is_some_and(|named| named.contains(*incarnation))
        };
        let kept = self.before.iter().enumerate().filter(is_kept).map(|(_, incarnation)| incarnation);
        let text: String =
            kept.chain([&self.writer.incarnation]).map(|incarnation| format!("{incarnation}\n")).collect();
        durable::write_file(file, text.as_bytes()).map_err(Error::io("write incarnations", file))?;
        _ = self.recorded.set(());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(dir: &DataDir) -> Lineage {
        Lineage::open(dir).unwrap()
    }

    #[test]
    fn a_start_knows_those_before_it_that_were_recorded() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(temp.path());
        let (first, unrecorded) = (start(&dir), start(&dir));
        first.record(None).unwrap();
        let second = start(&dir);
        assert_eq!(second.writer().id, first.writer().id);
        assert!(second.includes(&first.writer().incarnation) && second.includes(&second.writer().incarnation));
        assert!(!second.includes(&unrecorded.writer().incarnation));
        assert!(!first.includes(&second.writer().incarnation), "a start does not know what comes after it");
    }

    #[test]
    fn copies_of_a_folder_do_not_know_each_other() {
        let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [original, copy] = [&original, &copy].map(|dir| DataDir::new(dir.path()));
        start(&original).record(None).unwrap();
        for file in [DataDir::writer_id_file, DataDir::incarnations_file] {
            std::fs::copy(file(&original), file(&copy)).unwrap();
        }
        let (original_start, copy_start) = (start(&original), start(&copy));
        original_start.record(None).unwrap();
        copy_start.record(None).unwrap();
        assert_eq!(original_start.writer().id, copy_start.writer().id);
        assert!(!start(&original).includes(&copy_start.writer().incarnation));
        assert!(!start(&copy).includes(&original_start.writer().incarnation));
    }

    #[test]
    fn what_manifests_name_is_remembered_and_the_rest_for_a_while() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(temp.path());
        let first = start(&dir);
        first.record(None).unwrap();
        let named = BTreeSet::from([first.writer().incarnation]);
        let starts: Vec<Incarnation> = (0..2 * KEPT_UNNAMED)
            .map(|_| {
                let next = start(&dir);
                next.record(Some(&named)).unwrap();
                next.writer().incarnation
            })
            .collect();
        let last = start(&dir);
        assert!(last.includes(&first.writer().incarnation));
        assert!(starts.iter().rev().take(KEPT_UNNAMED).all(|recent| last.includes(recent)));
        assert!(!last.includes(&starts[0]));
        last.record(None).unwrap();
        assert!(start(&dir).includes(&starts[KEPT_UNNAMED]), "nothing is forgotten while manifests cannot be read");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(temp.path());
        std::fs::write(dir.incarnations_file(), "x\n").unwrap();
        let error = Lineage::open(&dir).unwrap_err();
        assert!(matches!(error, Error::IncarnationsDamaged { .. }), "{error}");
        assert!(error.to_string().contains("incarnations"), "{error}");
    }
}
