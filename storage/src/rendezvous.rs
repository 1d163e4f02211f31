//! Who of several nodes comes first for a key: by the hash of both, the highest first.
//!
//! Everybody who knows the same nodes has the same order, whatever order they know them in. A node that leaves moves the
//! keys for which it was first to those that were second, and no others; so does one that comes. The hash never changes:
//! nodes of different builds must agree.

use uuid::Uuid;

use crate::index::hash_bytes;

/// Tells this hash from those of indexes and trace ids.
const SEED: u64 = 0x7265_6e64_6576_6f75;

/// The nodes, the first for this key before the others. `id` names a node, and no two have the same.
pub fn ordered<N>(key: &[u8], nodes: impl IntoIterator<Item = N>, id: impl Fn(&N) -> Uuid) -> Vec<N> {
    let key = hash_bytes(key, SEED);
    let mut nodes: Vec<N> = nodes.into_iter().collect();
    nodes.sort_by_cached_key(|node| std::cmp::Reverse(weight(key, id(node))));
    nodes
}

/// The first of [`ordered`].
pub fn first<N>(key: &[u8], nodes: impl IntoIterator<Item = N>, id: impl Fn(&N) -> Uuid) -> Option<N> {
    let key = hash_bytes(key, SEED);
    nodes.into_iter().max_by_key(|node| weight(key, id(node)))
}

/// Ids break the tie of two hashes.
fn weight(key: u64, id: Uuid) -> (u64, Uuid) {
    (hash_bytes(id.as_bytes(), key), id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn order(key: &[u8], nodes: &[Uuid]) -> Vec<Uuid> {
        ordered(key, nodes.iter().copied(), |node| *node)
    }

    fn nodes() -> impl Strategy<Value = Vec<Uuid>> {
        btree_set(any::<u128>(), 1..12).prop_map(|ids| ids.into_iter().map(Uuid::from_u128).collect())
    }

    proptest! {
        #[test]
        fn everybody_has_the_same_order(
            (nodes, shuffled) in nodes().prop_flat_map(|nodes| (Just(nodes.clone()), Just(nodes).prop_shuffle())),
            key in vec(any::<u8>(), 0..40),
        ) {
            let order = order(&key, &nodes);
            prop_assert_eq!(&order, &super::tests::order(&key, &shuffled));
            prop_assert_eq!(first(&key, shuffled, |node| *node), order.first().copied());
        }

        #[test]
        fn a_node_that_leaves_moves_nothing_else(nodes in nodes(), leaves: prop::sample::Index, key in vec(any::<u8>(), 0..40)) {
            let gone = nodes[leaves.index(nodes.len())];
            let others: Vec<Uuid> = nodes.iter().copied().filter(|node| *node != gone).collect();
            let mut without = order(&key, &nodes);
            without.retain(|node| *node != gone);
            prop_assert_eq!(without, order(&key, &others));
        }
    }

    #[test]
    fn keys_are_spread_evenly() {
        let nodes: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let mut shares: HashMap<Uuid, usize> = HashMap::new();
        for key in 0..3000u32 {
            *shares.entry(order(&key.to_be_bytes(), &nodes)[0]).or_default() += 1;
        }
        assert!(shares.len() == 3 && shares.values().all(|share| (900..1100).contains(share)), "{shares:?}");
    }

    /// Nodes of different builds agree because this never changes.
    #[test]
    fn the_hash_is_what_it_always_was() {
        let nodes: Vec<Uuid> = (1..=4).map(Uuid::from_u128).collect();
        let places = |key: &[u8]| order(key, &nodes).iter().map(|node| node.as_u128()).collect::<Vec<_>>();
        assert_eq!((places(b"a"), places(b"block 7")), (vec![1, 4, 3, 2], vec![3, 1, 4, 2]));
    }
}
