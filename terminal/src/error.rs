//! What can go wrong, in words that name the thing and the mend.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit code of wrong arguments, as clap has it.
const USAGE: u8 = 2;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nothing answers at {url}: {reason}; {mend}")]
    Unreachable { url: String, reason: String, mend: String },
    #[error("{url} answered {status}: {text}")]
    Refused { url: String, status: u16, text: String },
    #[error("{message}")]
    Query { message: String, query: String, line: usize, column: usize },
    #[error("{url} answered what cannot be read: {reason}; is it a Tempo's HTTP API? --url names another")]
    Answer { url: String, reason: String },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: at byte {offset}: {reason}", path.display())]
    Content { path: PathBuf, offset: u64, reason: String },
    /// A store that blocks are read from.
    #[error("{what}: {source}")]
    Storage { what: String, source: Box<storage::Error> },
    #[error("{key}: after row {row}: {reason}")]
    Block { key: String, row: u64, reason: String },
    #[error("{0}")]
    Usage(String),
    #[error("standard output: {source}")]
    Output { source: io::Error },
    #[error("start the async runtime: {source}")]
    Runtime { source: io::Error },
}

impl Error {
    /// Says what went wrong, and with which code the process ends. A reader that has gone (`| head`) is no failure.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Query { query, line, column, .. } => eprintln!("mosso: {self}{}", caret(query, *line, *column)),
            _ => eprintln!("mosso: {self}"),
        }
        match self {
            Self::Usage(_) => ExitCode::from(USAGE),
            _ => ExitCode::FAILURE,
        }
    }

    /// A refusal of a query: with the place that its text names, if it names one.
    pub(crate) fn of_query(query: &str, text: &str) -> Option<Self> {
        let message = text.trim().trim_start_matches("invalid TraceQL query: ").to_owned();
        let (_, place) = text.split_once("at line ")?;
        let (line, rest) = place.split_once(", col ")?;
        let column = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        let (line, column) = (line.parse().ok()?, column.parse().ok()?);
        Some(Self::Query { message, query: query.to_owned(), line, column })
    }
}

/// The end of the chain of causes, which is what people can act on: that a connection is refused, or a certificate is of an
/// unknown authority.
pub(crate) fn deepest_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

/// The line of the query, and below it a caret at the column. Lines and columns count from 1; errors that were found in
/// the checked tree name line 0.
fn caret(query: &str, line: usize, column: usize) -> String {
    let Some(text) = query.lines().nth(line.saturating_sub(1)) else { return String::new() };
    let before: String = text.chars().take(column.saturating_sub(1)).collect();
    let indent = " ".repeat(unicode_width::UnicodeWidthStr::width(before.as_str()));
    format!("\n  {text}\n  {indent}^")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_error_is_shown_below_the_query() {
        let text = "invalid TraceQL query: parse error at line 1, col 3: unknown identifier: foo";
        let Some(Error::Query { message, query, line, column }) = Error::of_query("{ foo = 1 }", text) else {
            panic!("no place in {text}")
        };
        assert_eq!(message, "parse error at line 1, col 3: unknown identifier: foo");
        assert_eq!(caret(&query, line, column), "\n  { foo = 1 }\n    ^");
        assert_eq!(caret("{ .a\n && x }", 2, 5), "\n   && x }\n      ^");
        assert_eq!(caret("{ .ключ ~ 1 }", 1, 9), "\n  { .ключ ~ 1 }\n          ^");
        assert!(Error::of_query("{}", "not a metrics query").is_none());
    }
}
