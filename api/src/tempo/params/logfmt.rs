//! logfmt, the text of `tags=`: `key=value key2="a \"quoted\" value" flag`.

/// Key and value of every tag, in order. A key without a value has the empty one.
pub(in crate::tempo) fn parse_tags(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let position = text.len() - rest.len() + 1;
        let (key, after_key) = rest.split_at(rest.find(|c| is_blank(c) || "=\"".contains(c)).unwrap_or(rest.len()));
        if key.is_empty() || after_key.starts_with('"') {
            let found = if key.is_empty() { rest.chars().next() } else { Some('"') };
            let found = found.expect("the text is not at its end");
            let position = position + key.len();
            return Err(format!("logfmt syntax error at pos {position} on line 1: unexpected {found:?}"));
        }
        let (value, after_value) = match after_key.strip_prefix('=') {
            Some(value) => split_value(value).ok_or("logfmt syntax error: unterminated quoted value")?,
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

/// logfmt takes everything up to the space as a separator.
fn is_blank(character: char) -> bool {
    character <= ' '
}

/// A bare value ends at a blank, a quoted one at its quote. `None` if the quote is missing.
fn split_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(is_blank).unwrap_or(text.len()));
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[index + 1..])),
            '\\' => value.push(unescape(characters.next()?.1)),
            _ => value.push(character),
        }
    }
    None
}

fn unescape(character: char) -> char {
    match character {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        other => other,
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
        check("a=b=c", &[("a", "b=c")]);
        check("ключ=значение", &[("ключ", "значение")]);
    }

    #[test]
    fn bad_tags_say_why() {
        let problem = |text: &str| parse_tags(text).unwrap_err();
        assert_eq!(problem("a=1 a=2"), "tag a has been set twice");
        assert_eq!(problem("=x"), "logfmt syntax error at pos 1 on line 1: unexpected '='");
        assert_eq!(problem("a\"b"), "logfmt syntax error at pos 2 on line 1: unexpected '\"'");
        assert_eq!(problem(r#"a="x"#), "logfmt syntax error: unterminated quoted value");
    }
}
