//! The bounds that errors name. How much one query may have of everything else is counted by `parser/limits.rs`.

/// The longest query text that is read, in bytes (Tempo's default).
pub const MAX_QUERY_BYTES: usize = 131_072;

/// How large a compiled pattern may be, in bytes. A set of literal texts has no limit but that of the query.
pub(crate) const MAX_COMPILED_BYTES: usize = 1 << 20;

/// RE2's limit on one repetition of a pattern, and on the product of nested ones.
pub(crate) const MAX_REPEATS: u32 = 1000;
