//! What a log, and what is kept beside it, does to files: each call is one step, and the process may die before, after or
//! in the middle of any.
//!
//! Two implementations: the file system, and a disk in memory that fails and forgets on purpose
//! (`crate::testing::Disk`).

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::durable;

/// Where the files of a log lie, and those of whoever follows it.
pub trait Files: Debug + Send + Sync {
    /// Creates a folder and its missing parents, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Every file and folder in `dir`.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes durable which files are in `dir`. Until then one that was created may be gone after a crash, and one that
    /// was removed may be back.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates an empty file; an error when there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Creates a file with these bytes, whole or not at all, durably; one that is there is replaced. After an error either
    /// of them may be there.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    fn open(&self, path: &Path) -> io::Result<Box<dyn OldFile>>;

    /// Cuts a file that nobody writes to, and makes what is left of it durable; with its size of now it only does the latter.
    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub trait NewFile: Debug + Send {
    /// To be asked before spans are appended.
    ///
    /// # Errors
    /// There is only room left for what makes room again, such as the header of a segment: with the next one begun the
    /// rows of those before can become blocks.
    fn check_room(&self) -> io::Result<()>;

    /// Writes all slices at the end. On an error any part of them may have been written.
    fn append(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Makes the content durable. After an error nothing is certain about what was appended since the last sync, and a
    /// later success does not change that.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file, so that the next append goes there.
    fn cut_back(&mut self, bytes: u64) -> io::Result<()>;
}

/// A file that is being read.
pub trait OldFile: Read + Seek + Debug + Send {}

impl<T: Read + Seek + Debug + Send> OldFile for T {}

/// The file system of this machine.
#[derive(Debug, Clone, Copy)]
pub struct LocalFiles {
    /// What is left free on the disk. Blocks mostly lie on the same one: retention, which makes room again, has to write
    /// a manifest first.
    pub(super) reserved_bytes: u64,
}

/// A file of [`LocalFiles`] that is being written.
#[derive(Debug)]
struct LocalFile {
    file: File,
    reserved_bytes: u64,
}

impl Default for LocalFiles {
    fn default() -> Self {
        Self { reserved_bytes: 64 << 20 }
    }
}

impl Files for LocalFiles {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        durable::create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        durable::sync_dir(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(LocalFile { file, reserved_bytes: self.reserved_bytes }))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        durable::write_file(path, bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OldFile>> {
        Ok(Box::new(File::open(path)?))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl NewFile for LocalFile {
    fn check_room(&self) -> io::Result<()> {
        let disk = rustix::fs::fstatvfs(&self.file)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) >= self.reserved_bytes {
            return Ok(());
        }
        let reserved_mib = self.reserved_bytes >> 20;
        let reason = format!("the disk has less than {reserved_mib} MiB left, which are for what makes room again");
        Err(io::Error::new(io::ErrorKind::StorageFull, reason))
    }

    fn append(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0); // drops empty slices at the front
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The size is synced with the content, times are not.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cut_back(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::Start(bytes)).map(drop)
    }
}
