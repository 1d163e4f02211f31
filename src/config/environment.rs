//! Variables of the environment in the text of a file, with `-config.expand-env`: what Tempo's expander takes.
//!
//! | Form | What stands in its place |
//! |---|---|
//! | `${NAME}` | the value |
//! | `${NAME:-default}`, with `:=`, `:`, `:?`, `:+` or `=` in place of `:-` | the value, or the default where there is none or it is empty |
//! | `${NAME^}`, `${NAME^^}`, `${NAME,}`, `${NAME,,}` | the value with its first letter or all in upper or lower case |
//! | `${NAME/a/b}`, `${NAME//a/b}`, `${NAME/#a/b}`, `${NAME/%a/b}` | the value with the first `a`, all, that at its beginning or its end replaced by `b` |
//! | `${#NAME}` | how many bytes the value has |
//!
//! A default may have variables in it. After a bare colon Tempo takes numbers for a place in the value; here they are a
//! default, as its own documents have it.

/// A text with its variables replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub text: String,
    /// Variables that have neither a value nor a default; nothing stands in their place, as in Tempo.
    pub missing: Vec<String>,
}

/// Replaces every variable. `$$` is one dollar sign; a `${` that is never closed stays as it is.
pub(super) fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Expanded {
    expanded(text, &variable)
}

fn expanded(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Expanded {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), missing: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        expanded.text.push_str(before);
        rest = if let Some((reference, after)) = from.strip_prefix("${").and_then(closed) {
            expanded.put(reference, variable);
            after
        } else {
            expanded.text.push('$');
            from.strip_prefix("$$").or_else(|| from.strip_prefix('$')).unwrap_or_default()
        };
    }
    expanded.text.push_str(rest);
    expanded
}

/// What stands before the brace that closes the one before this text, and what behind it.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut open = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => open += 1,
            '}' if open == 0 => return Some((&text[..at], &text[at + 1..])),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

impl Expanded {
    fn put(&mut self, reference: &str, variable: &dyn Fn(&str) -> Option<String>) {
        if let Some(name) = reference.strip_prefix('#') {
            let value = self.value(name, variable);
            return self.text.push_str(&value.len().to_string());
        }
        let end = reference.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(reference.len());
        let (name, form) = reference.split_at(end);
        if let Some(default) = default_of(form) {
            match variable(name).filter(|value| !value.is_empty()) {
                Some(value) => self.text.push_str(&value),
                None => {
                    let default = expanded(default, variable);
                    self.text.push_str(&default.text);
                    self.missing.extend(default.missing);
                }
            }
            return;
        }
        let value = self.value(name, variable);
        match changed(&value, form) {
            Some(changed) => self.text.push_str(&changed),
            None => self.missing.push(reference.to_owned()),
        }
    }

    /// The value of a variable; nothing, and a note, where it has none.
    fn value(&mut self, name: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
        variable(name).unwrap_or_else(|| {
            self.missing.push(name.to_owned());
            String::new()
        })
    }
}

/// The default in what stands behind a name, if that is a form with one.
fn default_of(form: &str) -> Option<&str> {
    [":-", ":=", ":?", ":+", "=", ":"].into_iter().find_map(|sign| form.strip_prefix(sign))
}

/// A value in the form that stands behind its name; `None` for a form that is not known.
fn changed(value: &str, form: &str) -> Option<String> {
    let with_first = |change: fn(char) -> String| {
        let mut rest = value.chars();
        rest.next().map(change).unwrap_or_default() + rest.as_str()
    };
    Some(match form {
        "" => value.to_owned(),
        "^^" => value.to_uppercase(),
        ",," => value.to_lowercase(),
        "^" => with_first(|c| c.to_uppercase().collect()),
        "," => with_first(|c| c.to_lowercase().collect()),
        _ => {
            let (pattern, replacement) = form.strip_prefix('/')?.rsplit_once('/')?;
            match pattern.split_at_checked(1)? {
                ("/", pattern) => value.replace(pattern, replacement),
                ("#", pattern) => {
                    value.strip_prefix(pattern).map_or_else(|| value.to_owned(), |rest| format!("{replacement}{rest}"))
                }
                ("%", pattern) => {
                    value.strip_suffix(pattern).map_or_else(|| value.to_owned(), |rest| format!("{rest}{replacement}"))
                }
                _ => value.replacen(pattern, replacement, 1),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_by_their_values_or_defaults() {
        let variable = |name: &str| match name {
            "BUCKET" => Some("traces".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let of = |text: &str| expand(text, variable);
        for (text, expected) in [
            ("bucket: ${BUCKET}\n", "bucket: traces\n"),
            ("a: ${GONE:-x:y} b: ${GONE:z} c: ${EMPTY:-d}", "a: x:y b: z c: d"),
            ("a: ${EMPTY}|${GONE:-}", "a: |"),
            ("cost: $5, $${BUCKET}, $", "cost: $5, ${BUCKET}, $"),
            ("open: ${BUCKET", "open: ${BUCKET"),
            (
                "a: ${GONE:=x} b: ${GONE=y} c: ${BUCKET:=z} d: ${EMPTY:?e} e: ${GONE:3200}",
                "a: x b: y c: traces d: e e: 3200",
            ),
            ("a: ${GONE:-${BUCKET}/x} b: ${GONE:-${EMPTY:-{}}", "a: traces/x b: {"),
            ("${BUCKET^} ${BUCKET^^} ${BUCKET,,} ${#BUCKET}", "Traces TRACES traces 6"),
            (
                "${BUCKET/a/o} ${BUCKET//e/} ${BUCKET/#tr/g} ${BUCKET/%es/er} ${BUCKET/%x/y}",
                "troces tracs gaces tracer traces",
            ),
        ] {
            assert_eq!((of(text).text.as_str(), of(text).missing.len()), (expected, 0), "{text}");
        }
        assert_eq!(of("${BUCKET%s}").missing, ["BUCKET%s"], "what is not known is told");
        assert_eq!(of("a: '${GONE}'"), Expanded { text: "a: ''".to_owned(), missing: vec!["GONE".to_owned()] });
    }
}
