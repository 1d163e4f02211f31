//! How far files and blocks are sent: a small file of JSON, replaced as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::Place;
use crate::error::Error;

pub(super) struct State {
    path: PathBuf,
    files: BTreeMap<PathBuf, FileState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct FileState {
    /// How long the file was: one that is shorter now is another. Of a block, its traces.
    bytes: u64,
    place: Place,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    files: BTreeMap<PathBuf, FileState>,
}

const VERSION: u32 = 1;

impl State {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let files = match fs::read(path) {
            Ok(text) => parse(&text).map_err(|reason| Error::Content { path: path.to_owned(), offset: 0, reason })?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(Error::File { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), files })
    }

    /// Where reading goes on of what is so large now.
    pub(super) fn place(&self, key: &Path, bytes: u64) -> Place {
        let known = self.files.get(key).filter(|known| known.bytes <= bytes);
        known.map(|known| known.place).unwrap_or_default()
    }

    pub(super) fn set(&mut self, key: PathBuf, bytes: u64, place: Place) {
        self.files.insert(key, FileState { bytes, place });
    }

    pub(super) fn save(&self) -> Result<(), Error> {
        if self.files.is_empty() {
            return Ok(());
        }
        let document = Document { version: VERSION, files: self.files.clone() };
        let text = serde_json::to_vec_pretty(&document).expect("paths and numbers are JSON");
        let new = self.path.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&new)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|source| Error::File { path: self.path.clone(), source })
    }

    /// Nothing is left to go on with.
    pub(super) fn remove(self) -> Result<(), Error> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::File { path: self.path, source: error }),
            _ => Ok(()),
        }
    }
}

fn parse(text: &[u8]) -> Result<BTreeMap<PathBuf, FileState>, String> {
    let mend = "name another with --state, or remove it to begin again";
    let document: Document =
        serde_json::from_slice(text).map_err(|error| format!("it is no state of an import ({error}); {mend}"))?;
    if document.version != VERSION {
        return Err(format!("it is of version {}, this program knows {VERSION}; {mend}", document.version));
    }
    Ok(document.files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_on_where_it_ended_unless_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = (Path::new("/spans.json"), dir.path().join("state.json"));
        let mut state = State::open(&path).unwrap();
        assert_eq!(state.place(file, 8), Place::default());
        let place = Place { offset: 8, parts: 2 };
        state.set(file.to_owned(), 8, place);
        state.save().unwrap();
        let state = State::open(&path).unwrap();
        assert_eq!(state.place(file, 17), place);
        assert_eq!(state.place(file, 3), Place::default());
        state.remove().unwrap();
        assert!(!path.exists());
        fs::write(&path, "{}").unwrap();
        let problem = State::open(&path).err().unwrap().to_string();
        assert!(problem.contains("it is no state of an import") && problem.contains("--state"), "{problem}");
    }
}
