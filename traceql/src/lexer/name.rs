//! Attribute names: everything up to a character that ends a name, with quoted parts taken as they are.

use super::{Lexer, NameError, Token};
use crate::position::Position;

/// Whether a character ends an attribute name that is not in quotes.
pub(crate) fn ends_name(character: char) -> bool {
    character.is_whitespace() || "{}()=~!<>&|^,".contains(character)
}

impl Lexer<'_> {
    /// The name that follows an attribute's prefix, which is already read.
    pub(super) fn attribute(&mut self, prefix: &'static str) -> Token {
        let start = Position::new(self.line, self.column - prefix.len());
        let name_start = self.offset;
        let name = self.name().map_err(|message| NameError { position: start.of_composed_token(), message });
        if self.offset > name_start {
            return Token::Attribute { prefix, name };
        }
        let position = if prefix == "." { start } else { start.of_composed_token() };
        let message = "syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER";
        Token::Attribute { prefix, name: Err(NameError { position, message }) }
    }

    fn name(&mut self) -> Result<String, &'static str> {
        let mut name = String::new();
        while let Some(character) = self.peek().filter(|c| !ends_name(*c)) {
            self.next();
            match character {
                '"' => self.quoted_part(&mut name)?,
                _ => name.push(character),
            }
        }
        Ok(name)
    }

    /// The part of a name after an opening quote, and the closing quote.
    fn quoted_part(&mut self, name: &mut String) -> Result<(), &'static str> {
        const UNCLOSED: &str = "unexpected EOF, expecting \"";
        loop {
            match self.next().ok_or(UNCLOSED)? {
                '"' => return Ok(()),
                '\\' => match self.next().ok_or(UNCLOSED)? {
                    escaped @ ('"' | '\\') => name.push(escaped),
                    _ => return Err("invalid escape sequence"),
                },
                character => name.push(character),
            }
        }
    }
}
