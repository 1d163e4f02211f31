//! Which row groups go over as they are, and what is put together anew.

use prost::Message;
use spans::testing::shop_request;
use spans::{SpanTable, TableBuilder};

use super::*;

const HOUR: u64 = 3_600_000_000_000;
const LIMITS: Limits = Limits {
    window_nanos: HOUR,
    quiet_nanos: 0,
    max_inputs: 100,
    max_traces: 1 << 20,
    max_spans: 1 << 30,
    max_bytes: 1 << 30,
};
/// A window begins.
const START: u64 = 490_000 * HOUR;

/// Ten traces that begin near each other; of the same seed the same ones.
fn table(seed: u64, start_nanos: u64) -> SpanTable {
    let mut builder = TableBuilder::default();
    builder.append(&shop_request(seed, 10, start_nanos).encode_to_vec()).unwrap();
    builder.snapshot().unwrap()
}

/// Each table is an input of one row group.
fn row_groups(tables: &[SpanTable], row_group_rows: u64, deleted: &[TraceId]) -> Vec<NewRowGroup> {
    let inputs: Vec<_> = tables
        .iter()
        .map(|table| {
            let traces = table.traces().unwrap();
            Input { traces, by_id: ById::of(&traces), row_groups: std::iter::once(0..traces.len()).collect() }
        })
        .collect();
    let group = Group::Window(START / HOUR);
    let deleted = deleted.iter().copied().collect();
    let mut division = divide(&inputs, group, START + HOUR, &LIMITS, row_group_rows, &deleted).unwrap();
    assert_eq!(division.shares.len(), 1);
    division.shares.remove(0).row_groups
}

fn whole(input: usize) -> NewRowGroup {
    NewRowGroup::Whole { input, group: 0 }
}

#[test]
fn row_groups_of_other_times_and_traces_go_over_newest_first() {
    let tables = [table(1, START), table(2, START + HOUR / 4), table(3, START + HOUR / 8)];
    assert_eq!(row_groups(&tables, 100, &[]), [whole(1), whole(2), whole(0)]);
}

#[test]
fn what_shares_a_trace_or_lost_one_is_put_together_anew() {
    let tables = [table(1, START), table(2, START + HOUR / 4), table(1, START), table(4, START + HOUR / 3)];
    let all: Vec<u32> = (0..10).collect();
    let of_all = NewRowGroup::Joined(vec![all; 4]);
    assert_eq!(row_groups(&tables, 10_000, &[]), [of_all], "all are smaller than half of a row group");
    let large = row_groups(&tables, 100, &[]);
    assert_eq!(large[..2], [whole(3), whole(1)]);
    assert!(large[2..].iter().all(|row_group| matches!(row_group, NewRowGroup::Joined(rows) if rows[1].is_empty())));

    let deleted = tables[1].traces().unwrap().id(4);
    let rest = row_groups(&tables[1..2], 100, &[deleted]);
    let rows: Vec<u32> = rest
        .iter()
        .flat_map(|row_group| match row_group {
            NewRowGroup::Joined(rows) => rows[0].clone(),
            NewRowGroup::Whole { .. } => panic!("it has a deleted trace"),
        })
        .collect();
    assert_eq!(rows.len(), 9);
    assert!(!rows.contains(&4));
}

#[test]
fn no_more_row_groups_than_a_few_lie_across_each_other() {
    let tables: Vec<SpanTable> = (0..2 * MOST_OVERLAPPING as u64).map(|seed| table(seed, START)).collect();
    let divided = row_groups(&tables, 100, &[]);
    let whole = divided.iter().filter(|row_group| matches!(row_group, NewRowGroup::Whole { .. })).count();
    assert_eq!(whole, MOST_OVERLAPPING + 1);
    let joined: usize = divided
        .iter()
        .map(|row_group| match row_group {
            NewRowGroup::Joined(rows) => rows.iter().map(Vec::len).sum(),
            NewRowGroup::Whole { .. } => 0,
        })
        .sum();
    assert_eq!(joined, 10 * (tables.len() - whole));
}
