//! Nodes that die, sleep or leave, and who takes over what they have not published.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use mosso::adoption::Own;
use object_store::{ObjectStore, PutMode};
use rand::RngExt;
use storage::bucket_log::{self, LogReader, Seal};
use storage::members::{Record, Retired};
use storage::{Telemetry, paths};

use super::{FEW_TURNS, Node, PATIENCE, UnderWay, World};
use crate::bucket_log_simulation::{Model, Plant, silence};

impl World {
    pub async fn kill(&mut self, number: usize) -> &'static str {
        if !self.is_awake(number) {
            return "nobody is there";
        }
        let node = &mut self.nodes[number];
        node.runs = false;
        node.store.power.cut();
        self.network.remove(&node.record.incarnation);
        node.ingester.close().await;
        self.leave_disk(number);
        "killed"
    }

    /// It does nothing more until it is resumed, in the middle of a push.
    pub async fn suspend(&mut self, node: usize, model: &mut Model) -> Result<String> {
        if !self.is_awake(node) || self.nodes.iter().filter(|node| node.runs && !node.is_suspended).count() < 2 {
            return Ok("is not suspended".to_owned());
        }
        let (trace, spans, bytes) = self.new_push(model);
        let told = format!("suspended while it stores {spans:?}");
        let (tenant, node) = (self.tenant.clone(), &mut self.nodes[node]);
        node.is_suspended = true;
        node.store.goes_on.send_replace(false);
        self.suspended
            .extend(self.network.remove(&node.record.incarnation).map(|holder| (node.record.incarnation, holder)));
        let ingester = node.ingester.clone();
        let outcome = tokio::spawn(async move { ingester.push(&tenant, bytes.into()).await.is_ok() });
        node.under_way = Some(UnderWay { trace, spans, outcome });
        for _ in 0..FEW_TURNS {
            tokio::task::yield_now().await;
        }
        Ok(told)
    }

    pub async fn resume(&mut self, number: usize, model: &mut Model) -> Result<String> {
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.runs && node.is_suspended) else {
            return Ok("goes on".to_owned());
        };
        node.is_suspended = false;
        node.store.goes_on.send_replace(true);
        if let Some(holder) = self.suspended.remove(&node.record.incarnation) {
            self.network.add(node.record.incarnation, holder);
        }
        let mut told = "goes on".to_owned();
        if let Some(UnderWay { trace, spans, outcome }) = node.under_way.take() {
            let is_acknowledged =
                tokio::time::timeout(PATIENCE, outcome).await.is_ok_and(|outcome| outcome.is_ok_and(|ok| ok));
            told = format!("goes on, {spans:?}: {}", if is_acknowledged { "acknowledged" } else { "refused" });
            model.pushed(trace, spans, is_acknowledged);
        }
        self.restart_if_retired(number).await?;
        Ok(told)
    }

    /// Whether a rule is broken that matters where a log is adopted whose first objects have gone: without a hint one run in fifty
    /// comes there.
    pub fn is_about_adoption(&self) -> bool {
        matches!(self.plant, Some(Plant::SealBelievedWithoutASecondListing | Plant::NewestObjectCollected))
    }

    /// It is suspended in the middle of a push, perhaps when all before is in blocks and deleted; adopted; and goes on.
    pub async fn adopt_asleep(&mut self, node: usize, model: &mut Model) -> Result<String> {
        let mut told = Vec::new();
        if self.is_about_adoption() || self.random.random_bool(0.5) {
            told.push(self.flush(node).await.to_owned());
        }
        if self.is_about_adoption() || self.random.random_bool(0.5) {
            told.push(format!("collect {}", self.collect(node).await?));
        }
        told.push(self.suspend(node, model).await?);
        told.push(self.adopt_at_once(node).await?);
        told.push(self.resume(node, model).await?);
        Ok(told.join(", "))
    }

    /// As `src/main.rs` does it; the next start is another operation.
    pub async fn restart_if_retired(&mut self, number: usize) -> Result<()> {
        if self.is_awake(number) && self.nodes[number].ingester.is_retired() {
            self.leave(number).await?;
        }
        Ok(())
    }

    pub async fn stop(&mut self, number: usize) -> Result<&'static str> {
        if !self.is_awake(number) {
            return Ok("nobody is there");
        }
        self.leave(number).await?;
        Ok("stopped")
    }

    async fn leave(&mut self, number: usize) -> Result<()> {
        let node = &mut self.nodes[number];
        node.runs = false;
        node.ingester.refuse();
        if node.ingester.publish_all(PATIENCE).await.is_ok() {
            let mark = Retired::new(node.manifests.sequences());
            node.members.retire(&node.record.incarnation, &mark).await?;
            node.disk = None;
        }
        self.network.remove(&node.record.incarnation);
        node.ingester.close().await;
        self.leave_disk(number);
        Ok(())
    }

    /// Every node that is awake looks after the others, as time passes.
    pub async fn adopt_after_silence(&mut self) -> Result<String> {
        for _ in 0..2 {
            for number in 0..self.nodes.len() {
                if !self.is_awake(number) {
                    continue;
                }
                let is_delivering = self.random.random_bool(0.5);
                let node = &mut self.nodes[number];
                node.store.delivers_while_reading.store(is_delivering, Ordering::SeqCst);
                if self.plant.is_some() {
                    continue;
                }
                if node.adoption.look().await? == Own::IsRetired {
                    node.ingester.taken_over();
                    self.restart_if_retired(number).await?;
                }
            }
            silence().await;
            if self.is_shipping {
                self.restart_who_finds_a_seal().await?;
            }
        }
        if self.plant.is_none() {
            return Ok("looked".to_owned());
        }
        let gone: Vec<usize> =
            (0..self.nodes.len()).filter(|node| !self.nodes[*node].runs || self.nodes[*node].is_suspended).collect();
        for node in gone {
            self.adopt_at_once(node).await?;
        }
        Ok("looked, breaking a rule".to_owned())
    }

    /// One that has nothing to ship looks for a seal as time passes.
    async fn restart_who_finds_a_seal(&mut self) -> Result<()> {
        for _ in 0..FEW_TURNS {
            tokio::task::yield_now().await;
        }
        for number in 0..self.nodes.len() {
            self.restart_if_retired(number).await?;
        }
        Ok(())
    }

    /// Another adopts a node that lives, or is suspended or dead, without waiting for anything.
    pub async fn adopt_at_once(&mut self, gone: usize) -> Result<String> {
        let by = (0..self.nodes.len()).find(|node| self.is_awake(*node) && *node != gone);
        let (Some(by), true) = (by, gone < self.nodes.len()) else { return Ok("nobody is there".to_owned()) };
        let record = self.nodes[gone].record.clone();
        let node = &self.nodes[by];
        let view = node.members.view().await?;
        if !view.has(&record.incarnation) {
            return Ok("is no member".to_owned());
        }
        let is_delivering = self.random.random_bool(0.5);
        let node = &self.nodes[by];
        node.store.delivers_while_reading.store(is_delivering, Ordering::SeqCst);
        // only then is one listing not enough
        let is_stale = self.random.random_bool(0.3) || self.plant == Some(Plant::SealBelievedWithoutASecondListing);
        if is_stale {
            // it listed when there was nothing, and slept since
            *node.store.stale_listing.lock().expect("no test panics with it") = Some(Vec::new());
        }
        let told = adopt(node, &record, self.plant).await?;
        node.store.stale_listing.lock().expect("no test panics with it").take();
        Ok(format!("by {by}: {told}"))
    }
}

