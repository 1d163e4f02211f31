//! What will happen in a run: operations and faults, decided from the seed alone, before anything runs.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use storage::testing::Fault;

/// Steps of a run. Most faults need three or four operations in a row to do harm; longer runs find little more.
const STEPS: usize = 16;
/// Traces of a tenant. Few, so that late spans meet their traces.
const TRACES: u32 = 8;
pub const TENANTS: usize = 2;
const MOST_DELETED_AT_ONCE: u32 = 2;
const MOST_SPANS_PER_REQUEST: u32 = 5;
/// Calls that an operation makes, about: a fault planned for a later one meets the next operation or none.
const OBJECT_CALLS: u64 = 24;
const DISK_CALLS: u64 = 6;
/// A full disk still has room for so many bytes at the most: less than a request.
const FREE_BYTES: usize = 200;

/// A whole run.
pub struct Plan {
    pub seed: u64,
    pub steps: Vec<Step>,
}

/// Operations that run at the same time, and what goes wrong meanwhile.
#[derive(Debug)]
pub struct Step {
    pub operations: Vec<Operation>,
    pub troubles: Vec<Trouble>,
}

#[derive(Debug, Clone)]
pub enum Operation {
    Push(Request),
    /// Sends again what was not acknowledged, as an exporter does.
    Repeat,
    Flush,
    /// Merges blocks until there is nothing to do; `elsewhere` in another process that knows the store alone.
    Compact {
        elsewhere: bool,
    },
    /// Makes trace maps; `elsewhere` as in `Compact`.
    Map {
        elsewhere: bool,
    },
    /// Drops what is past its time: ten days from now, everything old, except of a tenant that is kept for longer.
    Expire {
        kept: Option<usize>,
    },
    /// Deletes traces for good.
    Delete(Vec<Trace>),
    /// Looks for files without a name until those that have none have gone; `elsewhere` as in `Compact`. Takes an hour.
    Collect {
        elsewhere: bool,
    },
    /// Asks everything while the others run. Each answer must be right, or say that it is not whole.
    Ask,
    /// An ordered stop and a start.
    Restart(Start),
    /// The machine loses its power, and is started again.
    Crash(Start),
}

/// How a process is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start {
    /// Every request is cut into a block at once.
    pub has_small_blocks: bool,
}

/// Spans that are sent together.
#[derive(Debug, Clone)]
pub struct Request {
    pub tenant: usize,
    pub spans: Vec<SentSpan>,
}

/// A span, known by its number.
#[derive(Debug, Clone, Copy)]
pub struct SentSpan {
    pub number: u64,
    pub trace: Trace,
    /// The number of the client span whose call this server span answers; a span without one is a client.
    pub caller: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trace {
    pub tenant: usize,
    pub number: u32,
}

impl Trace {
    /// Half of all traces are past their time when retention looks, the others never.
    pub fn is_old(self) -> bool {
        self.number.is_multiple_of(2)
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// A call to the object store fails after so many that do not.
    Objects { after: u64, fault: Fault },
    /// A call to the disk of the log.
    Disk { after: u64, fault: Fault },
    /// The disk of the log is full until the step ends.
    DiskFull { free_bytes: usize },
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut planner = Planner { random: SmallRng::seed_from_u64(seed), spans: 0, unanswered: Vec::new() };
        let steps = (0..STEPS).map(|_| planner.step()).collect();
        Self { seed, steps }
    }
}

struct Planner {
    random: SmallRng,
    spans: u64,
    /// Client spans without a server span.
    unanswered: Vec<SentSpan>,
}

impl Planner {
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn step(&mut self) -> Step {
        let operations = match self.random.random_range(0..100) {
            0..9 => vec![Operation::Crash(self.start())],
            9..15 => vec![Operation::Restart(self.start())],
            15..60 => vec![self.operation()],
            _ => (0..self.random.random_range(2..5)).map(|_| self.operation()).collect(),
        };
        let troubles = (0..[0, 0, 1, 1, 2][self.random.random_range(0..5)]).map(|_| self.trouble()).collect();
        Step { operations, troubles }
    }

    fn start(&mut self) -> Start {
        Start { has_small_blocks: self.chance(20) }
    }

    fn operation(&mut self) -> Operation {
        match self.random.random_range(0..100) {
            0..38 => Operation::Push(self.request()),
            38..45 => Operation::Repeat,
            45..62 => Operation::Flush,
            62..65 => Operation::Delete(self.traces()),
            65..76 => Operation::Compact { elsewhere: self.chance(30) },
            76..80 => Operation::Map { elsewhere: self.chance(30) },
            80..83 => Operation::Expire { kept: [None, Some(0), Some(1)][self.random.random_range(0..=TENANTS)] },
            83..90 => Operation::Collect { elsewhere: self.chance(50) },
            _ => Operation::Ask,
        }
    }

    /// Some traces of one tenant.
    fn traces(&mut self) -> Vec<Trace> {
        let tenant = self.random.random_range(0..TENANTS);
        let count = self.random.random_range(1..=MOST_DELETED_AT_ONCE);
        (0..count).map(|_| Trace { tenant, number: self.random.random_range(0..TRACES) }).collect()
    }

    fn request(&mut self) -> Request {
        let tenant = self.random.random_range(0..TENANTS);
        let spans = (0..self.random.random_range(1..=MOST_SPANS_PER_REQUEST)).map(|_| self.span(tenant)).collect();
        Request { tenant, spans }
    }

    /// Half of the spans answer a call of one before, in the same request or in another.
    fn span(&mut self, tenant: usize) -> SentSpan {
        self.spans += 1;
        let number = self.spans;
        let unanswered = self.unanswered.iter().position(|client| client.trace.tenant == tenant);
        if let Some(at) = unanswered.filter(|_| self.chance(50)) {
            let client = self.unanswered.swap_remove(at);
            return SentSpan { number, trace: client.trace, caller: Some(client.number) };
        }
        let trace = Trace { tenant, number: self.random.random_range(0..TRACES) };
        let client = SentSpan { number, trace, caller: None };
        self.unanswered.push(client);
        client
    }

    fn trouble(&mut self) -> Trouble {
        match self.random.random_range(0..100) {
            0..10 => Trouble::DiskFull { free_bytes: self.random.random_range(0..FREE_BYTES) },
            10..40 => {
                let fault = self.one_of(&[Fault::Refused, Fault::Unclear, Fault::PowerCutBefore, Fault::PowerCutAfter]);
                Trouble::Disk { after: self.random.random_range(0..DISK_CALLS), fault }
            }
            _ => {
                let fault = self.one_of(&[
                    Fault::Refused,
                    Fault::Unclear,
                    Fault::Late,
                    Fault::PowerCutBefore,
                    Fault::PowerCutAfter,
                    Fault::PowerCutLate,
                    Fault::Delayed,
                    Fault::Twice,
                    Fault::Truncated,
                ]);
                Trouble::Objects { after: self.random.random_range(0..OBJECT_CALLS), fault }
            }
        }
    }

    fn one_of(&mut self, faults: &[Fault]) -> Fault {
        faults[self.random.random_range(0..faults.len())]
    }
}
