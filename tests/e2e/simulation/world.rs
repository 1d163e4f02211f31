//! Runs a plan, step by step, and asks for everything after each.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use futures::future::join_all;
use model::{TenantId, TraceId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use storage::ids::WriterId;
use storage::incarnation::{Incarnation, Lineage};
use storage::testing::{Disk, FaultyStore, Power};

use super::check::{Asking, Question};
use super::counted;
use super::machine::Machine;
use super::model::Model;
use super::plan::{Operation, Plan, Request, Start, Step, TENANTS, Trace, Trouble};
use super::spans;

const WRITER: WriterId = WriterId(uuid::Uuid::from_u128(1));
/// While something is waited for, so much time passes there …
const TICK: Duration = Duration::from_millis(100);
/// … in so much time here.
const REAL_TICK: Duration = Duration::from_millis(1);
/// A start may fail as often as there are troubles; then it must succeed.
const MOST_STARTS: usize = 5;

/// A machine, what it stores, and who sends to it.
pub struct World {
    now_nanos: u64,
    random: SmallRng,
    power: Power,
    disk: Disk,
    objects: FaultyStore,
    /// Every start so far.
    incarnations: Vec<Incarnation>,
    machine: Option<Machine>,
    model: RefCell<Model>,
    /// What was done and how it ended, for the report.
    history: RefCell<Vec<String>>,
}

/// Runs a plan to its end.
///
/// # Errors
/// What went wrong, behind all that was done before.
pub async fn run(plan: &Plan) -> Result<()> {
    let mut world = World::new(plan.seed);
    let outcome = world.run(plan).await;
    if let Some(machine) = world.machine.take() {
        machine.close().await; // ends its threads
    }
    outcome.with_context(|| world.history.take().join("\n"))
}

impl World {
    fn new(seed: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let power = Power::default();
        Self {
            now_nanos: now.as_nanos() as u64,
            random: SmallRng::seed_from_u64(!seed),
            disk: Disk::default().after_crash(power.clone(), &mut SmallRng::seed_from_u64(0)),
            objects: FaultyStore::default().on(power.clone()),
            power,
            incarnations: Vec::new(),
            machine: None,
            model: RefCell::default(),
            history: RefCell::default(),
        }
    }

    async fn run(&mut self, plan: &Plan) -> Result<()> {
        self.start(Start::default(), &[]).await?;
        for (number, step) in plan.steps.iter().enumerate() {
            self.note(format!("step {number}: {step:?}"));
            let late = self.objects.take_late();
            self.step(step).await?;
            for put in late {
                if self.random.random_bool(0.5) { self.objects.deliver(put).await } else { self.objects.delay(put) }
            }
            self.check().await?;
        }
        for put in self.objects.take_late() {
            self.objects.deliver(put).await;
        }
        self.check_files().await
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step.operations.as_slice() {
            [Operation::Crash(start)] => {
                self.crash().await;
                self.start(*start, &step.troubles).await
            }
            [Operation::Restart(start)] => {
                self.stop().await?;
                self.start(*start, &step.troubles).await
            }
            operations => {
                self.plan(&step.troubles);
                let outcomes = join_all(operations.iter().map(|operation| self.run_one(operation)));
                passing_time(outcomes).await.into_iter().collect::<Result<()>>()?;
                self.nothing_fails_any_more();
                if self.power.is_cut() {
                    self.crash().await;
                    self.start(Start::default(), &[]).await?;
                }
                Ok(())
            }
        }
    }

    async fn run_one(&self, operation: &Operation) -> Result<()> {
        let machine = self.machine()?;
        match operation {
            Operation::Push(request) => self.push(machine, request).await,
            Operation::Repeat => {
                let requests = self.model.borrow().unacknowledged();
                for request in &requests {
                    self.push(machine, request).await;
                }
            }
            Operation::Flush => self.note(format!("  flush: {:?}", machine.ingester.flush().await)),
            Operation::Compact { elsewhere } => {
                self.note(format!("  compaction: {:?}", machine.compact(*elsewhere).await))
            }
            Operation::Map { elsewhere } => self.note(format!("  trace maps: {:?}", machine.map(*elsewhere).await)),
            Operation::Expire { kept } => {
                self.model.borrow_mut().expiring(*kept);
                machine.expire(kept.map(tenant)).await;
            }
            Operation::Delete(traces) => self.delete(machine, traces).await,
            Operation::Collect { elsewhere } => {
                self.note(format!("  collection: {:?}", machine.collect(*elsewhere).await))
            }
            Operation::Ask => self.ask(machine).await?,
            Operation::Restart(_) | Operation::Crash(_) => unreachable!("these come alone"),
        }
        Ok(())
    }

    async fn push(&self, machine: &Machine, request: &Request) {
        self.model.borrow_mut().sending(request);
        let bytes = spans::encode(request, self.now_nanos);
        match machine.ingester.push(&tenant(request.tenant), bytes.into()).await {
            Ok(_) => self.model.borrow_mut().acknowledged(request),
            Err(error) => self.note(format!("  push: {error}")),
        }
    }

    async fn delete(&self, machine: &Machine, traces: &[Trace]) {
        self.model.borrow_mut().deleting(traces);
        let ids: Vec<TraceId> = traces.iter().map(|trace| TraceId(spans::trace_id(*trace))).collect();
        match machine.deleter.delete(&tenant(traces[0].tenant), &ids).await {
            Ok(()) => self.model.borrow_mut().deleted(traces),
            Err(error) => self.note(format!("  deletion: {error}")),
        }
    }

    /// Asks while other things happen and fail: a question may stay without an answer.
    async fn ask(&self, machine: &Machine) -> Result<()> {
        for number in 0..TENANTS {
            let questions = Question::all(&self.model.borrow().expected(number));
            for question in questions {
                let before = self.model.borrow().expected(number);
                match self.asking(machine, number).ask(question).await {
                    Err(error) => self.note(format!("  {question:?}: {error}")),
                    Ok(answered) => {
                        let expected = before.until(self.model.borrow().expected(number));
                        let found = answered.judge(&question.of(&expected)).with_context(|| format!("{question:?}"))?;
                        self.model.borrow_mut().found(found);
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks when nothing fails: every question is answered.
    async fn check(&self) -> Result<()> {
        for number in 0..TENANTS {
            let expected = self.model.borrow().expected(number);
            for question in Question::all(&expected) {
                let context = || format!("{question:?} of tenant {number}");
                let answered = self.asking(self.machine()?, number).ask(question).await.with_context(context)?;
                ensure!(answered.is_whole, "{} was not answered as a whole", context());
                let found = answered.judge(&question.of(&expected)).with_context(context)?;
                self.model.borrow_mut().found(found);
            }
        }
        Ok(())
    }

    /// When all has been written, compacted and collected, what lies in the store is what manifests name, and nothing of the
    /// deleted traces.
    async fn check_files(&mut self) -> Result<()> {
        let machine = self.machine()?;
        self.note("at the end".to_owned());
        passing_time(machine.flush_all()).await?;
        machine.compact(false).await?;
        for number in 0..TENANTS {
            self.check_deletions(machine, number).await?;
        }
        for _ in 0..2 {
            machine.collect(false).await?; // a look at the beginning may be too long after the one before
        }
        machine.check_files().await?;
        self.check().await?;
        self.stop().await
    }

    /// Every trace whose deletion was acknowledged is known as deleted, and in no block.
    async fn check_deletions(&self, machine: &Machine, number: usize) -> Result<()> {
        let report = machine.deleter.report(&tenant(number)).await?;
        let gone: BTreeSet<&str> = report
            .traces
            .iter()
            .filter(|trace| trace.is_gone_from_blocks)
            .map(|trace| trace.trace_id.as_str())
            .collect();
        for trace in self.model.borrow().gone(number) {
            let id = TraceId(spans::trace_id(trace)).to_string();
            ensure!(gone.contains(id.as_str()), "{trace:?} was deleted and is not gone from blocks: {report:?}");
        }
        Ok(())
    }

    /// Ends the process in order; by then it has counted all spans.
    async fn stop(&mut self) -> Result<()> {
        let machine = self.machine.take().context("the process runs")?;
        let generator = passing_time(machine.close()).await;
        for number in 0..TENANTS {
            let (spans, calls) = self.model.borrow().counted(number);
            counted::check(&generator, &tenant(number), &spans, &calls)
                .with_context(|| format!("metrics of tenant {number}"))?;
        }
        Ok(())
    }

    fn asking<'a>(&self, machine: &'a Machine, number: usize) -> Asking<'a> {
        Asking { querier: &machine.querier, tenant: tenant(number), range: spans::range(self.now_nanos) }
    }

    /// Nothing changes any more; what had been synced, and any part of the rest, is what the next start finds.
    async fn crash(&mut self) {
        self.power.cut();
        if let Some(machine) = self.machine.take() {
            machine.close().await; // ends its threads, which can do no harm
        }
        self.power = Power::default();
        self.disk = self.disk.after_crash(self.power.clone(), &mut self.random);
        self.objects = self.objects.on(self.power.clone());
    }

    /// Starts a process, again and again until it runs, as whoever supervises it does.
    async fn start(&mut self, start: Start, troubles: &[Trouble]) -> Result<()> {
        self.machine = None;
        self.plan(troubles);
        for _ in 0..MOST_STARTS {
            let lineage = Arc::new(Lineage::new(WRITER, self.incarnations.clone()));
            self.incarnations.push(lineage.writer().incarnation);
            let started = passing_time(Machine::start(start, lineage, &self.disk, &self.objects, &self.power)).await;
            self.nothing_fails_any_more();
            match started {
                Ok(machine) => self.machine = Some(machine),
                Err(error) => self.note(format!("  start: {error:#}")),
            }
            if self.power.is_cut() {
                self.crash().await;
            } else if self.machine.is_some() {
                return Ok(());
            }
        }
        bail!("the process does not start")
    }

    fn machine(&self) -> Result<&Machine> {
        self.machine.as_ref().context("the process runs")
    }

    fn plan(&self, troubles: &[Trouble]) {
        for trouble in troubles {
            match *trouble {
                Trouble::Objects { after, fault } => self.objects.faults().plan(after, fault),
                Trouble::Disk { after, fault } => self.disk.faults().plan(after, fault),
                Trouble::DiskFull { free_bytes } => self.disk.set_free_bytes(Some(free_bytes)),
            }
        }
    }

    fn nothing_fails_any_more(&self) {
        self.objects.faults().clear();
        self.disk.faults().clear();
        self.disk.set_free_bytes(None);
    }

    fn note(&self, text: String) {
        self.history.borrow_mut().push(text);
    }
}

fn tenant(number: usize) -> TenantId {
    TenantId::parse(&format!("tenant-{number}")).expect("the name is valid")
}

/// Waits while simulated time passes, in which what failed is tried again.
async fn passing_time<T>(waited_for: impl Future<Output = T>) -> T {
    let mut waited_for = std::pin::pin!(waited_for);
    loop {
        #[allow(clippy::disallowed_methods, reason = "real time has to pass while the runtime's stands still")]
        let tick = tokio::task::spawn_blocking(|| std::thread::sleep(REAL_TICK));
        tokio::select! {
            biased;
            outcome = &mut waited_for => return outcome,
            _ = tick => tokio::time::advance(TICK).await,
        }
    }
}
