//! Who is whose parent in a trace, and what follows from it.

use traceql::{Form, Relation};

use super::Sent;

/// A trace by the parent of each span: its number plus one. 0 is no parent, what is beyond the last never came.
#[derive(Debug, Clone)]
pub(crate) struct Tree(pub Vec<u64>);

/// Nested-set numbers of a span; 0 for spans that no root leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub left: i64,
    pub right: i64,
    pub parent: i64,
}

impl Tree {
    /// Span ids must be unique.
    pub fn of(spans: &[Sent]) -> Self {
        let number = |id: &[u8]| match id {
            [] => 0,
            id => spans.iter().position(|sent| sent.span.span_id == id).map_or(u64::MAX, |at| at as u64 + 1),
        };
        Self(spans.iter().map(|sent| number(&sent.span.parent_span_id)).collect())
    }

    pub fn is_root(&self, span: usize) -> bool {
        self.0[span] == 0
    }

    pub fn parent(&self, span: usize) -> Option<usize> {
        (self.0[span].checked_sub(1)).and_then(|parent| usize::try_from(parent).ok()).filter(|&it| it < self.0.len())
    }

    /// A span that is its own parent is no child of it.
    pub fn children(&self, span: usize) -> impl Iterator<Item = usize> {
        (0..self.0.len()).filter(move |&child| child != span && self.parent(child) == Some(span))
    }

    /// Parents upwards, as long as there are any. A cycle ends when it comes round.
    fn ancestors(&self, span: usize) -> Vec<usize> {
        let mut above = Vec::new();
        let mut next = self.parent(span);
        while let Some(parent) = next.filter(|parent| !above.contains(parent)) {
            above.push(parent);
            next = self.parent(parent);
        }
        above
    }

    pub fn has_cycles(&self) -> bool {
        (0..self.0.len()).any(|span| self.ancestors(span).contains(&span))
    }

    /// Whether a root leads to the span.
    fn is_in_tree(&self, span: usize) -> bool {
        self.is_root(self.ancestors(span).last().copied().unwrap_or(span))
    }

    fn stands(&self, relation: Relation, span: usize, to: usize) -> bool {
        let related = match relation {
            Relation::Child => self.parent(span) == Some(to),
            Relation::Parent => self.parent(to) == Some(span),
            Relation::Descendant => self.ancestors(span).contains(&to),
            Relation::Ancestor => self.ancestors(to).contains(&span),
            Relation::Sibling => self.parent(span) == self.parent(to) && span != to,
        };
        related && self.is_in_tree(span) && self.is_in_tree(to)
    }

    /// The spans that a structural operator keeps, ascending.
    pub fn keep(&self, relation: Relation, form: Form, left: &[usize], right: &[usize]) -> Vec<usize> {
        let stands = |span: usize| left.iter().any(|&to| self.stands(relation, span, to));
        let mut kept: Vec<usize> =
            right.iter().copied().filter(|&span| stands(span) != (form == Form::Negated)).collect();
        if form == Form::Union {
            let takes_part = |to: usize| right.iter().any(|&span| self.stands(relation, span, to));
            kept.extend(left.iter().copied().filter(|&to| takes_part(to)));
        }
        kept.sort_unstable();
        kept.dedup();
        kept
    }

    /// One counter runs through all roots, their children in the order of arrival.
    pub fn numbers(&self) -> Vec<Numbers> {
        let mut numbers = vec![Numbers::default(); self.0.len()];
        let mut counter = 0;
        let roots: Vec<usize> = (0..self.0.len()).filter(|&span| self.is_root(span)).collect();
        roots.into_iter().for_each(|root| self.number(root, -1, &mut counter, &mut numbers));
        numbers
    }

    fn number(&self, span: usize, parent: i64, counter: &mut i64, numbers: &mut [Numbers]) {
        *counter += 1;
        let left = *counter;
        self.children(span).for_each(|child| self.number(child, left, counter, numbers));
        *counter += 1;
        numbers[span] = Numbers { left, right: *counter, parent };
    }
}
