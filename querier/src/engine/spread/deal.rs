//! Which node looks at which block.

use std::cmp::Reverse;
use std::sync::Arc;

use storage::ids::NodeId;
use storage::rendezvous;
use storage::source::Source;

use super::part::Part;
use super::{Others, Spread};

/// Blocks of one job: so few that little is done twice when a node fails, and that several nodes end at one time.
const JOB_BLOCKS: usize = 16;
const JOB_BYTES: u64 = 256 << 20;
/// Deleted traces of a block that are sent with a job. A block with more is looked at here.
const MOST_DELETED: usize = 4_096;

/// Who asks puts together what all have found, and reads what they send: about as much work as to look at this part of the bytes.
const MERGING_AS_PART: u64 = 8;

/// By how many tenths a node may be loaded above the mean before a block goes to the next in order.
const TENTHS_ABOVE_MEAN: u64 = 1;

/// A source of a query, by number.
pub(crate) type Numbered<'s> = (usize, &'s Arc<dyn Source>);

/// Sources that stand beside each other, as they are dealt out.
#[derive(Default)]
pub(crate) struct Dealt<'s> {
    pub here: Vec<Numbered<'s>>,
    pub parts: Vec<Part<'s>>,
}

impl Spread {
    /// Deals sources out, in runs of at most so many that stand beside each other.
    pub async fn deal<'s>(&'s self, sources: Vec<Numbered<'s>>, run: usize) -> Vec<Dealt<'s>> {
        let all_here = |here| vec![Dealt { here, parts: Vec::new() }];
        let Some(others) = self.others.get() else { return all_here(sources) };
        let blocks: Vec<Numbered<'s>> = sources.iter().filter(|(_, source)| is_for_others(source)).copied().collect();
        let bytes: u64 = blocks.iter().map(|(_, source)| source.size_bytes()).sum();
        if bytes < others.policy.least_bytes || blocks.is_empty() {
            return all_here(sources);
        }
        let mut nodes = others.workers.nodes().await;
        if nodes.is_empty() {
            return all_here(sources);
        }
        let own = others.workers.own();
        nodes.push(own);
        let merging = bytes / MERGING_AS_PART;
        let load = |node: &NodeId| others.under_way.bytes(node) + if *node == own { merging } else { 0 };
        let loads = nodes.iter().map(load).collect();
        let sizes: Vec<_> = blocks.iter().map(|(_, source)| (key(source), source.size_bytes())).collect();
        let places = place(&sizes, &nodes, loads);
        let mut places = blocks.iter().zip(places).map(|((number, _), node)| (*number, nodes[node])).peekable();
        let mut runs = Vec::new();
        for run in sources.chunks(run.max(1)) {
            let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
            for (number, source) in run {
                match places.next_if(|(of, _)| of == number) {
                    Some((_, node)) if node != own => elsewhere.push((node, (*number, *source))),
                    _ => here.push((*number, *source)),
                }
            }
            runs.push(Dealt { here, parts: parts(others, elsewhere, &nodes) });
        }
        runs
    }
}

fn is_for_others(source: &Arc<dyn Source>) -> bool {
    source.stored().is_some() && source.deleted_traces().is_none_or(|deleted| deleted.len() <= MOST_DELETED)
}

fn key(source: &Arc<dyn Source>) -> [u8; 16] {
    *source.block_id().0.as_bytes()
}

/// For each block, by key and bytes, the place of its node: the first in order that is not loaded above the mean, else the one
/// that is loaded least.
fn place(blocks: &[([u8; 16], u64)], nodes: &[NodeId], mut loads: Vec<u64>) -> Vec<usize> {
    let total = loads.iter().sum::<u64>() + blocks.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let mean = total / nodes.len().max(1) as u64;
    let most = mean + mean * TENTHS_ABOVE_MEAN / 10;
    let of = |(key, bytes): &([u8; 16], u64)| {
        let order = rendezvous::ordered(key, 0..nodes.len(), |node| nodes[*node].0);
        let has_room = |node: &usize| loads[*node].saturating_add(*bytes) <= most;
        let least = || order.iter().copied().min_by_key(|node| loads[*node]);
        let node = order.iter().copied().find(has_room).or_else(least).unwrap_or_default();
        loads[node] = loads[node].saturating_add(*bytes);
        node
    };
    blocks.iter().map(of).collect()
}

