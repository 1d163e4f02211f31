use std::path::Path;

use model::TenantId;
use storage::testing::{Disk, Fault};

use super::*;
use crate::config::{Processor, TenantConfig};
use crate::exposition::Format;
use crate::generator::Config;
use crate::limits::Limits;
use crate::testing::{START_NANOS, client, consumer, producer, server, table};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = START_NANOS + SECOND;
const HERE: Position = Position { segment: SegmentSequence(3), offset: 700 };

fn tenant() -> TenantId {
    TenantId::single()
}

fn new_generator(default: TenantConfig, now_nanos: u64) -> Generator {
    let config = Config { default, ..Config::default() };
    Generator::new(config, "here".to_owned(), now_nanos, &mut Default::default()).unwrap()
}

fn both() -> TenantConfig {
    let processors = vec![Processor::SpanMetrics, Processor::ServiceGraphs];
    TenantConfig {
        processors,
        limits: Limits { max_cardinality_per_label: 3, ..Limits::default() },
        ..Default::default()
    }
}

fn checkpoints(disk: &Disk) -> (Checkpoints, Option<Checkpoint>) {
    Checkpoints::open(Arc::new(disk.clone()), Path::new("/state")).unwrap()
}

fn shown(generator: &Generator) -> String {
    generator.exposition(&tenant(), Format::OpenMetrics)
}

fn without_exemplars(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split(" # {").next().unwrap_or(line)).collect()
}

#[test]
fn a_generator_goes_on_with_series_halves_and_copies_where_it_was_saved() {
    let (disk, before) = (Disk::default(), new_generator(both(), START_NANOS));
    let first = [server("shop", 1, 0, 5).named("a"), client("shop", 2, 1, 30).named("b").with("peer.service", "x")];
    before.take(&tenant(), &table(&first), NOW).unwrap();
    before.take(&tenant(), &table(&[producer("shop", 7, 1, 30).named("c")]), NOW).unwrap();
    before.take(&tenant(), &table(&[server("shop", 5, 0, 5).named("d")]), NOW).unwrap();
    let (saving, nothing) = checkpoints(&disk);
    assert!(nothing.is_none());
    saving.save(&before, HERE, before.collection(NOW), vec![("one".to_owned(), 9)]).unwrap();

    // an hour later
    let later = NOW + 3_600 * SECOND;
    let after = new_generator(both(), later);
    let found = checkpoints(&disk).1.unwrap();
    assert_eq!((found.position, found.queues.clone()), (HERE, vec![("one".to_owned(), 9)]));
    assert_eq!(found.collection, before.collection(NOW));
    after.resume(found, later).unwrap();
    assert_eq!(without_exemplars(&shown(&after)), without_exemplars(&shown(&before)));
    after.tick(later);
    after.take_replayed(&tenant(), &table(&first), later).unwrap();
    assert_eq!(
        without_exemplars(&shown(&after)),
        without_exemplars(&shown(&before)),
        "no time has passed, all are copies"
    );

    for generator in [&before, &after] {
        let others = [server("stock", 3, 2, 20).named("e"), consumer("mail", 8, 7, 1).named("a")];
        generator.take_replayed(&tenant(), &table(&others), NOW).unwrap();
    }
    let edges = |generator: &Generator| -> Vec<String> {
        let lines: Vec<_> =
            shown(generator).lines().filter(|line| line.contains("request_total{")).map(str::to_owned).collect();
        lines
    };
    assert_eq!(edges(&after), edges(&before));
    assert_eq!(edges(&after).len(), 3, "{:?}", edges(&after));
}

#[test]
fn series_of_other_settings_are_left_out() {
    let (disk, before) = (Disk::default(), new_generator(both(), START_NANOS));
    before.take(&tenant(), &table(&[server("shop", 1, 0, 5)]), NOW).unwrap();
    checkpoints(&disk).0.save(&before, HERE, before.collection(NOW), Vec::new()).unwrap();
    let processors = vec![Processor::SpanMetricsCount];
    let after = new_generator(TenantConfig { processors, ..TenantConfig::default() }, NOW);
    after.resume(checkpoints(&disk).1.unwrap(), NOW).unwrap();
    let text = shown(&after);
    assert!(text.contains("traces_spanmetrics_calls_total{") && !text.contains("latency"), "{text}");
}

