//! Tasks that run for as long as the process does. Each has a name, and the end of one is never overlooked.

use std::any::Any;
use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

/// Tasks that stop together.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until one of them has ended; says which, and how. Without a task that never happens. May be dropped.
    pub async fn ended(&mut self) -> String {
        match self.running.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok((id, ()))) => format!("the {} has ended", self.name(id)),
            Some(Err(error)) => self.death(error),
        }
    }

    /// Waits until all have ended, as they have been told to; the answer says which one panicked instead.
    pub async fn all_ended(&mut self) -> Result<(), String> {
        let mut outcome = Ok(());
        while let Some(ended) = self.running.join_next_with_id().await {
            if let Err(error) = ended {
                outcome = Err(self.death(error));
            }
        }
        outcome
    }

    /// Waits until all have ended, and aborts those that take longer.
    pub async fn all_ended_within(&mut self, timeout: Duration) {
        if tokio::time::timeout(timeout, self.all_ended()).await.is_err() {
            self.abort().await;
        }
    }

    /// Ends all of them, wherever they are.
    pub async fn abort(&mut self) {
        self.running.shutdown().await;
    }

    fn name(&self, id: Id) -> &'static str {
        self.names.get(&id).copied().unwrap_or("unnamed task")
    }

    fn death(&self, error: JoinError) -> String {
        let name = self.name(error.id());
        match error.try_into_panic() {
            Ok(payload) => format!("the {name} has died: {}", panic_message(payload.as_ref())),
            Err(_) => format!("the {name} was aborted"),
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_task_that_ends_is_named_and_how_it_ended() {
        for (name, how) in [("poller", "the poller has died: no luck today"), ("collector", "the collector has ended")]
        {
            let mut tasks = Tasks::default();
            tasks.spawn("retention", std::future::pending());
            tasks.spawn(name, async move { assert!(name == "collector", "no luck {}", "today") });
            assert_eq!(tasks.ended().await, how);
            tasks.abort().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_aborted_after_a_while() {
        let mut tasks = Tasks::default();
        tasks.spawn("compactor", std::future::pending());
        tasks.all_ended_within(Duration::from_secs(1)).await;
        assert_eq!(tasks.all_ended().await, Ok(()));
        tasks.spawn("server", async { panic!("late") });
        assert_eq!(tasks.all_ended().await, Err("the server has died: late".to_owned()));
    }
}
