//! Who uses a data folder: one process at a time, with an identity that stays with the folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::str::FromStr;

use uuid::Uuid;

use crate::durable;
use crate::error::Error;
use crate::ids::WriterId;
use crate::paths::DataDir;

/// While it lives, no other process can use the data folder. The system frees it when the process dies.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes the folder, and creates it if it is missing.
    ///
    /// # Errors
    /// [`Error::DataDirInUse`] when another process has it, [`Error::DataDirUnusable`] when it cannot be written.
    pub fn acquire(dir: &DataDir) -> Result<Self, Error> {
        let unusable = |source: io::Error| Error::DataDirUnusable { path: dir.root().to_owned(), source };
        durable::create_dir(dir.root()).map_err(unusable)?;
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).open(dir.lock_file()).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::DataDirInUse { path: dir.root().to_owned() }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

/// The identity of the folder's writer; made durable on the first call.
///
/// # Errors
/// [`Error::WriterIdDamaged`] when the file holds something else: a new identity would orphan what the old one wrote.
pub fn writer_id(dir: &DataDir) -> Result<WriterId, Error> {
    let path = dir.writer_id_file();
    match std::fs::read_to_string(&path) {
        Ok(text) => Uuid::from_str(text.trim())
            .map(WriterId)
            .map_err(|error| Error::WriterIdDamaged { path, reason: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = WriterId(Uuid::new_v4());
            durable::write_file(&path, format!("{id}\n").as_bytes()).map_err(Error::io("write writer id", &path))?;
            Ok(id)
        }
        Err(source) => Err(Error::io("read writer id", &path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_belongs_to_one_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(temp.path().join("a/b"));
        let lock = DataDirLock::acquire(&dir).unwrap();
        let error = DataDirLock::acquire(&dir).unwrap_err();
        assert!(matches!(error, Error::DataDirInUse { .. }));
        assert_eq!(
            error.to_string(),
            format!("data folder {} is in use by another mosso process", dir.root().display())
        );
        drop(lock);
        DataDirLock::acquire(&dir).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DataDirLock::acquire(&DataDir::new(file.join("data"))).unwrap_err();
        assert!(error.to_string().contains(&file.join("data").display().to_string()), "{error}");
        assert!(!error.to_string().contains('\n'));
    }

    #[test]
    fn the_writer_id_stays_and_is_never_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(temp.path());
        let id = writer_id(&dir).unwrap();
        assert_eq!(writer_id(&dir).unwrap(), id);
        std::fs::write(dir.writer_id_file(), "").unwrap();
        assert!(matches!(writer_id(&dir), Err(Error::WriterIdDamaged { .. })));
    }
}
