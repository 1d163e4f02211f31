//! Which span of one trace is which of the other: spans that do the same, in order; where several do, one whose parent
//! does the same goes first.

use std::collections::{HashMap, VecDeque};

use super::tree::{Operation, Tree};

/// For each span of `compare` the span of `base` that it is. Every span of `base` is taken once at most.
pub(super) fn matches<'t>(base: &Tree<'t>, compare: &Tree<'t>) -> Vec<Option<usize>> {
    let mut candidates = Candidates::of(base);
    let of_node = |node: usize| candidates.take(compare.nodes[node].operation, compare.parent_operation(node));
    (0..compare.nodes.len()).map(of_node).collect()
}

/// Spans that are not taken yet; those that were taken by the other list are passed over.
struct Candidates<'t> {
    taken: Vec<bool>,
    by_operation: HashMap<Operation<'t>, VecDeque<usize>>,
    by_parent_too: HashMap<(Operation<'t>, Operation<'t>), VecDeque<usize>>,
}

impl<'t> Candidates<'t> {
    fn of(base: &Tree<'t>) -> Self {
        let (mut by_operation, mut by_parent_too) = (HashMap::new(), HashMap::new());
        for (number, node) in base.nodes.iter().enumerate() {
            by_operation.entry(node.operation).or_insert_with(VecDeque::new).push_back(number);
            if let Some(parent) = base.parent_operation(number) {
                by_parent_too.entry((node.operation, parent)).or_insert_with(VecDeque::new).push_back(number);
            }
        }
        Self { taken: vec![false; base.nodes.len()], by_operation, by_parent_too }
    }

    fn take(&mut self, operation: Operation<'t>, parent: Option<Operation<'t>>) -> Option<usize> {
        let same_parent = parent.and_then(|parent| self.by_parent_too.get_mut(&(operation, parent)));
        let found = same_parent.and_then(|numbers| first_free(numbers, &self.taken));
        let found = found.or_else(|| first_free(self.by_operation.get_mut(&operation)?, &self.taken))?;
        self.taken[found] = true;
        Some(found)
    }
}

fn first_free(numbers: &mut VecDeque<usize>, taken: &[bool]) -> Option<usize> {
    while let Some(number) = numbers.pop_front() {
        if !taken[number] {
            return Some(number);
        }
    }
    None
}
