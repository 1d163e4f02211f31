//! The files of a log on a disk that fails as planned, fills up, and forgets what was not synced when the power goes.

mod content;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::RngExt;
use rand::rngs::SmallRng;

use self::content::{Change, Content};
use super::faults::{Call, Fault, Faults, Power};
use crate::wal::{Files, NewFile, OldFile};

/// A disk in memory, seen from one machine. Clones are the same disk on the same machine.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    faults: Faults,
    power: Power,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<Content>,
    /// Files by path, as programs see them: numbers in `files`.
    seen: BTreeMap<PathBuf, usize>,
    /// … and as they are found after a crash, at the least.
    synced: BTreeMap<PathBuf, usize>,
    /// Bytes that can still be written; `None` for a disk that never fills up.
    free_bytes: Option<usize>,
}

impl Disk {
    /// Decides which calls fail. Reads never do.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// From now on so many bytes can be written, until there is more room.
    pub fn set_free_bytes(&self, bytes: Option<usize>) {
        self.lock().free_bytes = bytes;
    }

    /// How many files there are.
    pub fn file_count(&self) -> usize {
        self.lock().seen.len()
    }

    /// The disk in a machine that is started after a crash of the one that had it: everything synced is there, and any
    /// part of what was not.
    #[must_use]
    pub fn after_crash(&self, power: Power, random: &mut SmallRng) -> Self {
        self.power.cut();
        let old = self.lock();
        let names: BTreeSet<&PathBuf> = old.seen.keys().chain(old.synced.keys()).collect();
        let mut state = State::default();
        for name in names {
            let names = if random.random_bool(0.5) { &old.seen } else { &old.synced };
            let Some(&file) = names.get(name) else { continue };
            state.seen.insert(name.clone(), state.files.len());
            state.files.push(Content::durable(old.files[file].after_crash(random)));
        }
        state.synced = state.seen.clone();
        Self { state: Arc::new(Mutex::new(state)), faults: Faults::default(), power }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of the next call that changes something.
    fn fault(&self) -> io::Result<Option<Fault>> {
        self.check_power()?;
        Ok(self.faults.next(Call::Write))
    }

    fn check_power(&self) -> io::Result<()> {
        if self.power.is_cut() { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// The outcome of a call that has been `done`, or of which nothing was.
    fn outcome<T>(&self, fault: Option<Fault>, done: io::Result<T>) -> io::Result<T> {
        match fault {
            Some(Fault::Refused | Fault::Late | Fault::Conflict) => Err(io::Error::other("refused")),
            Some(Fault::Unclear) => done.and(Err(io::Error::other("the answer was lost"))),
            Some(Fault::PowerCutBefore | Fault::PowerCutAfter | Fault::PowerCutLate) => {
                self.power.cut();
                Err(io::Error::other("the power went"))
            }
            Some(Fault::Delayed | Fault::Twice | Fault::Truncated) | None => done,
        }
    }

    fn write(&self, change: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        let fault = self.fault()?;
        let done = if is_not_done(fault) { Ok(()) } else { change(&mut self.lock()) };
        self.outcome(fault, done)
    }
}

fn is_not_done(fault: Option<Fault>) -> bool {
    matches!(fault, Some(Fault::Refused | Fault::Late | Fault::Conflict | Fault::PowerCutBefore | Fault::PowerCutLate))
}

impl State {
    fn names_in<'a>(names: &'a BTreeMap<PathBuf, usize>, dir: &Path) -> impl Iterator<Item = (&'a PathBuf, usize)> {
        names.iter().filter(move |(path, _)| path.parent() == Some(dir)).map(|(path, file)| (path, *file))
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        self.seen.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn cut(&mut self, file: usize, bytes: usize) {
        let content = &mut self.files[file];
        let freed = content.seen.len().saturating_sub(bytes);
        content.change(Change::Cut { bytes });
        self.free_bytes = self.free_bytes.map(|free| free + freed);
    }
}

impl Files for Disk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.check_power()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.check_power()?;
        Ok(State::names_in(&self.lock().seen, dir).map(|(path, _)| path.clone()).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.write(|state| {
            state.synced.retain(|path, _| path.parent() != Some(dir));
            state.synced.extend(State::names_in(&state.seen, dir).map(|(path, file)| (path.clone(), file)));
            Ok(())
        })
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let file = self.lock().files.len();
        self.write(|state| {
            if state.seen.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.seen.insert(path.to_owned(), file);
            state.files.push(Content::default());
            Ok(())
        })?;
        Ok(Box::new(DiskFile { disk: self.clone(), file }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write(|state| {
            if state.free_bytes.is_some_and(|free| free < bytes.len()) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let old = state.seen.get(path).map_or(0, |old| state.files[*old].seen.len());
            state.free_bytes = state.free_bytes.map(|free| free - bytes.len() + old);
            let file = state.files.len();
            state.files.push(Content::durable(bytes.to_vec()));
            state.seen.insert(path.to_owned(), file);
            state.synced.insert(path.to_owned(), file);
            Ok(())
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OldFile>> {
        self.check_power()?;
        let state = self.lock();
        Ok(Box::new(Cursor::new(state.files[state.file(path)?].seen.clone())))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.write(|state| {
            let file = state.file(path)?;
            state.cut(file, bytes as usize);
            state.files[file].sync();
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.write(|state| {
            let file = state.file(path)?;
            state.seen.remove(path);
            state.free_bytes = state.free_bytes.map(|free| free + state.files[file].seen.len());
            Ok(())
        })
    }
}

/// A file that is being written; one log has it, so its number is the only handle.
#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    file: usize,
}

impl NewFile for DiskFile {
    /// All of it may be used.
    fn check_room(&self) -> io::Result<()> {
        self.disk.check_power()
    }

    fn append(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let fault = self.disk.fault()?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        if is_not_done(fault) {
            bytes.truncate(bytes.len() / 2);
        }
        let mut state = self.disk.lock();
        let fits = state.free_bytes.unwrap_or(usize::MAX).min(bytes.len());
        let done = if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
        bytes.truncate(fits);
        state.free_bytes = state.free_bytes.map(|free| free - fits);
        let content = &mut state.files[self.file];
        content.change(Change::Write { at: content.seen.len(), bytes });
        self.disk.outcome(fault, done)
    }

    fn sync(&mut self) -> io::Result<()> {
        let fault = self.disk.fault()?;
        let mut state = self.disk.lock();
        let content = &mut state.files[self.file];
        match fault {
            Some(Fault::Refused | Fault::Late | Fault::Conflict) => content.forget_unsynced(),
            Some(Fault::PowerCutBefore | Fault::PowerCutLate) => {}
            _ => content.sync(),
        }
        self.disk.outcome(fault, Ok(()))
    }

    fn cut_back(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.write(|state| {
            state.cut(self.file, bytes as usize);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
