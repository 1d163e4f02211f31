use super::*;

fn node(id: u8, parent: Option<u8>) -> Node {
    Node { span_id: [id; 8], parent_id: parent.map(|parent| [parent; 8]), kind: 1 }
}

/// Orders and prints `node^offset` in the new order.
fn check(nodes: &[Node], expected: &str) {
    let mut placed = Vec::new();
    order(nodes, &mut placed);
    let text: Vec<String> = placed
        .iter()
        .map(|place| format!("{}{}", place.node, place.parent_offset.map_or(String::new(), |up| format!("^{up}"))))
        .collect();
    assert_eq!(text.join(" "), expected);
}

#[test]
fn parents_stand_above_their_children_in_order_of_arrival() {
    check(
        &[node(4, Some(2)), node(2, Some(1)), node(1, None), node(3, Some(1)), node(5, Some(2))],
        "2 1^1 0^1 4^2 3^4",
    );
}

#[test]
fn spans_that_no_root_leads_to_come_last() {
    check(&[node(2, Some(9)), node(3, Some(2)), node(1, None)], "2 0 1^1");
}

#[test]
fn cycles_and_self_parents_are_cut() {
    check(&[node(1, Some(1)), node(2, None)], "1 0");
    check(&[node(1, Some(2)), node(2, Some(1)), node(3, Some(1))], "0 1^1 2^2");
}

#[test]
fn a_child_of_a_shared_id_belongs_to_the_server_half() {
    let mut client = node(2, Some(1));
    client.kind = 3;
    let mut server = node(2, Some(2));
    server.kind = KIND_SERVER;
    check(&[node(1, None), client, server, node(3, Some(2))], "0 1^1 2^1 3^1");
}

#[test]
fn numbers_follow_the_walk_from_the_roots() {
    // R (A (B (Q1 Q2)) L), then an orphan with a child
    let rows = [
        (None, true),
        (Some(1), false),
        (Some(1), false),
        (Some(1), false),
        (Some(2), false),
        (Some(5), false),
        (None, false),
        (Some(1), false),
    ];
    let numbers: Vec<_> = nested_sets(&rows).iter().map(|set| (set.left, set.right, set.parent)).collect();
    assert_eq!(numbers, [(1, 12, -1), (2, 9, 1), (3, 8, 2), (4, 5, 3), (6, 7, 3), (10, 11, 1), (0, 0, 0), (0, 0, 0)]);
    let children: Vec<_> = nested_sets(&rows).iter().map(|set| set.child_count).collect();
    assert_eq!(children, [2, 1, 2, 0, 0, 0, 1, 0]);
}

#[test]
fn two_roots_share_one_counter() {
    let numbers = nested_sets(&[(None, true), (Some(1), false), (None, true)]);
    assert_eq!(numbers.iter().map(|set| (set.left, set.right)).collect::<Vec<_>>(), [(1, 4), (2, 3), (5, 6)]);
}
