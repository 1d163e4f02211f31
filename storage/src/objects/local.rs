//! Objects as files of a local folder, written so that they survive a power loss.
//!
//! A put writes `<key>#<number>`, syncs it, renames or links it to `<key>` and syncs the folder
//! ([`LocalFileSystem::with_fsync`]). A process that dies on the way leaves one of two things behind, and both are
//! settled when the store is opened: a staged file, and an object that can be seen but is not yet durable.

mod files;

use std::path::Path;
use std::{fs, io};

use object_store::local::LocalFileSystem;
use tracing::{info, warn};

pub(super) use self::files::Files;
use crate::error::Error;
use crate::{durable, paths};

/// Opens the store, creating its folder if it is missing. Unless it is shared, no other process may be writing there; in
/// one that is shared, staged files may be those of others and stay.
pub(super) fn open(root: &Path, is_shared: bool) -> Result<LocalFileSystem, Error> {
    durable::create_dir(root).map_err(Error::io("create block folder", root))?;
    let removed = settle(root, !is_shared)?;
    if removed > 0 {
        info!(root = %root.display(), removed, "removed unfinished objects");
    }
    Ok(open_to_read(root)?.with_fsync(true).with_automatic_cleanup(true))
}

/// Opens the store and leaves everything in it as it is.
pub(super) fn open_to_read(root: &Path) -> Result<LocalFileSystem, Error> {
    fs::metadata(root).map_err(Error::io("open block folder", root))?;
    LocalFileSystem::new_with_prefix(root).map_err(|source| Error::Objects {
        action: "open block folder",
        key: root.display().to_string(),
        source,
    })
}

/// Makes objects durable, and removes staged files if told to; returns how many were removed.
fn settle(dir: &Path, removes_staged: bool) -> Result<usize, Error> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            warn!(dir = %dir.display(), "skipped a folder that may not be read"); // `lost+found` is such a one
            return Ok(0);
        }
        entries => entries.map_err(Error::io("list folder", dir))?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(Error::io("list folder", dir))?;
        let path = entry.path();
        if entry.file_type().map_err(Error::io("read type of", &path))?.is_dir() {
            removed += settle(&path, removes_staged)?;
        } else if removes_staged && paths::is_staged_object(&path) {
            fs::remove_file(&path).map_err(Error::io("remove unfinished object", &path))?;
            removed += 1;
        }
    }
    durable::sync_dir(dir).map_err(Error::io("sync folder", dir))?;
    Ok(removed)
}
