//! Patterns of `=~` and `!~`: RE2's syntax in, a compiled [`Regex`] out.
//!
//! The `regex` crate descends from RE2 and reads nearly the same syntax. Where the two differ in what a pattern that
//! both read would match, or where users write what only RE2 reads, the pattern is respelled:
//!
//! | RE2 | here |
//! |---|---|
//! | `\d \w \s` are ASCII | spelled out as classes |
//! | `{` that begins no repetition is a brace (`/users/{id}`) | `\{` |
//! | `[`, `&&`, `--`, `~~` in a class are characters | escaped |
//! | `\Q...\E` quotes | escaped |

use regex::{Regex, RegexBuilder};

use crate::error::Error;
use crate::value::Static;

/// How large a compiled pattern may be, in bytes.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Compiles a pattern that must match a whole value, in which `.` matches a line break, too.
pub fn anchored_regex(pattern: &str) -> Result<Regex, Error> {
    let invalid = || Error::InvalidRegex(Static::String(pattern.to_owned()).to_string());
    let respelled = respell(pattern).ok_or_else(invalid)?;
    RegexBuilder::new(&format!(r"\A(?s:{respelled})\z")).size_limit(MAX_COMPILED_BYTES).build().map_err(|_| invalid())
}

/// The pattern as the `regex` crate wants it; `None` if it closes a group that it did not open, which would end ours.
fn respell(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut open_groups = 0_usize;
    while let Some(character) = rest.chars().next() {
        rest = match character {
            '\\' => escape(rest, &mut out),
            '[' => class(rest, &mut out),
            '{' if !is_repetition(rest) => literal(rest, &mut out),
            _ => {
                match character {
                    '(' => open_groups += 1,
                    ')' => open_groups = open_groups.checked_sub(1)?,
                    _ => {}
                }
                copy(rest, &mut out)
            }
        };
    }
    Some(out)
}

/// Copies the first character; returns the text after it.
fn copy<'p>(text: &'p str, out: &mut String) -> &'p str {
    let mut characters = text.chars();
    out.extend(characters.next());
    characters.as_str()
}

/// Copies the first character, escaped.
fn literal<'p>(text: &'p str, out: &mut String) -> &'p str {
    out.push('\\');
    copy(text, out)
}

/// Copies an escape; classes that are Unicode's here and ASCII's in RE2 are spelled out.
fn escape<'p>(text: &'p str, out: &mut String) -> &'p str {
    if let Some(quoted) = text.strip_prefix(r"\Q") {
        let (quoted, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(quoted));
        return rest;
    }
    let ascii_class = match text.as_bytes().get(1) {
        Some(b'd') => "[0-9]",
        Some(b'D') => "[^0-9]",
        Some(b'w') => "[0-9A-Za-z_]",
        Some(b'W') => "[^0-9A-Za-z_]",
        Some(b's') => r"[\t\n\f\r ]",
        Some(b'S') => r"[^\t\n\f\r ]",
        _ => return copy(copy(text, out), out),
    };
    out.push_str(ascii_class);
    &text[2..]
}

/// Copies a class up to its closing bracket.
fn class<'p>(text: &'p str, out: &mut String) -> &'p str {
    let mut rest = copy(text, out);
    if rest.starts_with('^') {
        rest = copy(rest, out);
    }
    if rest.starts_with(']') {
        rest = literal(rest, out); // a closing bracket that comes first is a member
    }
    while let Some(character) = rest.chars().next() {
        rest = match character {
            ']' => return copy(rest, out),
            '\\' => escape(rest, out),
            '[' if rest.starts_with("[:") && rest.contains(":]") => {
                let end = rest.find(":]").map_or(rest.len(), |end| end + 2);
                out.push_str(&rest[..end]);
                &rest[end..]
            }
            '[' | '&' | '~' => literal(rest, out),
            '-' if rest.starts_with("--") => literal(rest, out),
            _ => copy(rest, out),
        };
    }
    rest
}

/// Whether the brace at the start of the text begins `{2}`, `{2,}` or `{2,5}`.
fn is_repetition(text: &str) -> bool {
    let Some((bounds, _)) = text[1..].split_once('}') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match bounds.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(bounds),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        anchored_regex(pattern).unwrap().is_match(text)
    }

    #[test]
    fn patterns_match_whole_values() {
        assert!(!matches("ca", "call"));
        assert!(matches("ca.*", "call"));
        assert!(matches("a|bc", "bc"));
        assert!(matches("a.b", "a\nb"));
        assert!(matches("(?i)GET", "get"));
        assert!(!matches("", "x"));
        assert!(matches("", ""));
        assert!(matches("k{1000}k{1000}", &"k".repeat(2000)));
    }

    #[test]
    fn classes_are_those_of_re2() {
        assert!(!matches(r"\d", "٣"));
        assert!(!matches(r"\w+", "größe"));
        assert!(matches(r"[^\s\d]+", "größe"));
        assert!(matches(r"[[:alpha:][]+", "a[b"));
        assert!(matches("[&&a~~--]+", "&a~-"));
        assert!(matches("[]a]+", "]a"));
        assert!(matches(r"\Qa.b(\E.", "a.b(c"));
    }

    #[test]
    fn braces_that_repeat_nothing_are_characters() {
        assert!(matches("/users/{id}/.*", "/users/{id}/cart"));
        assert!(matches("a{2,3}", "aaa"));
        assert!(matches("a{,3}", "a{,3}"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["[", "(?<x", "(?!x).*", "a)|(b", "*", r"\", r".{1000}{1000}"] {
            let error = anchored_regex(pattern).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid regex: `{pattern}`"));
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "\\PC*|[\\[\\](){}\\\\dQE^&:a,0-9-]{0,20}") {
            let _ = anchored_regex(&pattern);
        }
    }
}
