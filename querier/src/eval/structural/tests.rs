//! The operators agree with the slow and obvious reading of their definitions.

use proptest::prelude::*;
use spans::SpanTable;
use traceql::{Form, Relation};

use super::keep;
use crate::eval::fields::nested_sets_of;
use crate::slow::tree::Tree;
use crate::testing::{service, span, table};

const RELATIONS: [Relation; 5] =
    [Relation::Child, Relation::Descendant, Relation::Parent, Relation::Ancestor, Relation::Sibling];

/// Span `n` has the id `n + 1`.
fn table_of(tree: &Tree) -> SpanTable {
    let spans = tree.0.iter().enumerate();
    let spans = spans.map(|(number, &parent)| span(1, number as u64 + 1, parent, "op", number as u64, 1));
    table(vec![service("s", spans.collect())])
}

/// The number of the span at each row.
fn spans_by_row(table: &SpanTable) -> Vec<usize> {
    let ids = spans::column(&table.spans, spans::schema::column::SPAN_ID).unwrap();
    let ids = arrow::array::AsArray::as_fixed_size_binary(ids);
    ids.iter().map(|id| u64::from_be_bytes(id.unwrap().try_into().unwrap()) as usize - 1).collect()
}

fn check(tree: &Tree, left: &[bool], right: &[bool]) {
    let table = table_of(tree);
    let (numbers, by_row) = (nested_sets_of(&table.spans).unwrap(), spans_by_row(&table));
    let rows =
        |side: &[bool]| -> Vec<u32> { (0..by_row.len() as u32).filter(|&row| side[by_row[row as usize]]).collect() };
    let spans = |side: &[bool]| -> Vec<usize> { (0..side.len()).filter(|&span| side[span]).collect() };
    for relation in RELATIONS {
        for form in [Form::Plain, Form::Negated, Form::Union] {
            let rows = keep(relation, form, &rows(left), &rows(right), &numbers);
            assert!(rows.is_sorted_by(|one, next| one < next));
            let mut kept: Vec<usize> = rows.into_iter().map(|row| by_row[row as usize]).collect();
            kept.sort_unstable();
            let expected = tree.keep(relation, form, &spans(left), &spans(right));
            assert_eq!(kept, expected, "{relation:?} {form:?} of {:?}: {left:?} and {right:?}", tree.0);
        }
    }
}

fn trees() -> impl Strategy<Value = (Tree, Vec<bool>, Vec<bool>)> {
    (1..24_usize).prop_flat_map(|count| {
        // earlier spans make deep trees; any span makes cycles and spans that are their own parent
        let parent = move |span: usize| {
            let above = if span == 0 { Just(0).boxed() } else { (1..=span as u64).boxed() };
            prop_oneof![6 => above, 2 => Just(0), 1 => 1..=count as u64, 1 => Just(99)]
        };
        let parents = (0..count).map(parent).collect::<Vec<_>>();
        let side = || proptest::collection::vec(any::<bool>(), count);
        (parents.prop_map(Tree), side(), side())
    })
}

proptest! {
    #[test]
    fn operators_mean_what_they_say((tree, left, right) in trees()) {
        check(&tree, &left, &right);
    }
}

#[test]
fn a_span_stands_in_no_relation_to_itself() {
    check(&Tree(vec![1]), &[true], &[true]);
    check(&Tree(vec![0]), &[true], &[true]);
    check(&Tree(vec![0, 0, 2, 1]), &[true; 4], &[true; 4]);
}

#[test]
fn a_large_trace_is_no_trouble() {
    const SPANS: usize = 10_000;
    let deep = Tree((0..SPANS as u64).collect());
    let wide = Tree(std::iter::once(0).chain(std::iter::repeat_n(1, SPANS - 1)).collect());
    for tree in [deep, wide] {
        let table = table_of(&tree);
        let numbers = nested_sets_of(&table.spans).unwrap();
        let all: Vec<u32> = (0..SPANS as u32).collect();
        let started = std::time::Instant::now();
        for relation in RELATIONS {
            for form in [Form::Plain, Form::Negated, Form::Union] {
                keep(relation, form, &all, &all, &numbers);
            }
        }
        // all pairs would take 1.5 billion steps
        assert!(started.elapsed() < std::time::Duration::from_secs(2), "took {:?}", started.elapsed());
    }
}
