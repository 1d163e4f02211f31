//! Damaged text in JSON. JavaScript cuts texts between the two halves of a surrogate pair and writes what is left
//! (`"\ud83d"`); other senders write bytes that are no UTF-8. Each becomes U+FFFD, as over protobuf, so that a request is not
//! lost for a character.

/// What stands for what cannot be read.
const REPLACEMENT: &str = r"\ufffd";

/// The same JSON without what no text can hold. Only for JSON that could not be read: this copies it.
pub(crate) fn mended(json: &[u8]) -> Vec<u8> {
    let json = String::from_utf8_lossy(json);
    let mut out = String::with_capacity(json.len());
    let mut rest = &*json;
    while let Some(start) = rest.find('\\') {
        let (before, escape) = rest.split_at(start);
        let (kept, length) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&escape[..12], 12),
            (Some(0xd800..=0xdfff), _) => (REPLACEMENT, 6),
            // an escaped backslash begins no other escape
            _ => {
                let length = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
                (&escape[..length], length)
            }
        };
        out.push_str(before);
        out.push_str(kept);
        rest = &escape[length..];
    }
    out.push_str(rest);
    out.into_bytes()
}

/// The UTF-16 unit of the `\u` escape at the start of a text.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_pairs_and_bytes_that_are_no_text_are_replaced_and_nothing_else() {
        for (json, expected) in [
            (&br#""cut \ud83d""#[..], "cut \u{fffd}"),
            (br#""\uDE00 low""#, "\u{fffd} low"),
            (br#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (br#""\ud83d\n\u00e9""#, "\u{fffd}\n\u{e9}"),
            (br#""\\ud83d \ud83d\\""#, "\\ud83d \u{fffd}\\"),
            (b"\"a \xff b\"", "a \u{fffd} b"),
            (b"\"\xed\xa0\xbd\"", "\u{fffd}\u{fffd}\u{fffd}"),
            ("\"\u{e9}\"".as_bytes(), "\u{e9}"),
        ] {
            let mended = mended(json);
            assert_eq!(serde_json::from_slice::<String>(&mended).unwrap(), expected, "{}", json.escape_ascii());
        }
        for broken in [&br#""\ud83"#[..], br#"\"#, br#""\u""#, "\"\\é".as_bytes()] {
            assert!(serde_json::from_slice::<String>(&mended(broken)).is_err(), "{}", broken.escape_ascii());
        }
    }
}
