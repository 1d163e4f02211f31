//! Patterns mean what they mean to RE2: `re2.tsv` has a pattern a line and the texts that it matches, as Go's `regexp`
//! (1.26) says of `\A(?s:PATTERN)\z`, or `refused`.

use traceql::anchored_regex;

const TEXTS: [&str; 56] = [
    "", "a", "b", "c", "A", "B", "K", "k", "\u{212a}", "ſ", "s", "z", "é", "Ω", "α", "1", "8", "٣", " ", "\n", "\u{b}",
    "\u{7}", "_", "-", "^", "$", ".", "]", "[", ":", "{", "}", "&", "~", "<", "\\", "漢", "😀", "\0", "aa", "ab", "aB",
    "ac", "aaa", "abb", "a.b", "a\n", "a]", "b]", "a{,3}", "a{01}", "a{}", "a{x}", "a\nb", "\x008", "ÿ",
];

/// A text in quotes, with code points in place of what would hide.
fn quoted(text: &str) -> String {
    let shown =
        |c: char| if c < ' ' || c == '"' || c == '\\' { format!("\\u{{{:x}}}", u32::from(c)) } else { c.to_string() };
    format!("\"{}\"", text.chars().map(shown).collect::<String>())
}

#[test]
fn patterns_match_what_they_match_in_re2() {
    let mut wrong = Vec::new();
    for line in include_str!("re2.tsv").lines() {
        let (pattern, expected) = line.split_once('\t').unwrap();
        let found = match anchored_regex(pattern) {
            Ok(compiled) => TEXTS
                .iter()
                .filter(|text| compiled.is_match(text))
                .map(|text| quoted(text))
                .collect::<Vec<_>>()
                .join(" "),
            Err(_) => "refused".to_owned(),
        };
        if found != expected {
            wrong.push(format!("{pattern}\n  here {found}\n  RE2  {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
