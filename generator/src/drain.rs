//! Names with ids in them, folded into templates: `GET /user/8231` → `GET /user/<_>`.
//!
//! Drain (He, Zhu, Zheng, Lyu: "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017), for names instead
//! of lines of logs. A name is cut into tokens; what looks like an id is a parameter from the start (the paper's masking by
//! domain knowledge). The rest is led down a tree, a token at each level, below a root for each number of tokens. A node
//! with more than [`MOST_CHILDREN`] tokens below it has a parameter there from then on (the paper's `maxChild`). Names are
//! short, so the tree is as deep as a name has tokens, and no similarity has to be measured. The first token of a name is
//! always kept: it says what is done.
//!
//! What a tree has learned is part of a checkpoint: the same name is the same series after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::memory::Account;
use crate::state::{DrainNodeState, Numbered, Numbering};

const PARAMETER: &str = "<_>";
/// Different tokens below a node; with more, they are values of a parameter.
const MOST_CHILDREN: usize = 100;
/// Nodes of a tree; names that would need more, or more memory than there is, are left as they are.
const MOST_NODES: usize = 50_000;
/// What a node takes: its token, and its place among others.
const NODE_BYTES: usize = 160;
/// Longer names are left as they are.
const MOST_TOKENS: usize = 80;
/// Each is a token of its own, and between them are the others.
const DELIMITERS: &str = " /?&=:,;()[]{}";
/// Letters and digits that could be hexadecimal are an id when they are so many, or more.
const LEAST_HEXADECIMAL: usize = 6;

/// The tree of one tenant.
pub(crate) struct Drain {
    /// By number of tokens.
    roots: BTreeMap<usize, Node>,
    nodes: usize,
    memory: Account,
}

#[derive(Default)]
struct Node {
    children: BTreeMap<Arc<str>, Node>,
    /// What comes next is a parameter, whatever it is.
    is_folded: bool,
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.memory.give_back(self.nodes * NODE_BYTES);
    }
}

impl Drain {
    pub(crate) fn new(memory: Account) -> Self {
        Self { roots: BTreeMap::new(), nodes: 0, memory }
    }

    /// The template of a name; `None` when it is the name itself.
    pub(crate) fn template(&mut self, name: &str) -> Option<String> {
        let tokens: Vec<&str> = tokens(name).take(MOST_TOKENS + 1).collect();
        if tokens.len() > MOST_TOKENS {
            return None;
        }
        let Self { roots, nodes, memory } = self;
        let mut template = String::with_capacity(name.len());
        let mut node = roots.entry(tokens.len()).or_default();
        for (level, token) in tokens.into_iter().enumerate() {
            let mut token = if node.is_folded || level > 0 && is_id(token) { PARAMETER } else { token };
            if !node.children.contains_key(token) {
                if level > 0 && node.children.len() >= MOST_CHILDREN {
                    let gone = node.fold();
                    *nodes -= gone;
                    memory.give_back(gone * NODE_BYTES);
                    token = PARAMETER;
                }
                if !node.children.contains_key(token) {
                    if *nodes >= MOST_NODES || !memory.take(NODE_BYTES) {
                        return None;
                    }
                    *nodes += 1;
                    node.children.insert(token.into(), Node::default());
                }
            }
            template.push_str(token);
            node = node.children.get_mut(token)?;
        }
        Some(template).filter(|template| template != name)
    }

    pub(crate) fn save(&self, numbering: &mut Numbering) -> Vec<DrainNodeState> {
        let mut saved = Vec::new();
        for (count, root) in &self.roots {
            root.save(&count.to_string().into(), numbering, &mut saved);
        }
        saved
    }

    /// Takes over what an earlier process learned, as far as there is room.
    pub(crate) fn restore(&mut self, saved: Vec<DrainNodeState>, numbered: &Numbered) {
        let mut saved = saved.into_iter();
        while let Some((count, root)) = Node::restore(&mut saved, numbered, 0) {
            let (nodes, count) = (root.count(), count.parse().ok());
            if let Some(count) = count.filter(|_| self.memory.take(nodes * NODE_BYTES)) {
                self.nodes += nodes;
                self.roots.insert(count, root);
            }
        }
    }
}

impl Node {
    /// Makes what comes next a parameter; returns how many nodes went.
    fn fold(&mut self) -> usize {
        let before = self.count();
        self.children.retain(|token, _| &**token == PARAMETER);
        self.is_folded = true;
        before - self.count()
    }

    /// Nodes below this one.
    fn count(&self) -> usize {
        self.children.values().map(|child| 1 + child.count()).sum()
    }

    /// Writes a node before those below it.
    fn save(&self, token: &Arc<str>, numbering: &mut Numbering, saved: &mut Vec<DrainNodeState>) {
        let (token, children) = (numbering.text(token), self.children.len() as u32);
        saved.push(DrainNodeState { token, children, is_folded: self.is_folded });
        self.children.iter().for_each(|(token, child)| child.save(token, numbering, saved));
    }

