//! A part that dies, or must not go on, ends the process, with an exit code and a reason; what was acknowledged is kept.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use mosso::app::App;
use mosso::config::Config;

use crate::durability::assert_all_there;
use crate::server::{Server, config_in};
use crate::traffic::send;

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_task_is_told_with_its_name() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let config = Config::read(&config_in(dir.path(), "")?)?;
    for (dies, reason) in [(true, "the juggler has died: no luck"), (false, "the juggler has ended")] {
        let mut app = App::start(&config).await?;
        app.run_beside("juggler", async move { assert!(!dies, "no luck") });
        assert_eq!(app.failed().await, reason);
        app.stop().await?;
    }
    Ok(())
}

/// The status code of `POST /flush`.
async fn flush(server: &Server) -> Result<u16> {
    Ok(server.target().http(&server.api, "POST", "/flush", &[], None).await?.status)
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &copy)?;
        } else {
            std::fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

/// Two processes would raise one watermark, and each would take for published what only the other has published.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_on_a_copy_of_a_data_folder_ends_and_loses_nothing() -> Result<()> {
    let (original_dir, copy_dir, bucket) = (tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?);
    let shared = format!("storage: {{trace: {{local: {{path: {}}}}}}}", bucket.path().display());
    let original = Server::start(original_dir.path(), &shared).await?;
    assert!(send(&original.target(), 1).await?);
    assert_eq!(flush(&original).await?, 204);
    original.stop()?;
    let copied = copy_dir.path().join("data");
    copy_files(&original_dir.path().join("data"), &copied)?;

    let original = Server::start(original_dir.path(), &shared).await?;
    let copy = Server::start(copy_dir.path(), &shared).await?;
    for id in 2..=5 {
        assert!(send(&original.target(), id).await?);
        assert_eq!(flush(&original).await?, 204);
    }
    assert!(send(&copy.target(), 100).await?);
    assert_all_there(&copy.target(), &[100]).await?;
    assert_eq!(flush(&copy).await?, 503);
    let log = copy.log();
    let status = copy.ended().await?;
    assert_eq!(status.code(), Some(1));
    let said = log.lines(&["ERROR", "the process cannot go on", "this data folder is a copy"]);
    assert_eq!(said.len(), 1, "{said:?}");

    let again = Command::new(env!("CARGO_BIN_EXE_mosso"))
        .arg("--config.file")
        .arg(copy_dir.path().join("mosso.yaml"))
        .output()
        .context("start mosso")?;
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && said.contains("delete its file writer-id"), "{said}");

    std::fs::remove_file(copied.join("writer-id"))?;
    let copy = Server::start(copy_dir.path(), &shared).await?;
    assert_all_there(&copy.target(), &[2, 3, 4, 5, 100]).await?;
    assert_eq!(flush(&copy).await?, 204);
    copy.stop()?;
    original.stop()?;
    let original = Server::start(original_dir.path(), &shared).await?;
    assert_all_there(&original.target(), &[2, 3, 4, 5, 100]).await?;
    original.stop()?;
    Ok(())
}
