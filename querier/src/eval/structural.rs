//! Structural operators: which spans of one side stand in a relation to some span of the other.
//!
//! Spans are given by their rows, ascending, within one trace. Relations are comparisons of nested-set numbers: a span
//! lies below another when its `left` lies between the other's `left` and `right`. Each takes one pass or a binary search
//! a span, so a trace of many thousands of spans costs little more than reading its numbers.
//!
//! Spans that no root leads to have no numbers (all 0) and stand in no relation.

use spans::NestedSet;
use traceql::{Form, Relation};

/// The spans that `left op right` keeps.
///
/// `numbers` are those of all rows of the batch; within a trace `left` grows with the row.
pub(crate) fn keep(relation: Relation, form: Form, left: &[u32], right: &[u32], numbers: &[NestedSet]) -> Vec<u32> {
    let stands = |spans: &[u32], to: &[u32], relation| related(relation, to, spans, numbers);
    match form {
        Form::Plain => select(right, &stands(right, left, relation), true),
        Form::Negated => select(right, &stands(right, left, relation), false),
        Form::Union => {
            let of_right = select(right, &stands(right, left, relation), true);
            let of_left = select(left, &stands(left, right, inverse(relation)), true);
            union(&of_left, &of_right)
        }
    }
}

/// The rows of both, each once, ascending.
fn union(left: &[u32], right: &[u32]) -> Vec<u32> {
    let mut both = Vec::with_capacity(left.len() + right.len());
    let (mut lefts, mut rights) = (left.iter().copied().peekable(), right.iter().copied().peekable());
    loop {
        let next = match (lefts.peek(), rights.peek()) {
            (Some(&left), Some(&right)) => left.min(right),
            (Some(&one), None) | (None, Some(&one)) => one,
            (None, None) => return both,
        };
        lefts.next_if_eq(&next);
        rights.next_if_eq(&next);
        both.push(next);
    }
}

fn select(spans: &[u32], stands: &[bool], wanted: bool) -> Vec<u32> {
    spans.iter().zip(stands).filter(|(_, stands)| **stands == wanted).map(|(span, _)| *span).collect()
}

/// If `a` stands so to `b`, then `b` stands so to `a`.
fn inverse(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}

/// For each of `spans` whether it is the child (parent, ...) of some span of `of`.
fn related(relation: Relation, of: &[u32], spans: &[u32], numbers: &[NestedSet]) -> Vec<bool> {
    let of: Vec<NestedSet> = numbered(of, numbers).collect();
    let each = |test: &dyn Fn(&NestedSet) -> bool| {
        let number = |&span: &u32| &numbers[span as usize];
        spans.iter().map(number).map(|span| span.left > 0 && test(span)).collect()
    };
    match relation {
        Relation::Child => each(&|span| of.binary_search_by_key(&span.parent, |parent| parent.left).is_ok()),
        Relation::Parent => {
            let parents = sorted(of.iter().map(|child| child.parent));
            each(&|span| parents.binary_search(&span.left).is_ok())
        }
        Relation::Ancestor => each(&|span| {
            let first_after = of.partition_point(|below| below.left <= span.left);
            of.get(first_after).is_some_and(|below| below.left < span.right)
        }),
        Relation::Descendant => descendants(&of, spans, numbers),
        Relation::Sibling => {
            let siblings = sorted(of.iter().map(|span| (span.parent, span.left)));
            each(&|span| {
                let first = siblings.partition_point(|&(parent, _)| parent < span.parent);
                let mut same_parent = siblings[first..].iter().take_while(|&&(parent, _)| parent == span.parent);
                same_parent.any(|&(_, left)| left != span.left)
            })
        }
    }
}

/// One sweep: a span lies below some earlier one when it begins before the last of those ends, for intervals never cross.
fn descendants(of: &[NestedSet], spans: &[u32], numbers: &[NestedSet]) -> Vec<bool> {
    let (mut above, mut last_end) = (of.iter().peekable(), 0);
    let is_below = |&span: &u32| {
        let left = numbers[span as usize].left;
        while let Some(next) = above.next_if(|next| next.left < left) {
            last_end = last_end.max(next.right);
        }
        left > 0 && left < last_end
    };
    spans.iter().map(is_below).collect()
}

fn numbered(spans: &[u32], numbers: &[NestedSet]) -> impl Iterator<Item = NestedSet> {
    spans.iter().map(|&span| numbers[span as usize]).filter(|number| number.left > 0)
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}

#[cfg(test)]
mod tests;
