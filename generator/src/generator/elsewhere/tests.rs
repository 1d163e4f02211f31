use std::path::Path;
use std::sync::Arc;

use storage::ids::SegmentSequence;
use storage::testing::Disk;
use storage::wal::Position;

use super::*;
use crate::config::{Processor, ServiceGraphs, TenantConfig};
use crate::generator::Config;
use crate::testing::{START_NANOS, Sent, client, consumer, producer, server, table};
use crate::{Checkpoints, Format};

const NOW: u64 = START_NANOS + 1_000_000_000;
const MINUTE: u64 = 60_000_000_000;
const HERE: Position = Position { segment: SegmentSequence(1), offset: 0 };

/// A process, its disk, and what it has received.
struct Process {
    generator: Generator,
    disk: Disk,
    checkpoints: Checkpoints,
    log: Vec<Vec<Sent>>,
}

impl Process {
    fn new() -> Self {
        Self::start(Disk::default(), Vec::new())
    }

    fn start(disk: Disk, log: Vec<Vec<Sent>>) -> Self {
        let service_graphs = ServiceGraphs { dimensions: vec!["region".to_owned()], ..ServiceGraphs::default() };
        let processors = vec![Processor::ServiceGraphs];
        let default = TenantConfig { processors, service_graphs, ..TenantConfig::default() };
        let config = Config { default, ..Config::default() };
        let generator = Generator::new(config, String::new(), START_NANOS, &mut Default::default()).unwrap();
        let (checkpoints, checkpoint) = Checkpoints::open(Arc::new(disk.clone()), Path::new("/state")).unwrap();
        checkpoint.into_iter().for_each(|checkpoint| generator.resume(checkpoint, NOW).unwrap());
        for spans in &log {
            generator.take_replayed(&TenantId::single(), &table(spans), NOW).unwrap();
        }
        Self { generator, disk, checkpoints, log }
    }

    fn take(&mut self, spans: &[Sent]) -> &mut Self {
        self.generator.take(&TenantId::single(), &table(spans), NOW).unwrap();
        self.log.push(spans.to_vec());
        self
    }

    /// It dies and starts again.
    fn kill(&mut self) {
        *self = Self::start(self.disk.clone(), std::mem::take(&mut self.log));
    }