    fn restore(
        saved: &mut impl Iterator<Item = DrainNodeState>,
        numbered: &Numbered,
        level: usize,
    ) -> Option<(Arc<str>, Self)> {
        let DrainNodeState { token, children, is_folded } = saved.next()?;
        let mut node = Self { children: BTreeMap::new(), is_folded };
        if level <= MOST_TOKENS {
            let children = (0..children).map_while(|_| Self::restore(saved, numbered, level + 1));
            node.children = children.collect();
        }
        Some((numbered.text(token)?, node))
    }
}

/// The tokens of a name, delimiters among them: put together they are the name.
fn tokens(name: &str) -> impl Iterator<Item = &str> {
    name.split_inclusive(|character| DELIMITERS.contains(character)).flat_map(|part| {
        let word = part.trim_end_matches(|character| DELIMITERS.contains(character));
        let (word, delimiter) = part.split_at(word.len());
        [word, delimiter].into_iter().filter(|token| !token.is_empty())
    })
}

/// Whether a token is no word: a number, a UUID or another hexadecimal id, or a word that a number follows.
fn is_id(token: &str) -> bool {
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    let is_punctuation = |byte: u8| byte.is_ascii_punctuation();
    let is_number = token.bytes().all(|byte| byte.is_ascii_digit() || is_punctuation(byte));
    let is_hexadecimal =
        token.len() >= LEAST_HEXADECIMAL && token.bytes().all(|byte| byte.is_ascii_hexdigit() || is_punctuation(byte));
    let has_number = digits >= 2 && digits * 4 > token.len();
    digits > 0 && (is_number || is_hexadecimal || has_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new_drain() -> Drain {
        Drain::new(Account::new(usize::MAX))
    }

    fn check(drain: &mut Drain, name: &str, wanted: &str) {
        assert_eq!(drain.template(name).as_deref().unwrap_or(name), wanted);
    }

    #[test]
    fn ids_are_parameters_and_words_are_not() {
        let mut drain = new_drain();
        for (name, wanted) in [
            ("GET /user/8231", "GET /user/<_>"),
            ("GET /user/list", "GET /user/list"),
            ("GET /user/8231/cart?page=2", "GET /user/<_>/cart?page=<_>"),
            ("GET /api/v1/order/0af7651916cd43dd8448eb211c80319c", "GET /api/v1/order/<_>"),
            ("PUT /o/3f2504e0-4f89-11d3-9a0c-0305e82c3301:close", "PUT /o/<_>:close"),
            ("job batch-20260829", "job <_>"),
            ("upload to s3", "upload to s3"),
            ("oauth2 facade", "oauth2 facade"),
            ("checkout", "checkout"),
            ("42", "42"),
            ("", ""),
        ] {
            check(&mut drain, name, wanted);
            check(&mut drain, name, wanted);
        }
    }

    #[test]
    fn words_that_are_too_many_are_values_of_a_parameter() {
        let mut drain = new_drain();
        let name = |user: usize| format!("GET /user/{}/cart", "x".repeat(user + 1));
        for user in 0..MOST_CHILDREN {
            check(&mut drain, &name(user), &name(user));
        }
        let nodes = drain.nodes;
        check(&mut drain, &name(MOST_CHILDREN), "GET /user/<_>/cart");
        check(&mut drain, &name(0), "GET /user/<_>/cart");
        assert!(drain.nodes < nodes / 10, "{} of {nodes}", drain.nodes);
        check(&mut drain, "GET /shop/x/cart", "GET /shop/x/cart");
    }

    #[test]
    fn the_first_token_is_kept_however_many_there_are() {
        let mut drain = new_drain();
        for at in 0..2 * MOST_CHILDREN {
            let name = format!("{} it", "do".repeat(at + 1));
            check(&mut drain, &name, &name);
        }
    }

    #[test]
    fn a_tree_that_is_full_leaves_names_as_they_are() {
        let mut drain = new_drain();
        assert!(drain.memory.take(MOST_NODES * NODE_BYTES));
        drain.nodes = MOST_NODES;
        check(&mut drain, "GET /user/8231", "GET /user/8231");
        assert!(drain.roots.values().all(|root| root.children.is_empty()));
        check(&mut new_drain(), &"/1".repeat(MOST_TOKENS), &"/1".repeat(MOST_TOKENS));
    }

    #[test]
    fn a_tree_without_memory_leaves_names_as_they_are() {
        let mut drain = Drain::new(Account::new(3 * NODE_BYTES));
        check(&mut drain, "GET /8231", "GET /8231");
        assert_eq!(drain.memory.used(), 3 * NODE_BYTES);
    }

    #[test]
    fn what_was_learned_is_known_when_it_is_read_back() {
        let mut drain = new_drain();
        for user in 0..=MOST_CHILDREN {
            drain.template(&format!("GET /user/{}", "x".repeat(user + 1)));
        }
        drain.template("POST /cart");
        let mut numbering = Numbering::default();
        let saved = drain.save(&mut numbering);
        let (texts, label_sets) = numbering.finish();
        let mut restored = new_drain();
        restored.restore(saved, &Numbered::new(texts, &label_sets));
        assert_eq!((restored.nodes, restored.memory.used()), (drain.nodes, drain.memory.used()));
        check(&mut restored, "GET /user/zoe", "GET /user/<_>");
        assert_eq!(restored.nodes, drain.nodes);
    }
}
