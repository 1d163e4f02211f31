//! Where in the text of a query something stands.

use std::fmt;

/// A place in the query text: line and column count from 1, columns in characters.
///
/// At some tokens line 0 is printed, as the reference does. The empty query has no position and prints as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
    /// Line 0 is printed.
    hides_line: bool,
}

impl Position {
    pub(crate) const NONE: Self = Self { line: 0, column: 0, hides_line: true };

    pub(crate) fn new(line: usize, column: usize) -> Self {
        Self { line, column, hides_line: false }
    }

    /// The same place, printed as the reference does at tokens that its scanner puts together from several.
    pub(crate) fn of_composed_token(self) -> Self {
        Self { hides_line: true, ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => Ok(()),
            Self { column, hides_line: true, .. } => write!(f, "at line 0, col {column}"),
            Self { line, column, .. } => write!(f, "at line {line}, col {column}"),
        }
    }
}
