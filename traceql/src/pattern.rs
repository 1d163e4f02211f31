//! Patterns of `=~` and `!~`: RE2's syntax and meaning in, something that tests values out.
//!
//! A list of literal texts (`cart|checkout|pay`, as Grafana writes a variable with several values) is a set; all else is an
//! automaton of the `regex` crate, for which `re2.rs` respells the pattern.

mod re2;

use std::collections::HashSet;

use regex::{Regex, RegexBuilder};

use self::re2::Refused;
use crate::error::Error;
use crate::limits::MAX_COMPILED_BYTES;
use crate::value::Static;

/// A compiled pattern, which matches whole values.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// One of these texts.
    Set(HashSet<Box<str>>),
    Automaton(Regex),
}

impl Pattern {
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Set(texts) => texts.contains(text),
            Self::Automaton(regex) => regex.is_match(text),
        }
    }
}

/// Compiles a pattern that must match a whole value, in which `.` matches a line break, too.
pub fn anchored_regex(pattern: &str) -> Result<Pattern, Error> {
    if let Some(texts) = literal_texts(pattern) {
        return Ok(Pattern::Set(texts));
    }
    let shown = || Static::String(pattern.to_owned()).to_string();
    let respelled = re2::respell(pattern).map_err(|refused| match refused {
        Refused::Syntax => Error::InvalidRegex(shown()),
        Refused::Repeats => Error::RegexRepeats(shown()),
    })?;
    let compiled = RegexBuilder::new(&format!(r"\A(?s:{respelled})\z")).size_limit(MAX_COMPILED_BYTES).build();
    compiled.map(Pattern::Automaton).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Error::RegexTooLarge(pattern.len()),
        _ => Error::InvalidRegex(shown()),
    })
}

/// The texts of a pattern that is nothing but texts between bars, in one group or in none.
fn literal_texts(pattern: &str) -> Option<HashSet<Box<str>>> {
    let inner = pattern.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    let inner = inner.map(|inner| inner.strip_prefix("?:").unwrap_or(inner)).unwrap_or(pattern);
    let mut texts = HashSet::new();
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '|' => {
                texts.insert(std::mem::take(&mut text).into_boxed_str());
            }
            '\\' => text.push(characters.next().filter(char::is_ascii_punctuation)?),
            '.' | '[' | ']' | '(' | ')' | '{' | '}' | '*' | '+' | '?' | '^' | '$' => return None,
            _ => text.push(character),
        }
    }
    texts.insert(text.into_boxed_str());
    Some(texts)
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
        assert!(matches("/users/{id}/.*", "/users/{id}/cart"));
    }

    #[test]
    fn lists_of_texts_are_sets_however_they_are_written() {
        for pattern in [r"a\.b|c d|/x-y", r"(a\.b|c d|/x-y)", r"(?:a\.b|c d|/x-y)"] {
            assert!(matches!(anchored_regex(pattern).unwrap(), Pattern::Set(texts) if texts.len() == 3), "{pattern}");
            assert!(matches(pattern, "a.b") && matches(pattern, "c d") && matches(pattern, "/x-y"), "{pattern}");
            assert!(!matches(pattern, "axb") && !matches(pattern, ""), "{pattern}");
        }
        assert!(matches("a|", "") && matches("()", "") && matches("(|a)", "a"));
        for pattern in ["(a|b)c", "(a)|(b)", "a.b|c", r"\d|a", r"a|\Q.\E"] {
            assert!(matches!(anchored_regex(pattern).unwrap(), Pattern::Automaton(_)), "{pattern}");
        }
    }

    #[test]
    fn a_variable_with_two_thousand_long_values_is_a_pattern() {
        let names: Vec<String> = (0..2000).map(|number| format!("{number:k>60}")).collect();
        let pattern = names.join("|");
        assert!(names.iter().all(|name| matches(&pattern, name)) && !matches(&pattern, &names[0][1..]));
    }

    #[test]
    fn what_is_too_large_says_so_and_names_the_limit() {
        let pattern = r"\pL{1000}";
        let error = anchored_regex(pattern).unwrap_err().to_string();
        let limit = "invalid regex: its 9 bytes would take more than 1048576 bytes compiled; ";
        assert_eq!(error, format!("{limit}use fewer alternatives or smaller repetitions"));
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["[", "(?<x", "(?!x).*", "a)|(b", "*", r"\", r".{10}{10}", "a{2,1}", "a{2001,1}"] {
            let error = anchored_regex(pattern).unwrap_err();
            assert_eq!(error.to_string(), format!("invalid regex: `{pattern}`"));
        }
    }

    #[test]
    fn what_repeats_too_often_says_so_and_names_the_limit() {
        for pattern in ["a{1001}", "a{2,1001}", "a{1001,}", "(a{100}){11}", "((a{10}b){20}c){10}"] {
            let error = anchored_regex(pattern).unwrap_err().to_string();
            let wanted =
                format!("invalid regex: `{pattern}` repeats more than 1000 times, nested repetitions multiplied; ");
            assert_eq!(error, wanted + "repeat fewer times, or use `*`");
        }
        assert!(matches("(a{100}){10}", &"a".repeat(1000)));
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "\\PC*|[\\[\\](){}\\\\dQEpPx^&:a,0-9?<*-]{0,20}") {
            if let Ok(compiled) = anchored_regex(&pattern) {
                compiled.is_match("a");
            }
        }
    }
}