#[test]
fn what_was_saved_last_is_found_although_a_later_write_failed() {
    let (disk, generator) = (Disk::default(), new_generator(both(), START_NANOS));
    let (saving, _) = checkpoints(&disk);
    let save = |offset, id| {
        generator.take(&tenant(), &table(&[server("shop", id, 0, 5)]), NOW).unwrap();
        let position = Position { offset, ..HERE };
        saving.save(&generator, position, generator.collection(NOW), Vec::new())
    };
    save(1, 1).unwrap();
    // hashes first, then the state
    for (calls, id) in [(0, 2), (1, 3)] {
        disk.faults().plan(calls, Fault::Refused);
        save(2, id).unwrap_err();
        assert_eq!(checkpoints(&disk).1.unwrap().position.offset, 1);
    }
    save(3, 4).unwrap();
    let found = checkpoints(&disk).1.unwrap();
    let hashes = |generation: &[(u64, Vec<u64>)]| generation.iter().map(|(_, hashes)| hashes.len()).sum::<usize>();
    assert_eq!((found.position.offset, hashes(&found.recent.current)), (3, 4));
    let files = disk.file_count();
    saving.save(&generator, Position { offset: 3, ..HERE }, generator.collection(NOW), Vec::new()).unwrap();
    assert_eq!(
        (files, disk.file_count()),
        (4, 4),
        "a state and three files of hashes, written when something has changed"
    );
}

#[test]
fn a_damaged_checkpoint_is_left_out() {
    let (disk, generator) = (Disk::default(), new_generator(both(), START_NANOS));
    let (saving, _) = checkpoints(&disk);
    saving.save(&generator, HERE, generator.collection(NOW), Vec::new()).unwrap();
    let whole = saving.read(&saving.state_path()).unwrap().unwrap();
    for at in [0, 5, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        disk.replace(&saving.state_path(), &damaged).unwrap();
        assert!(checkpoints(&disk).1.is_none(), "byte {at}");
    }
}

/// The state that a version before wrote: two series, a half that waits and a file of two hashes.
#[test]
fn a_checkpoint_of_the_first_form_is_read() {
    let disk = Disk::default();
    for name in ["state", "recent-0"] {
        disk.replace(&Path::new("/state").join(name), &std::fs::read(fixture(name)).unwrap()).unwrap();
    }
    let generator = new_generator(both(), NOW);
    let found = checkpoints(&disk).1.unwrap();
    assert_eq!(found.position, HERE);
    generator.resume(found, NOW).unwrap();
    let count = generator.with_recent(|recent| recent.save(|_| Ok::<_, ()>(0)).unwrap());
    assert_eq!(count, [Vec::new(), vec![0]]);
    let calls: Vec<String> = shown(&generator)
        .lines()
        .filter(|line| line.starts_with("traces_spanmetrics_calls_total{"))
        .map(str::to_owned)
        .collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    generator.take(&tenant(), &table(&[server("stock", 3, 2, 20)]), NOW).unwrap();
    let text = shown(&generator);
    assert!(text.contains(r#"traces_service_graph_request_total{client="shop",server="stock"} 1"#), "{text}");
}

/// Written once for each form, and never again: `cargo test -p generator write_fixture -- --ignored`.
#[test]
#[ignore = "writes the fixture"]
fn write_fixture() {
    let (disk, generator) = (Disk::default(), new_generator(both(), START_NANOS));
    let spans = [server("shop", 1, 0, 5), client("shop", 2, 1, 30)];
    generator.take(&tenant(), &table(&spans), NOW).unwrap();
    let (saving, _) = checkpoints(&disk);
    saving.save(&generator, HERE, generator.collection(NOW), vec![("one".to_owned(), 9)]).unwrap();
    for path in [saving.state_path(), saving.recent_path(0)] {
        let name = path.file_name().unwrap().to_str().unwrap();
        std::fs::write(fixture(name), saving.read(&path).unwrap().unwrap()).unwrap();
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/checkpoint-1").join(name)
}
