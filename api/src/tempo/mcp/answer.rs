//! What a tool says: a document in Tempo's form, and below it what was left out and what to ask next.

use serde_json::{Value, json};

use super::bounded::fit;

/// About sixteen thousand tokens: a few such answers fit what a model reads at once.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What a tool found.
pub(super) struct Found {
    pub text: String,
    /// Tempo's name for what it is: `_meta.type`.
    pub kind: &'static str,
    pub encoding: &'static str,
    pub version: &'static str,
    /// What to ask next.
    pub next: Vec<String>,
}

impl Found {
    pub(super) fn json(kind: &'static str, version: &'static str, text: String) -> Self {
        Self { text, kind, encoding: "json", version, next: Vec::new() }
    }

    pub(super) fn next(self, next: Vec<String>) -> Self {
        Self { next, ..self }
    }

    /// The first content is the document, as Tempo's only one is; what is said about it stands in a second.
    pub(super) fn into_result(self) -> Value {
        let (text, left_out) = match self.encoding {
            "json" => {
                let fitted = fit(self.text, MAX_ANSWER_BYTES);
                (fitted.text, fitted.left_out)
            }
            // a document of ours, which is read whole
            _ => (self.text, Vec::new()),
        };
        let is_cut = !left_out.is_empty();
        let said = said(&left_out, &self.next);
        let contents = std::iter::once(text).chain(said).map(|text| json!({ "type": "text", "text": text }));
        let mut meta = json!({ "type": self.kind, "encoding": self.encoding, "version": self.version });
        if is_cut {
            meta["truncated"] = true.into();
        }
        json!({ "content": contents.collect::<Vec<_>>(), "_meta": meta })
    }
}

fn said(left_out: &[String], next: &[String]) -> Option<String> {
    let cut = (!left_out.is_empty())
        .then(|| format!("Left out, so that the answer fits {MAX_ANSWER_BYTES} bytes: {}.", left_out.join(", ")));
    let next = (!next.is_empty()).then(|| format!("To ask next:\n- {}", next.join("\n- ")));
    let said: Vec<String> = cut.into_iter().chain(next).collect();
    (!said.is_empty()).then(|| said.join("\n"))
}

/// A question that could not be answered: the model reads why and asks again.
pub(super) fn failed(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }], "isError": true })
}
