//! JSON as Tempo writes it: proto3 JSON of an old Go marshaller. Its rules live here; the messages in `messages.rs` and
//! `otlp.rs`. It is not OTLP/JSON: ids are base64 and enums are names.
//!
//! Zero scalars, empty texts and empty lists are left out; 64-bit integers are texts; keys come in the order written.

mod messages;
mod otlp;

use std::fmt::{Display, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

pub(super) use self::messages::ToJson;

/// A growing JSON text.
#[derive(Debug, Default)]
pub(super) struct Json {
    text: String,
}

/// An object that is being written.
pub(super) struct Object<'j> {
    json: &'j mut Json,
    is_empty: bool,
}

impl Json {
    pub(super) fn of(message: &impl ToJson) -> String {
        let mut json = Self::default();
        message.write(&mut json);
        json.text
    }

    fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        self.text.push('{');
        fill(&mut Object { json: self, is_empty: true });
        self.text.push('}');
    }

    fn array<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.text.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
        self.text.push(']');
    }

    /// Go's escapes: HTML's special characters and JavaScript's line ends too.
    fn string(&mut self, value: &str) {
        self.text.push('"');
        let mut plain_from = 0;
        for (index, character) in value.char_indices() {
            let escape = match character {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => "",
                _ => continue,
            };
            self.text.push_str(&value[plain_from..index]);
            plain_from = index + character.len_utf8();
            match escape {
                "" => self.literal(format_args!("\\u{:04x}", u32::from(character))),
                short => self.text.push_str(short),
            }
        }
        self.text.push_str(&value[plain_from..]);
        self.text.push('"');
    }

    /// The shortest decimal that reads back the same, with an exponent where Go uses one; what is no number is a text.
    fn double(&mut self, value: f64) {
        let size = value.abs();
        if value.is_nan() {
            self.string("NaN");
        } else if value.is_infinite() {
            self.string(if value > 0.0 { "Infinity" } else { "-Infinity" });
        } else if size >= 1e21 {
            self.text.push_str(&format!("{value:e}").replace('e', "e+"));
        } else if size != 0.0 && size < 1e-6 {
            self.literal(format_args!("{value:e}"));
        } else {
            self.literal(value);
        }
    }

    fn bytes(&mut self, value: &[u8]) {
        self.text.push('"');
        BASE64.encode_string(value, &mut self.text);
        self.text.push('"');
    }

    /// A 64-bit integer, which is a text.
    fn wide(&mut self, value: impl Display) {
        self.literal(format_args!("\"{value}\""));
    }

    fn literal(&mut self, value: impl Display) {
        write!(self.text, "{value}").expect("writing to memory does not fail");
    }
}

impl Object<'_> {
    /// Begins a member that is there whatever its value.
    fn member(&mut self, name: &str) -> &mut Json {
        if !self.is_empty {
            self.json.text.push(',');
        }
        self.is_empty = false;
        self.json.string(name);
        self.json.text.push(':');
        self.json
    }

    fn string(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.member(name).string(value);
        }
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.member(name).bytes(value);
        }
    }

    fn uint32(&mut self, name: &str, value: u32) {
        if value != 0 {
            self.member(name).literal(value);
        }
    }

    fn uint64(&mut self, name: &str, value: u64) {
        if value != 0 {
            self.member(name).wide(value);
        }
    }

    fn int64(&mut self, name: &str, value: i64) {
        if value != 0 {
            self.member(name).wide(value);
        }
    }

    fn double(&mut self, name: &str, value: f64) {
        if value != 0.0 {
            self.member(name).double(value);
        }
    }

    /// The name of an enum member, or the number of one that has no name.
    fn enumeration(&mut self, name: &str, value: i32, name_of: impl FnOnce(i32) -> Option<&'static str>) {
        match name_of(value) {
            _ if value == 0 => {}
            Some(member) => self.member(name).string(member),
            None => self.member(name).literal(value),
        }
    }

    /// Left out when empty.
    fn list<T>(&mut self, name: &str, items: &[T], write: impl FnMut(&mut Json, &T)) {
        if !items.is_empty() {
            self.member(name).array(items, write);
        }
    }

    /// There even when empty.
    fn full_list<T>(&mut self, name: &str, items: &[T], write: impl FnMut(&mut Json, &T)) {
        self.member(name).array(items, write);
    }
}

#[cfg(test)]
mod tests;
