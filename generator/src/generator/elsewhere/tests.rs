use super::*;
use crate::Format;
use crate::config::{Processor, ServiceGraphs, TenantConfig};
use crate::generator::Config;
use crate::testing::{START_NANOS, Sent, client, consumer, producer, server, table};

const NOW: u64 = START_NANOS + 1_000_000_000;
const MINUTE: u64 = 60_000_000_000;

/// A process, and what a scraper reads of its calls.
struct Process(Generator);

impl Process {
    fn new() -> Self {
        let service_graphs = ServiceGraphs { dimensions: vec!["region".to_owned()], ..ServiceGraphs::default() };
        let processors = vec![Processor::ServiceGraphs];
        let default = TenantConfig { processors, service_graphs, ..TenantConfig::default() };
        let config = Config { default, ..Config::default() };
        Self(Generator::new(config, String::new(), START_NANOS, &mut Default::default()).unwrap())
    }

    fn take(&self, spans: &[Sent]) -> &Self {
        self.0.take(&TenantId::single(), &table(spans), NOW).unwrap();
        self
    }

    fn calls(&self) -> Vec<String> {
        let text = self.0.exposition(&TenantId::single(), Format::Text);
        let lines = text.lines().filter_map(|line| line.strip_prefix("traces_service_graph_request_total"));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn waiting(&self) -> usize {
        let tenant = self.0.tenant(&TenantId::single()).unwrap().unwrap();
        let tenant = lock(&tenant);
        tenant.processors.service_graph.as_ref().unwrap().waiting()
    }

    /// Asks another, `times` times over; whether it hears that all was answered.
    fn ask(&self, other: &Self, times: usize, is_heard: bool) {
        let questions = self.0.questions();
        for _ in 0..times {
            questions.iter().for_each(|question| self.0.take_answer(&other.0.answer(question), NOW));
        }
        if is_heard {
            self.0.told(&questions);
        }
    }
}

#[test]
fn a_call_whose_halves_two_processes_have_is_counted_by_the_one_that_has_the_server() {
    let (one, other) = (Process::new(), Process::new());
    one.take(&[client("shop", 1, 9, 30).with("peer.service", "warehouse").with("region", "north")]);
    other.take(&[server("stock", 2, 1, 20)]);
    one.ask(&other, 1, true);
    assert_eq!((one.calls().len(), other.calls().len()), (0, 0));
    // questions and answers that come twice change nothing, and one that is lost is asked again
    other.ask(&one, 0, false);
    other.ask(&one, 2, true);
    let call = r#"{client="shop",region="north",server="stock"} 1"#;
    assert_eq!(other.calls(), [call]);
    assert_eq!((one.waiting(), other.waiting()), (1, 0));
    // once it has heard of that, nothing waits
    other.ask(&one, 1, false);
    assert_eq!((one.waiting(), other.calls()), (0, vec![call.to_owned()]));
    for process in [&one, &other] {
        process.0.tick(NOW + 11 * MINUTE);
    }
    assert_eq!((one.calls(), other.calls()), (vec![], vec![call.to_owned()]));
}

#[test]
fn a_half_that_was_handed_out_is_no_call_to_a_virtual_node_though_nothing_more_is_heard() {
    let (one, other) = (Process::new(), Process::new());
    one.take(&[
        client("shop", 1, 9, 30).with("peer.service", "warehouse"),
        client("shop", 3, 9, 30).with("peer.service", "other"),
    ]);
    other.take(&[server("stock", 2, 1, 20)]).ask(&one, 1, false);
    one.0.tick(NOW + 11 * MINUTE);
    assert_eq!(one.calls(), [r#"{client="shop",connection_type="virtual_node",server="other"} 1"#]);
    assert_eq!((one.waiting(), other.calls().len()), (0, 1));
}

#[test]
fn a_message_has_receivers_at_several_processes() {
    let processes = [Process::new(), Process::new(), Process::new()];
    let [one, two, three] = &processes;
    one.take(&[producer("shop", 1, 9, 5), consumer("mail", 2, 1, 7)]);
    two.take(&[consumer("mail", 3, 1, 7), consumer("audit", 4, 1, 7)]);
    three.take(&[consumer("audit", 5, 1, 7)]);
    for asker in [two, three, two, three] {
        asker.ask(one, 1, true);
    }
    let of =
        |server, count| format!(r#"{{client="shop",connection_type="messaging_system",server="{server}"}} {count}"#);
    assert_eq!(one.calls(), [of("mail", 1)]);
    assert_eq!(two.calls(), [of("audit", 1), of("mail", 1)]);
    assert_eq!(three.calls(), [of("audit", 1)]);
}

#[test]
fn what_cannot_be_read_asks_and_answers_nothing() {
    let one = Process::new();
    one.take(&[server("stock", 2, 1, 20)]);
    assert!(one.0.answer(b"\xff\xff").is_empty());
    one.0.take_answer(b"\xff\xff", NOW);
    assert_eq!((one.calls().len(), one.waiting()), (0, 1));
}