/// As `src/adoption.rs` does it once it is due, but for the rule that is broken.
async fn adopt(node: &Node, record: &Record, plant: Option<Plant>) -> Result<String> {
    let (objects, writer) = (node.store.clone(), record.incarnation);
    let reader = LogReader::new(Arc::new(objects.clone()), Telemetry::unregistered());
    let newest =
        async || -> Result<u64> { Ok(reader.numbers_after(&writer, 0).await?.last().copied().unwrap_or_default()) };
    let sealed = match plant {
        Some(Plant::NoSeal) => Seal::Sealed { last: newest().await? },
        Some(Plant::SealBelievedWithoutASecondListing) => {
            let last = newest().await?;
            let key = paths::log_object(&writer, last + 1);
            // the bytes do not matter: the log's own writer takes anything that is not its own for the end
            match objects.put_opts(&key, "a seal".into(), PutMode::Create.into()).await {
                Ok(_) => Seal::Sealed { last },
                Err(_) => Seal::Lives,
            }
        }
        _ => bucket_log::seal(&objects, &reader, &writer).await?,
    };
    let Seal::Sealed { last } = sealed else { return Ok("it lives".to_owned()) };
    let adopter = node.adopter.clone();
    let adopted = match plant {
        Some(Plant::SealWithoutReplay) => Ok(()),
        _ => adopter.adopt(record.writer(), &reader, last).await,
    };
    match adopted {
        Ok(()) => {
            if !record.is_shipped {
                let mark = Retired::new(node.manifests.sequences());
                node.members.retire(&writer, &mark).await?;
            }
            Ok(format!("adopted through {last}"))
        }
        Err(error) => {
            ensure!(error.kind() == model::ErrorKind::Unavailable || plant.is_some(), error);
            Ok(format!("not adopted: {error}"))
        }
    }
}