/// What each node gets, cut into jobs.
fn parts<'s>(others: &'s Others, elsewhere: Vec<(NodeId, Numbered<'s>)>, nodes: &[NodeId]) -> Vec<Part<'s>> {
    let mut parts = Vec::new();
    for node in nodes {
        let mut sources: Vec<Numbered<'s>> = Vec::new();
        let mut bytes = 0;
        let of_node = elsewhere.iter().filter(|(of, _)| of == node).map(|(_, source)| *source);
        for (number, source) in of_node {
            if sources.len() == JOB_BLOCKS || !sources.is_empty() && bytes + source.size_bytes() > JOB_BYTES {
                parts.push(part(others, *node, nodes, std::mem::take(&mut sources)));
                bytes = 0;
            }
            bytes += source.size_bytes();
            sources.push((number, source));
        }
        if !sources.is_empty() {
            parts.push(part(others, *node, nodes, sources));
        }
    }
    parts
}

/// A job for a node; if that fails, for the next in the order of its first block.
fn part<'s>(others: &'s Others, node: NodeId, nodes: &[NodeId], sources: Vec<Numbered<'s>>) -> Part<'s> {
    let own = others.workers.own();
    let key = sources.first().map_or([0; 16], |(_, source)| key(source));
    let rest = nodes.iter().copied().filter(|other| *other != own);
    let mut order = rendezvous::ordered(&key, rest, |node| node.0);
    order.sort_by_key(|other| Reverse(*other == node));
    Part::new(others.workers.as_ref(), &others.under_way, order, sources)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(count: u128) -> Vec<NodeId> {
        (1..=count).map(|number| NodeId(uuid_of(number))).collect()
    }

    fn uuid_of(number: u128) -> uuid::Uuid {
        uuid::Uuid::from_u128(number)
    }

    proptest! {
        #[test]
        fn no_node_has_much_more_than_the_others(
            sizes in proptest::collection::vec(1..1000_u64, 1..200), count in 1..7_u128, seed: u64,
        ) {
            let blocks: Vec<_> = sizes.iter().enumerate()
                .map(|(number, bytes)| ((u128::from(seed) << 64 | number as u128).to_be_bytes(), *bytes)).collect();
            let nodes = nodes(count);
            let places = place(&blocks, &nodes, vec![0; nodes.len()]);
            let load = |node| places.iter().zip(&sizes).filter(|(place, _)| **place == node).map(|(_, bytes)| bytes).sum::<u64>();
            let mean = sizes.iter().sum::<u64>() / count as u64;
            for node in 0..nodes.len() {
                prop_assert!(load(node) <= mean + mean / 10 + 1000, "{} of a mean of {}", load(node), mean);
            }
        }
    }

    #[test]
    fn a_node_that_is_loaded_gets_less_and_others_keep_what_they_have() {
        let blocks: Vec<_> = (0..90_u128).map(|number| (number.to_be_bytes(), 10)).collect();
        let nodes = nodes(3);
        let count = |places: &[usize], node| places.iter().filter(|place| **place == node).count();
        let idle = place(&blocks, &nodes, vec![0, 0, 0]);
        let loaded = place(&blocks, &nodes, vec![600, 0, 0]);
        assert!(count(&idle, 0) >= 24 && count(&loaded, 0) <= 5, "{} {}", count(&idle, 0), count(&loaded, 0));
        let stayed = idle.iter().zip(&loaded).filter(|(before, now)| before == now && **before != 0).count();
        assert!(stayed >= 45, "{stayed} of the blocks of the others stayed");
    }
}
