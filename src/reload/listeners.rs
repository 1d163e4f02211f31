//! Looks at certificates, keys and secrets again and again, and at once on SIGHUP: new ones hold for new connections and
//! requests, without a restart. Those that cannot be used change nothing.

use std::collections::HashMap;
use std::time::Duration;

use api::{ListenerFiles, Reloaded};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

/// The task. Without files it has nothing to do, and says so by never ending.
pub struct ListenerReloader {
    files: ListenerFiles,
    /// What was wrong at the last look, by what it concerns; said once.
    problems: HashMap<String, String>,
}

impl ListenerReloader {
    pub fn new(files: ListenerFiles) -> Self {
        Self { files, problems: HashMap::new() }
    }

    pub async fn run(mut self) {
        if self.files.are_none() {
            return std::future::pending().await;
        }
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => return error!(%error, "SIGHUP cannot be listened for"),
        };
        let period = self.files.period();
        loop {
            wait(period, hangup.recv()).await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let files = self.files.clone();
        // the runtime is stopping otherwise
        if let Ok(all) = tokio::task::spawn_blocking(move || files.reload()).await {
            all.into_iter().for_each(|reloaded| self.tell(reloaded));
        }
    }

    fn tell(&mut self, Reloaded { what, outcome }: Reloaded) {
        match outcome {
            Ok(has_changed) => {
                self.problems.remove(&what);
                if has_changed {
                    info!(what, "new files are in use");
                }
            }
            Err(error) => {
                let problem = error.to_string();
                if self.problems.get(&what) != Some(&problem) {
                    warn!(what, error = problem, "files cannot be used, the old ones hold");
                    self.problems.insert(what, problem);
                }
            }
        }
    }
}

async fn wait(period: Duration, hangup: impl Future<Output = Option<()>>) {
    tokio::select! {
        () = tokio::time::sleep(period) => {}
        _ = hangup => {}
    }
}
