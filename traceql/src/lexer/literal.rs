//! Numbers, durations and strings.

use super::{Lexer, Token};
use crate::duration::parse_go_duration;

/// Units of the whole-number form of a duration, in the order they must be written, with their nanoseconds.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * DAY_NANOS),
    ("w", 7 * DAY_NANOS),
    ("d", DAY_NANOS),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];

const DAY_NANOS: i64 = 86_400_000_000_000;

impl Lexer<'_> {
    /// An integer, a float or, if a unit is glued to it, a duration.
    pub(super) fn number(&mut self) -> Token {
        let start = self.offset;
        let is_float = match self.digits() {
            Ok(is_float) => is_float,
            Err(message) => return Token::Bad(message.to_owned()),
        };
        let digits = &self.text[start..self.offset];
        let unit = self.rest().find(|c: char| !is_duration_character(c)).unwrap_or(self.rest().len());
        if let Some(nanos) = duration(&self.text[start..self.offset + unit]).filter(|_| unit > 0) {
            self.skip(unit);
            return Token::Duration(nanos);
        }
        if is_float { float(digits) } else { integer(digits) }
    }

    /// Reads the longest number; says whether it is written as a float.
    fn digits(&mut self) -> Result<bool, &'static str> {
        let is_digit = |c: char| c.is_ascii_digit() || c == '_';
        if matches!(self.rest().as_bytes(), [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]) {
            self.skip(2);
            self.take_while(|c| c.is_ascii_hexdigit() || c == '_');
            return Ok(false); // refused as an integer, with its whole text
        }
        self.take_while(is_digit);
        let mut is_float = false;
        if self.peek() == Some('.') {
            self.next();
            self.take_while(is_digit);
            is_float = true;
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.next();
            if matches!(self.peek(), Some('+' | '-')) {
                self.next();
            }
            if self.take_while(is_digit).is_empty() {
                return Err("exponent has no digits");
            }
            is_float = true;
        }
        Ok(is_float)
    }

    /// A string in double quotes or backticks. A single quoted character is only read to be refused.
    pub(super) fn quoted(&mut self) -> Token {
        let start = self.offset;
        let quote = self.next().expect("the caller saw a quote");
        let content = if quote == '`' { self.raw() } else { self.escaped(quote) };
        match content {
            Err(message) => Token::Bad(message.to_owned()),
            Ok(bytes) if quote == '\'' => match String::from_utf8_lossy(&bytes).chars().count() {
                1 => Token::Identifier(self.text[start..self.offset].to_owned()),
                _ => Token::Bad("invalid char literal".to_owned()),
            },
            Ok(bytes) => Token::String(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    fn raw(&mut self) -> Result<Vec<u8>, &'static str> {
        let content = self.take_while(|c| c != '`');
        self.next().ok_or("literal not terminated")?;
        Ok(content.as_bytes().to_owned())
    }

    /// The content of a quoted text; bytes, because an escape may name any byte.
    fn escaped(&mut self, quote: char) -> Result<Vec<u8>, &'static str> {
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                None | Some('\n') => return Err("literal not terminated"),
                Some('\\') => self.escape(quote, &mut bytes).ok_or("invalid char escape")?,
                Some(character) if character == quote => return Ok(bytes),
                Some(character) => push(&mut bytes, character),
            }
        }
    }

    /// What follows a backslash: Go's escapes. None if it is not one.
    fn escape(&mut self, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
        let character = self.next()?;
        let byte = match character {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '\\' => b'\\',
            'x' => u8::try_from(self.code(2, 16)?).ok()?,
            '0'..='7' => {
                let high = character.to_digit(8)? * 64;
                u8::try_from(high + self.code(2, 8)?).ok()?
            }
            'u' | 'U' => {
                let length = if character == 'u' { 4 } else { 8 };
                push(bytes, char::from_u32(self.code(length, 16)?)?);
                return Some(());
            }
            _ if character == quote => u8::try_from(quote).ok()?,
            _ => return None,
        };
        bytes.push(byte);
        Some(())
    }

    /// Exactly `length` digits.
    fn code(&mut self, length: usize, radix: u32) -> Option<u32> {
        (0..length).try_fold(0_u32, |code, _| {
            let digit = self.peek()?.to_digit(radix)?;
            self.next();
            code.checked_mul(radix)?.checked_add(digit)
        })
    }
}

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn integer(digits: &str) -> Token {
    let reason = if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        match digits.parse() {
            Ok(number) => return Token::Integer(number),
            Err(_) => "value out of range",
        }
    } else {
        "invalid syntax"
    };
    Token::Bad(format!("strconv.Atoi: parsing \"{digits}\": {reason}"))
}

fn float(digits: &str) -> Token {
    let reason = match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => return Token::Float(number),
        Ok(_) => "value out of range",
        Err(_) => "invalid syntax",
    };
    Token::Bad(format!("strconv.ParseFloat: parsing \"{digits}\": {reason}"))
}

fn is_duration_character(character: char) -> bool {
    character.is_ascii_digit() || ".nuµμmshdwy".contains(character)
}

/// The whole-number form with days, weeks and years, else Go's form.
fn duration(text: &str) -> Option<i64> {
    whole_duration(text).or_else(|| parse_go_duration(text).ok())
}

fn whole_duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut nanos = 0_i64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        let after_digits = &rest[digits..];
        let unit = after_digits.find(|c: char| c.is_ascii_digit()).unwrap_or(after_digits.len());
        let (_, unit_nanos) = units.find(|(name, _)| *name == &after_digits[..unit])?;
        nanos = nanos.checked_add(count.checked_mul(*unit_nanos)?)?;
        rest = &after_digits[unit..];
    }
    Some(nanos)
}
