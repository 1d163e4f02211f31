//! Texts of a language, bent token by token.

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::one_of;

/// What no corpus has: ends of ranges, odd characters, openings without an end.
const ODD: [&str; 24] = [
    "",
    "\"",
    "`",
    "\\",
    "/*",
    "//",
    "\u{0}",
    "\u{feff}",
    "é",
    "🔑",
    "\u{202e}",
    "-",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "1e999",
    "0.",
    ".",
    "..",
    "1ns",
    "106751d",
    "nil",
    "[",
    "(?",
];
/// Mostly shallow; now and then deeper than anyone writes.
const DEPTHS: [usize; 6] = [1, 2, 3, 8, 100, 3000];

/// One of the texts after a few changes.
pub fn bend(random: &mut SmallRng, corpus: &[impl AsRef<str>]) -> String {
    let mut tokens = tokens(one_of(random, corpus).as_ref());
    for _ in 0..random.random_range(0..6_u32) {
        let other = self::tokens(one_of(random, corpus).as_ref());
        change(random, &mut tokens, &other);
    }
    tokens.concat()
}

/// Words and numbers, quoted texts, white space, and single characters of all else.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let (mut quote, mut last) = (None, ' ');
    for character in text.chars() {
        let is_word = |character: char| character.is_alphanumeric() || character == '_' || character == '.';
        let continues =
            quote.is_some() || is_word(character) && is_word(last) || character.is_whitespace() && last.is_whitespace();
        match tokens.last_mut().filter(|_| continues) {
            Some(token) => token.push(character),
            None => tokens.push(character.to_string()),
        }
        quote = match quote {
            Some(open) if character == open && last != '\\' => None,
            None if character == '"' || character == '`' => Some(character),
            same => same,
        };
        // so that nothing is joined to a text that ended
        last = if quote.is_none() && matches!(character, '"' | '`') { '"' } else { character };
    }
    tokens
}

fn change(random: &mut SmallRng, tokens: &mut Vec<String>, other: &[String]) {
    if tokens.is_empty() || other.is_empty() {
        return tokens.extend_from_slice(other);
    }
    let at = random.random_range(0..tokens.len());
    let end = (at + random.random_range(1..5)).min(tokens.len());
    match random.random_range(0..9) {
        0 => drop(tokens.drain(at..end)),
        1 => drop(tokens.splice(at..at, other[random.random_range(0..other.len())..].iter().take(4).cloned())),
        2 => tokens[at] = one_of(random, other).clone(),
        // of the same sort, so that the text stays one of the language more often
        3 | 4 => {
            let alike: Vec<&String> = other.iter().filter(|token| sort(token) == sort(&tokens[at])).collect();
            if !alike.is_empty() {
                tokens[at] = (*one_of(random, &alike)).clone();
            }
        }
        5 => {
            let piece = tokens[at..end].to_vec();
            tokens.splice(at..at, piece);
        }
        6 => tokens[at] = (*one_of(random, &ODD)).to_owned(),
        7 => {
            let (open, close) = *one_of(random, &[("(", ")"), ("{", "}"), ("!", ""), ("-", ""), ("[", "]")]);
            let depth = *one_of(random, &DEPTHS);
            tokens.insert(end, close.repeat(depth));
            tokens.insert(at, open.repeat(depth));
        }
        _ => {
            let second = random.random_range(0..tokens.len());
            tokens.swap(at, second);
        }
    }
}

fn sort(token: &str) -> u8 {
    match token.chars().next() {
        Some('"' | '`') => 0,
        Some(first) if first.is_ascii_digit() => 1,
        Some(first) if first.is_alphabetic() || first == '.' => 2,
        Some(first) if first.is_whitespace() => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_text() {
        let text = "{ span.a = \"x \\\" y\" && `b c` }| by(1.5)";
        let tokens = tokens(text);
        assert_eq!(tokens.concat(), text);
        assert!(tokens.contains(&"\"x \\\" y\"".to_owned()) && tokens.contains(&"span.a".to_owned()), "{tokens:?}");
    }
}
