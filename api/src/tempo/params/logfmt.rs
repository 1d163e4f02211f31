//! logfmt, the text of `tags=`: `key=value key2="a \"quoted\" value" flag`.
//!
//! What is refused, and in which words, is as in the library that Tempo reads it with; positions are bytes, from 1.

/// Key and value of every tag, in order. A key without a value has the empty one.
pub(in crate::tempo) fn parse_tags(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let here = |rest: &str| text.len() - rest.len() + 1;
        let (key, after_key) = word(rest);
        if key.is_empty() || after_key.starts_with('"') {
            return Err(unexpected(after_key, here(after_key)));
        }
        let (value, after_value) = match after_key.strip_prefix('=') {
            Some(quoted) if quoted.starts_with('"') => {
                let (inside, after_value) =
                    quoted_value(quoted).ok_or_else(|| format!("unterminated quoted value at pos {}", here("")))?;
                let value = unescape(inside).ok_or(format!("invalid quoted value at pos {}", here(after_value)))?;
                (value, after_value)
            }
            Some(bare) => {
                let (value, after_value) = word(bare);
                if after_value.starts_with(['=', '"']) {
                    return Err(unexpected(after_value, here(after_value)));
                }
                (value.to_owned(), after_value)
            }
            None => (String::new(), after_key),
        };
        if tags.iter().any(|(known, _)| known == key) {
            return Err(format!("tag {key} has been set twice"));
        }
        tags.push((key.to_owned(), value));
        rest = after_value.trim_start_matches(is_blank);
    }
    Ok(tags)
}

fn unexpected(rest: &str, position: usize) -> String {
    let character = rest.chars().next().unwrap_or_default();
    format!("unexpected {character:?} at pos {position}")
}

/// logfmt takes everything up to the space as a separator.
fn is_blank(character: char) -> bool {
    character <= ' '
}

/// Up to a blank or a character with a meaning of its own, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| is_blank(c) || "=\"".contains(c)).unwrap_or(text.len()))
}

/// What stands between the quotes, and what comes after them. `None` if the second one is missing.
fn quoted_value(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, character)| {
        let is_end = character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end
    });
    let (end, _) = end?;
    Some((&text[1..end], &text[end + 1..]))
}

/// The escapes are those of JSON. `None` if there is another one, or a control character beside one.
fn unescape(inside: &str) -> Option<String> {
    match inside.contains('\\') {
        true => serde_json::from_str(&format!("\"{inside}\"")).ok(),
        false => Some(inside.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, tags: &[(&str, &str)]) {
        let expected: Vec<(String, String)> =
            tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        assert_eq!(parse_tags(text), Ok(expected), "{text}");
    }

    #[test]
    fn tags_are_read() {
        check("", &[]);
        check("service.name=shop  http.status=500", &[("service.name", "shop"), ("http.status", "500")]);
        check(r#"fruit="apple pie" x="say \"hi\"\n""#, &[("fruit", "apple pie"), ("x", "say \"hi\"\n")]);
        check("fruit", &[("fruit", "")]);
        check("fruit= other=", &[("fruit", ""), ("other", "")]);
        check(r#"a="" b="\u00e9\\""#, &[("a", ""), ("b", "é\\")]);
        check("ключ=значение", &[("ключ", "значение")]);
    }

    #[test]
    fn bad_tags_say_why() {
        let problem = |text: &str| parse_tags(text).unwrap_err();
        assert_eq!(problem("a=1 a=2"), "tag a has been set twice");
        assert_eq!(problem("=x"), "unexpected '=' at pos 1");
        assert_eq!(problem("a\"b"), "unexpected '\"' at pos 2");
        assert_eq!(problem("service.name=foo =error"), "unexpected '=' at pos 18");
        assert_eq!(problem("service.name=foo=bar"), "unexpected '=' at pos 17");
        assert_eq!(problem("ключ=b\"c"), "unexpected '\"' at pos 11");
        assert_eq!(problem("service.name=\"foo bar"), "unterminated quoted value at pos 22");
        assert_eq!(problem(r#"a="x\""#), "unterminated quoted value at pos 7");
        assert_eq!(problem(r#"a="\x" b=c"#), "invalid quoted value at pos 7");
    }
}
