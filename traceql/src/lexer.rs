//! Text to tokens. Knows words, operators, literals and attribute names, and where each stands; knows no grammar.
//!
//! A text that is not a token becomes [`Token::Bad`], and reading stops there: the parser reports it when, and only
//! when, it gets that far, so the first error in the text is the one that is shown.

mod literal;
mod name;

pub(crate) use name::ends_name;

use crate::position::Position;

/// A piece of the text.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A keyword, an operator, punctuation, or a prefix such as `span:`.
    Symbol(&'static str),
    /// An attribute: its prefix with the dot (`span.`, `.`) and its name, or what is wrong with the name.
    Attribute {
        prefix: &'static str,
        name: Result<String, NameError>,
    },
    /// A word that is no keyword, or a character that means nothing.
    Identifier(String),
    String(String),
    Integer(i64),
    Float(f64),
    /// Nanoseconds.
    Duration(i64),
    /// Not a token, and why.
    Bad(String),
    End,
}

/// Why an attribute has no usable name, and where the error is said to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NameError {
    pub position: Position,
    pub message: &'static str,
}

impl Token {
    /// Whether the reference's scanner puts it together from several: the name of an attribute and its scope, an operator
    /// of several characters, a number and its unit.
    fn is_composed(&self) -> bool {
        match self {
            Self::Attribute { prefix, .. } => *prefix != ".",
            Self::Symbol(text) => text.len() > 1 && !WORDS.contains(text),
            Self::Duration(_) => true,
            _ => false,
        }
    }

    /// How a syntax error names the token.
    pub fn describe(&self) -> &str {
        match self {
            Self::Symbol(text) | Self::Attribute { prefix: text, .. } => text,
            Self::Identifier(_) => "IDENTIFIER",
            Self::String(_) => "STRING",
            Self::Integer(_) => "INTEGER",
            Self::Float(_) => "FLOAT",
            Self::Duration(_) => "DURATION",
            Self::Bad(message) => message,
            Self::End => "$end",
        }
    }
}

/// Reserved words, except after an attribute's prefix and in strings.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "true", "false", "nil", "ok", "error", "unset",
    "unspecified", "internal", "server", "client", "producer", "consumer",
    "duration", "name", "status", "statusMessage", "kind", "rootName", "rootServiceName", "traceDuration",
    "nestedSetLeft", "nestedSetRight", "nestedSetParent", "parent",
    "rootService", "id", "traceID", "spanID", "parentID", "timeSinceStart", "version", "childCount",
    "count", "avg", "max", "min", "sum", "by", "coalesce", "select",
    "rate", "count_over_time", "min_over_time", "max_over_time", "avg_over_time", "sum_over_time",
    "quantile_over_time", "histogram_over_time", "compare", "topk", "bottomk", "with",
];

/// Operators and punctuation. An operator is read greedily: it grows as long as the longer text is one, too.
#[rustfmt::skip]
const OPERATORS: &[&str] = &[
    "{", "}", "(", ")", ",", "|",
    "=", "!=", "=~", "!~", ">", ">=", "<", "<=", "+", "-", "*", "/", "%", "^", "&&", "||", "!",
    ">>", "<<", "~", "!>", "!<", "!>>", "!<<", "&>", "&<", "&~", "&>>", "&<<",
];

/// Words that an immediate `.` makes the prefix of an attribute.
const DOT_PREFIXES: &[&str] = &["span.", "resource.", "event.", "link.", "instrumentation.", "parent."];

/// Words that an immediate `:` makes the prefix of an intrinsic.
const COLON_PREFIXES: &[&str] = &["trace:", "span:", "event:", "link:", "instrumentation:"];

/// Every token of the text with its position. The last is [`Token::End`] or [`Token::Bad`], and only the last is.
pub fn tokens(text: &str) -> Vec<(Token, Position)> {
    let mut lexer = Lexer { text, offset: 0, line: 1, column: 1 };
    let mut tokens = Vec::new();
    loop {
        let comment = lexer.skip_blanks();
        let position = lexer.position();
        let token = match comment {
            Ok(()) => lexer.token(),
            Err(message) => Token::Bad(message.to_owned()),
        };
        let last = matches!(token, Token::End | Token::Bad(_));
        let position = if token.is_composed() { position.of_composed_token() } else { position };
        tokens.push((token, position));
        if last {
            return tokens;
        }
    }
}

/// A place in the text, and the line and column it is at.
struct Lexer<'t> {
    text: &'t str,
    offset: usize,
    line: usize,
    column: usize,
}

impl<'t> Lexer<'t> {
    fn position(&self) -> Position {
        if self.text.is_empty() { Position::NONE } else { Position::new(self.line, self.column) }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.offset..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.offset += character.len_utf8();
        if character == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(character)
    }

    /// Reads while `keep` holds; returns what was read.
    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'t str {
        let start = self.offset;
        while self.peek().is_some_and(&keep) {
            self.next();
        }
        &self.text[start..self.offset]
    }

    /// Reads `count` bytes that are known to be there.
    fn skip(&mut self, count: usize) {
        let end = self.offset + count;
        while self.offset < end && self.next().is_some() {}
    }

    /// Skips white space and comments; an error if a comment does not end.
    fn skip_blanks(&mut self) -> Result<(), &'static str> {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest().starts_with("//") {
                self.take_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                let end = self.rest()[2..].find("*/").ok_or("comment not terminated")?;
                self.skip(end + 4);
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Token {
        let rest = self.rest();
        let mut characters = rest.chars();
        match (characters.next(), characters.next()) {
            (None, _) => Token::End,
            (Some('.'), Some('0'..='9')) | (Some('0'..='9'), _) => self.number(),
            (Some('.'), _) => {
                self.next();
                self.attribute(".")
            }
            (Some('"' | '`' | '\''), _) => self.quoted(),
            (Some(first), _) if is_word_start(first) => self.word(),
            (Some(first), _) => match operator(rest) {
                Some(symbol) => {
                    self.skip(symbol.len());
                    Token::Symbol(symbol)
                }
                None => {
                    self.next();
                    Token::Identifier(first.to_string())
                }
            },
        }
    }

    fn word(&mut self) -> Token {
        let word = self.take_while(|c| is_word_start(c) || c.is_numeric());
        let prefix_in = |prefixes: &[&'static str], end: char| {
            prefixes.iter().copied().find(|prefix| prefix.strip_suffix(end) == Some(word))
        };
        match self.peek() {
            Some('.') if let Some(prefix) = prefix_in(DOT_PREFIXES, '.') => {
                self.next();
                self.attribute(prefix)
            }
            Some(':') if let Some(prefix) = prefix_in(COLON_PREFIXES, ':') => {
                self.next();
                Token::Symbol(prefix)
            }
            _ => match WORDS.iter().find(|known| **known == word) {
                Some(known) => Token::Symbol(known),
                None => Token::Identifier(word.to_owned()),
            },
        }
    }
}

fn is_word_start(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

/// The longest operator at the start of the text that can be reached through operators, one character at a time.
fn operator(text: &str) -> Option<&'static str> {
    let known = |length: usize| {
        let candidate = text.get(..length)?;
        OPERATORS.iter().copied().find(|operator| *operator == candidate)
    };
    // `&` alone is no operator, but begins some.
    let mut longest = known(1);
    for length in 2..=3 {
        match known(length) {
            Some(longer) if longest.is_some() || length == 2 => longest = Some(longer),
            _ => break,
        }
    }
    longest
}

#[cfg(test)]
mod tests;