    fn calls(&self) -> Vec<String> {
        let text = self.generator.exposition(&TenantId::single(), Format::Text);
        let lines = text.lines().filter_map(|line| line.strip_prefix("traces_service_graph_request_total"));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn waiting(&self) -> usize {
        let tenant = self.generator.tenant(&TenantId::single()).unwrap().unwrap();
        let tenant = lock(&tenant);
        tenant.processors.service_graph.as_ref().unwrap().waiting()
    }

    fn untold(&self) -> usize {
        let tenant = self.generator.tenant(&TenantId::single()).unwrap().unwrap();
        let tenant = lock(&tenant);
        tenant.counted.untold.len() + tenant.counted.in_checkpoint.len() + tenant.counted.new.len()
    }

    /// Stores a checkpoint; returns the questions that follow.
    fn store(&self) -> Vec<Vec<u8>> {
        let collection = self.generator.collection(NOW);
        self.checkpoints.save(&self.generator, HERE, collection, Vec::new()).unwrap();
        self.generator.questions()
    }

    /// Stores a checkpoint, and asks another that does so now and then.
    fn ask(&self, other: &Self) {
        let questions = self.store();
        let answers: Vec<_> = questions.iter().map(|question| other.generator.answer(question)).collect();
        self.generator.take_answers(&questions, &answers, true, NOW);
        other.store();
    }
}

#[test]
fn a_call_whose_halves_two_processes_have_is_counted_by_the_one_that_has_the_server() {
    let (mut one, mut other) = (Process::new(), Process::new());
    one.take(&[client("shop", 1, 9, 30).with("peer.service", "warehouse").with("region", "north")]);
    other.take(&[server("stock", 2, 1, 20)]);
    one.ask(&other);
    assert_eq!((one.calls().len(), other.calls().len()), (0, 0));
    // the half is given up there, then it is counted here, then told of, then nothing is left to say
    let call = r#"{client="shop",region="north",server="stock"} 1"#;
    let seen = [(); 4].map(|()| {
        other.ask(&one);
        (one.waiting(), other.waiting(), other.calls().len(), other.untold())
    });
    assert_eq!(seen, [(1, 1, 0, 0), (1, 0, 1, 1), (0, 0, 1, 1), (0, 0, 1, 0)]);
    for process in [&one, &other] {
        process.generator.tick(NOW + 11 * MINUTE);
    }
    assert_eq!((one.calls(), other.calls()), (vec![], vec![call.to_owned()]));
}

#[test]
fn a_message_that_is_lost_or_comes_twice_changes_nothing() {
    let (mut one, mut other) = (Process::new(), Process::new());
    one.take(&[client("shop", 1, 9, 30).with("peer.service", "warehouse")]);
    other.take(&[server("stock", 2, 1, 20)]);
    for _ in 0..5 {
        let questions = other.store();
        // asked, and the answer lost
        questions.iter().for_each(|question| drop(one.generator.answer(question)));
        one.store();
        let twice = questions.iter().chain(&questions);
        let answers: Vec<_> = twice.map(|question| one.generator.answer(question)).collect();
        other.generator.take_answers(&questions, &answers, false, NOW);
        other.generator.take_answers(&questions, &answers, true, NOW);
        one.store();
    }
    assert_eq!(other.calls(), [r#"{client="shop",server="stock"} 1"#]);
    assert_eq!((one.waiting(), other.waiting(), other.untold()), (0, 0, 0));
}

#[test]
fn whoever_dies_whenever_the_call_is_counted_once_and_nothing_waits_for_it() {
    const STEPS: usize = 12;
    for (step, dies) in
        (0..STEPS).flat_map(|step| [[true, false], [false, true], [true, true]].map(|dies| (step, dies)))
    {
        let (mut one, mut other) = (Process::new(), Process::new());
        one.take(&[client("shop", 1, 9, 30).with("peer.service", "warehouse")]);
        other.take(&[server("stock", 2, 1, 20)]);
        for now in 0..2 * STEPS {
            if now == step {
                let all = [&mut one, &mut other].into_iter().zip(dies);
                all.filter(|(_, dies)| *dies).for_each(|(process, _)| process.kill());
            }
            match now % 3 {
                0 => drop(one.store()),
                1 => {
                    let questions = other.store();
                    let answers: Vec<_> = questions.iter().map(|question| one.generator.answer(question)).collect();
                    other.generator.take_answers(&questions, &answers, true, NOW);
                }
                _ => drop(other.store()),
            }
        }
        let waiting = (one.waiting(), other.waiting(), other.untold());
        for process in [&one, &other] {
            process.generator.tick(NOW + 11 * MINUTE);
        }
        let counted = (one.calls(), other.calls());
        let call = r#"{client="shop",server="stock"} 1"#.to_owned();
        assert_eq!((waiting, counted), ((0, 0, 0), (vec![], vec![call])), "{dies:?} die before step {step}");
    }
}

#[test]
fn a_half_that_was_asked_for_is_no_call_to_a_virtual_node_though_nothing_more_is_heard() {
    let (mut one, mut other) = (Process::new(), Process::new());
    one.take(&[
        client("shop", 1, 9, 30).with("peer.service", "warehouse"),
        client("shop", 3, 9, 30).with("peer.service", "other"),
    ]);
    other.take(&[server("stock", 2, 1, 20)]);
    other.ask(&one);
    other.ask(&one);
    one.kill();
    one.generator.tick(NOW + 11 * MINUTE);
    assert_eq!(one.calls(), [r#"{client="shop",connection_type="virtual_node",server="other"} 1"#]);
    assert_eq!((one.waiting(), other.calls().len()), (0, 1));
}

#[test]
fn a_message_has_receivers_at_several_processes() {
    let mut processes = [Process::new(), Process::new(), Process::new()];
    let [one, two, three] = &mut processes;
    one.take(&[producer("shop", 1, 9, 5), consumer("mail", 2, 1, 7)]);
    two.take(&[consumer("mail", 3, 1, 7), consumer("audit", 4, 1, 7)]);
    three.take(&[consumer("audit", 5, 1, 7)]);
    for asker in [&two, &three, &two, &three] {
        asker.ask(one);
    }
    let of =
        |server, count| format!(r#"{{client="shop",connection_type="messaging_system",server="{server}"}} {count}"#);
    assert_eq!(one.calls(), [of("mail", 1)]);
    assert_eq!(two.calls(), [of("audit", 1), of("mail", 1)]);
    assert_eq!(three.calls(), [of("audit", 1)]);
}

#[test]
fn what_cannot_be_read_asks_and_answers_nothing() {
    let mut one = Process::new();
    one.take(&[server("stock", 2, 1, 20)]);
    assert!(one.generator.answer(b"\xff\xff").is_empty());
    one.generator.take_answers(&[b"\xff\xff".to_vec()], &[b"\xff\xff".to_vec()], true, NOW);
    assert_eq!((one.calls().len(), one.waiting()), (0, 1));
}
