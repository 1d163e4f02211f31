//! Names and values that make a series.

use std::sync::Arc;

use crate::limits::Limits;

/// Labels of a series, by name, without empty values. Cheap to clone.
pub type LabelSet = Arc<[(Arc<str>, Arc<str>)]>;

/// The labels of what is beyond a limit.
pub(crate) fn overflow() -> LabelSet {
    Arc::from([("metric_overflow".into(), "true".into())])
}

/// Puts labels together. Of a name that is given twice the last value counts; an empty one takes the label away.
pub(crate) struct LabelBuilder<'l> {
    limits: &'l Limits,
    labels: Vec<(String, String)>,
}

impl<'l> LabelBuilder<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self { limits, labels: Vec::with_capacity(8) }
    }

    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        let mut value = value.into();
        truncate(&mut value, self.limits.max_label_value_bytes);
        let mut name = name.to_owned();
        truncate(&mut name, self.limits.max_label_name_bytes);
        match self.labels.binary_search_by(|(other, _)| other.as_str().cmp(&name)) {
            Ok(at) => self.labels[at].1 = value,
            Err(at) => self.labels.insert(at, (name, value)),
        }
    }

    pub(crate) fn build(self) -> LabelSet {
        let labels = self.labels.into_iter().filter(|(_, value)| !value.is_empty());
        labels.map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// Cuts a text off at a character; zero is no limit.
fn truncate(text: &mut String, most_bytes: usize) {
    if most_bytes > 0 && text.len() > most_bytes {
        text.truncate(text.floor_char_boundary(most_bytes));
    }
}

/// An attribute's name as a label name: letters, digits and underscores.
pub(crate) fn label_name(attribute: &str) -> String {
    let is_allowed = |(at, character): (usize, char)| {
        character.is_ascii_alphabetic() || character == '_' || at > 0 && character.is_ascii_digit()
    };
    attribute.char_indices().map(|(at, character)| if is_allowed((at, character)) { character } else { '_' }).collect()
}

/// The same; a name that a label of Tempo's has already gets two underscores before it.
pub(crate) fn label_name_beside(attribute: &str, taken: &[&str]) -> String {
    let name = label_name(attribute);
    if taken.contains(&name.as_str()) { format!("__{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_names_become_label_names() {
        assert_eq!(label_name("http.request.method"), "http_request_method");
        assert_eq!(label_name("1st-ключ"), "_st_____");
        assert_eq!(label_name_beside("span.name", &["span_name"]), "__span_name");
    }

    #[test]
    fn the_last_value_counts_and_an_empty_one_takes_the_label_away() {
        let limits = Limits { max_label_value_bytes: 4, ..Limits::default() };
        let mut builder = LabelBuilder::new(&limits);
        for (name, value) in [("b", "one"), ("a", "éé longer"), ("c", "x"), ("b", "two"), ("c", "")] {
            builder.add(name, value);
        }
        let labels = builder.build();
        let shown: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(shown, [("a", "éé"), ("b", "two")]);
    }
}
