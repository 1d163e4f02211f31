//! `${VARIABLE}` and `${VARIABLE:default}` (also `:-`) in the text of a file, with `-config.expand-env`.

/// A text with its variables replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub text: String,
    /// Variables that have neither a value nor a default; nothing stands in their place, as in Tempo.
    pub missing: Vec<String>,
}

/// Replaces every variable. `$$` is one dollar sign; a `${` that is never closed stays as it is.
pub(super) fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Expanded {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), missing: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        expanded.text.push_str(before);
        let reference = from.strip_prefix("${").and_then(|inner| inner.split_once('}'));
        rest = if let Some((reference, after)) = reference {
            expanded.put(reference, &variable);
            after
        } else {
            expanded.text.push('$');
            from.strip_prefix("$$").or_else(|| from.strip_prefix('$')).unwrap_or_default()
        };
    }
    expanded.text.push_str(rest);
    expanded
}

impl Expanded {
    fn put(&mut self, reference: &str, variable: impl Fn(&str) -> Option<String>) {
        let (name, default) = match reference.split_once(':') {
            Some((name, default)) => (name, Some(default.strip_prefix('-').unwrap_or(default))),
            None => (reference, None),
        };
        let value = variable(name).filter(|value| !value.is_empty() || default.is_none());
        match value.as_deref().or(default) {
            Some(value) => self.text.push_str(value),
            None => self.missing.push(name.to_owned()),
        }
    }
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
        ] {
            assert_eq!((of(text).text.as_str(), of(text).missing.len()), (expected, 0), "{text}");
        }
        assert_eq!(of("a: '${GONE}'"), Expanded { text: "a: ''".to_owned(), missing: vec!["GONE".to_owned()] });
    }
}
