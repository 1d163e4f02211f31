//! Who reads the output: people at a terminal (width, colour), or a program.

use std::io::{self, IsTerminal, Write};

use clap::Args;

use crate::error::Error;

/// What is assumed where the terminal does not say.
const DEFAULT_WIDTH: usize = 100;
/// Narrower ones are treated as if they were so wide.
const LEAST_WIDTH: usize = 40;

/// How a command says what it found.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Print JSON. Without it: tables on a terminal, tab-separated values elsewhere.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    People,
    /// A heading and rows, tab-separated.
    Tsv,
    Json,
}

/// Where the output goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub form: Form,
    pub width: usize,
    pub has_colour: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    Heading,
    Dim,
    Error,
    /// What the eye should go to.
    Strong,
    Service,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Error => "\x1b[31m",
            Self::Strong => "\x1b[33m",
            Self::Service => "\x1b[36m",
        }
    }
}

impl Screen {
    pub(crate) fn of(output: Output) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let form = match (output.json, is_terminal) {
            (true, _) => Form::Json,
            (false, true) => Form::People,
            (false, false) => Form::Tsv,
        };
        Self { form, width: width(), has_colour: is_terminal && wants_colour() }
    }

    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        let code = style.code();
        if self.has_colour && !code.is_empty() { format!("{code}{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// <https://no-color.org>
fn wants_colour() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn width() -> usize {
    let of_terminal = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    told.or_else(of_terminal).filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH).max(LEAST_WIDTH)
}

/// Writes to standard output, at once.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|source| Error::Output { source })
}

/// Writes a document that a server gave, with the end of a line.
pub(crate) fn print_document(body: &[u8]) -> Result<(), Error> {
    print(&format!("{}\n", String::from_utf8_lossy(body).trim_end()))
}

/// Text from a span, without characters that would move the cursor or colour the rest.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
impl Screen {
    pub(crate) fn for_tests(form: Form, width: usize) -> Self {
        Self { form, width, has_colour: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_spans_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\x1b[31mb\tc\u{9b}d ключ"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d ключ");
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let mut screen = Screen::for_tests(Form::People, 80);
        assert_eq!(screen.paint(Style::Error, "x"), "x");
        screen.has_colour = true;
        assert_eq!(screen.paint(Style::Error, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(screen.paint(Style::Plain, "x"), "x");
    }
}
