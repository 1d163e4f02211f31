//! How much of everything one query may have, so that no text costs without end.

use std::collections::HashSet;

use crate::ast::Field;

/// The deepest tree that is read, so that no text can exhaust a stack: not here, and not in any function that walks the
/// tree.
pub(super) const MAX_DEPTH: usize = 128;

/// The deepest nesting of parentheses and prefix operators. A printed tree has one of each for every level.
pub(super) const MAX_NESTING: usize = 2 * MAX_DEPTH;

/// The deepest nesting of span sets and pipelines in parentheses. Reading one takes seven kilobytes of stack in a debug
/// build, and operators between span sets, of which there are fewer, need no more when they are printed.
pub(super) const MAX_GROUP_NESTING: usize = MAX_DEPTH;

/// The most different fields in one query: each is a column that must be found and read.
pub const MAX_FIELDS: usize = 512;

/// What is counted while a query is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counted {
    /// An operator between span sets, or between aggregates: each is a level of the tree.
    Operator,
    /// A pattern: each is compiled to be checked, and may hold a megabyte while the query runs.
    Pattern,
    /// A stage after the first, of metrics too: each is a walk over all that the one before it left.
    Stage,
    /// A field or number in a list (`select()`, `by()`, quantiles): each is answered.
    Listed,
}

impl Counted {
    const COUNT: usize = 4;

    /// The most of it in one query, and what it is called.
    fn limit(self) -> (usize, &'static str) {
        match self {
            Self::Operator => (64, "operators between span sets"),
            Self::Pattern => (128, "regular expressions"),
            Self::Stage => (64, "stages"),
            Self::Listed => (256, "entries in lists"),
        }
    }
}

/// What was counted so far.
pub(super) struct Limits {
    parts: [usize; Counted::COUNT],
    fields: HashSet<Field>,
    max_fields: usize,
}

impl Limits {
    pub fn with_max_fields(max_fields: usize) -> Self {
        Self { parts: [0; Counted::COUNT], fields: HashSet::new(), max_fields }
    }

    /// # Errors
    /// Words that name the limit that was passed.
    pub fn count(&mut self, part: Counted) -> Result<(), String> {
        let (max, name) = part.limit();
        let count = &mut self.parts[part as usize];
        *count += 1;
        if *count > max { Err(format!("too many {name} (limit: {max})")) } else { Ok(()) }
    }

    /// # Errors
    /// As [`count`](Self::count).
    pub fn count_field(&mut self, field: &Field) -> Result<(), String> {
        if !self.fields.contains(field) {
            self.fields.insert(field.clone());
        }
        let max = self.max_fields;
        if self.fields.len() > max { Err(format!("too many different fields (limit: {max})")) } else { Ok(()) }
    }
}
