//! The order of spans within a trace, and the nested-set numbers that follow from it.
//!
//! A span without a parent id (or with an all-zero one) is a root. Rows are put in depth-first order: each root with
//! its descendants, then the subtrees whose parent never came. Siblings keep their order of arrival. The parent of a
//! row is then a small distance upwards, and nested-set numbers can be computed from those distances alone.

use hashbrown::HashMap;

/// What ordering needs of one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    pub span_id: [u8; 8],
    /// `None` when no parent id was sent.
    pub parent_id: Option<[u8; 8]>,
    /// OTLP's number of the span kind.
    pub kind: i32,
}

/// A span's place: which node comes here, and where its parent stands in the new order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Index into the nodes that were given.
    pub node: usize,
    /// How many places above; `None` for roots and for spans whose parent is not there.
    pub parent_offset: Option<u32>,
}

const KIND_SERVER: i32 = 2;
const NONE: usize = usize::MAX;

/// Orders the spans of one trace. Every node is placed exactly once; a cycle is cut at its first node to arrive.
pub(crate) fn order(nodes: &[Node], placed: &mut Vec<Placed>) {
    placed.clear();
    if let [_] = nodes {
        placed.push(Placed { node: 0, parent_offset: None });
        return;
    }
    let parents = find_parents(nodes);
    let (first_child, next_sibling) = link_children(&parents);
    let mut place = vec![NONE; nodes.len()];
    let roots = (0..nodes.len()).filter(|&node| is_root(&nodes[node]));
    let headless = (0..nodes.len()).filter(|&node| !is_root(&nodes[node]) && parents[node] == NONE);
    let in_cycles = 0..nodes.len();
    let mut stack = Vec::new();
    for top in roots.chain(headless).chain(in_cycles) {
        if place[top] != NONE {
            continue;
        }
        stack.push((top, None));
        while let Some((node, parent)) = stack.pop() {
            if place[node] != NONE {
                continue; // the node at which a cycle was cut
            }
            place[node] = placed.len();
            placed.push(Placed { node, parent_offset: parent.map(|parent: usize| (placed.len() - parent) as u32) });
            let (at, mark) = (place[node], stack.len());
            let mut child = first_child[node];
            while child != NONE {
                stack.push((child, Some(at)));
                child = next_sibling[child];
            }
            stack[mark..].reverse();
        }
    }
}

fn is_root(node: &Node) -> bool {
    node.parent_id.is_none_or(|id| id == [0; 8])
}

/// The node that each node names as its parent. Where several spans share an id (client and server halves of older
/// tracers), a child belongs to the server span, unless it is itself a server span: then to the client's.
fn find_parents(nodes: &[Node]) -> Vec<usize> {
    let mut by_id: HashMap<[u8; 8], SameId> = HashMap::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        by_id.entry(node.span_id).or_default().add(index, node.kind == KIND_SERVER);
    }
    let parent_of = |(index, node): (usize, &Node)| {
        let parent_id = node.parent_id.filter(|_| !is_root(node))?;
        by_id.get(&parent_id)?.parent_for(index, node.kind != KIND_SERVER)
    };
    nodes.iter().enumerate().map(|node| parent_of(node).unwrap_or(NONE)).collect()
}

/// The first two server spans and the first two others of an id: two, because a span is not its own parent.
#[derive(Default)]
struct SameId {
    servers: [Option<usize>; 2],
    others: [Option<usize>; 2],
}

impl SameId {
    fn add(&mut self, node: usize, is_server: bool) {
        let places = if is_server { &mut self.servers } else { &mut self.others };
        if let Some(place) = places.iter_mut().find(|place| place.is_none()) {
            *place = Some(node);
        }
    }

    fn parent_for(&self, child: usize, prefers_server: bool) -> Option<usize> {
        let (first, second) = if prefers_server { (self.servers, self.others) } else { (self.others, self.servers) };
        first.into_iter().chain(second).flatten().find(|&candidate| candidate != child)
    }
}

/// First child and next sibling of each node, in order of arrival.
fn link_children(parents: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let (mut first_child, mut next_sibling) = (vec![NONE; parents.len()], vec![NONE; parents.len()]);
    for node in (0..parents.len()).rev() {
        if parents[node] != NONE {
            next_sibling[node] = first_child[parents[node]];
            first_child[parents[node]] = node;
        }
    }
    (first_child, next_sibling)
}

/// Nested-set numbers of one span; all 0 for spans that no root leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NestedSet {
    pub left: i32,
    pub right: i32,
    /// `left` of the parent; -1 for roots.
    pub parent: i32,
    /// Direct children, also of spans that no root leads to.
    pub child_count: i32,
}

/// Numbers the spans of one trace, given in table order: for each its distance to its parent, and whether it is a root.
///
/// One counter runs through all roots: `left` is taken on the way down, `right` on the way up.
pub fn nested_sets(rows: &[(Option<u32>, bool)]) -> Vec<NestedSet> {
    let mut sets = vec![NestedSet::default(); rows.len()];
    let mut open: Vec<usize> = Vec::new(); // the path from the root to the row above
    let mut counter = 0;
    for (row, &(parent_offset, is_root)) in rows.iter().enumerate() {
        let parent = parent_offset.and_then(|offset| row.checked_sub(offset as usize));
        if let Some(parent) = parent {
            sets[parent].child_count += 1;
        }
        while open.last().is_some_and(|&top| Some(top) != parent) {
            close(&mut sets, &mut open, &mut counter);
        }
        if is_root || !open.is_empty() {
            counter += 1;
            sets[row].left = counter;
            sets[row].parent = parent.map_or(-1, |parent| sets[parent].left);
            open.push(row);
        }
    }
    while !open.is_empty() {
        close(&mut sets, &mut open, &mut counter);
    }
    sets
}

fn close(sets: &mut [NestedSet], open: &mut Vec<usize>, counter: &mut i32) {
    if let Some(row) = open.pop() {
        *counter += 1;
        sets[row].right = *counter;
    }
}

#[cfg(test)]
mod tests;
