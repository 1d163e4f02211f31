//! RE2's syntax, as Go reads it, respelled for the `regex` crate.
//!
//! The crate descends from RE2 and differs in details, some of which change what a pattern matches without a word. So the
//! whole syntax is read here, and what is written uses only what both mean alike: groups without names, classes as ranges
//! of code points, `\b` of ASCII. What RE2 does not have is refused. `tests/re2.tsv` holds the two side by side.

use std::str::Chars;

use regex::Regex;

use crate::limits::MAX_REPEATS;

/// Why a pattern is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not RE2's syntax.
    Syntax,
    /// It repeats more than [`MAX_REPEATS`] times.
    Repeats,
}

const ASCII_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Matches no character.
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// The pattern as the `regex` crate wants it.
///
/// # Errors
/// When RE2 refuses it.
pub(super) fn respell(pattern: &str) -> Result<String, Refused> {
    let out = String::with_capacity(pattern.len() + 16);
    let mut writer = Writer { rest: pattern, out, groups: vec![Group::default()], refused: Refused::Syntax };
    while let Some(character) = writer.rest.chars().next() {
        writer.part(character).ok_or(writer.refused)?;
    }
    if writer.groups.len() == 1 { Ok(writer.out) } else { Err(Refused::Syntax) }
}

/// Reads what is left of the pattern and writes it anew.
struct Writer<'p> {
    rest: &'p str,
    out: String,
    /// The open groups, innermost last; the first is the pattern itself.
    groups: Vec<Group>,
    /// What it means that a part cannot be written.
    refused: Refused,
}

#[derive(Default)]
struct Group {
    /// What a repetition would repeat.
    last: Option<Atom>,
    /// The largest product of nested repetitions in this group.
    repeats: u32,
}

#[derive(Clone, Copy)]
struct Atom {
    /// Where it ends in what is written.
    end: usize,
    repeats: u32,
    is_repeated: bool,
}

impl<'p> Writer<'p> {
    fn part(&mut self, character: char) -> Option<()> {
        match character {
            '\\' => self.escape(),
            '[' => {
                let (class, rest) = class(&self.rest[1..])?;
                self.rest = rest;
                self.atom(&class);
                Some(())
            }
            '(' => self.open(),
            ')' => self.close(),
            '|' => {
                self.skip(1);
                self.out.push('|');
                self.group()?.last = None;
                Some(())
            }
            '*' | '+' | '?' => {
                self.skip(1);
                self.repeat(character.encode_utf8(&mut [0; 4]), 1)
            }
            '{' => match bounds(self.rest) {
                Some((least, most, length)) => self.counted(least, most, length),
                None => self.literal(character),
            },
            '^' | '$' | '.' => {
                self.skip(1);
                self.atom(character.encode_utf8(&mut [0; 4]));
                Some(())
            }
            _ => self.literal(character),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn group(&mut self) -> Option<&mut Group> {
        self.groups.last_mut()
    }

    /// Writes what a repetition may follow.
    fn atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.end_atom(1);
    }

    fn end_atom(&mut self, repeats: u32) {
        let end = self.out.len();
        if let Some(group) = self.groups.last_mut() {
            group.last = Some(Atom { end, repeats, is_repeated: false });
            group.repeats = group.repeats.max(repeats);
        }
    }

    fn literal(&mut self, character: char) -> Option<()> {
        self.skip(character.len_utf8());
        self.atom(&regex::escape(character.encode_utf8(&mut [0; 4])));
        Some(())
    }

    /// `(`, `(?:`, `(?P<name>`, `(?<name>`, `(?flags:`, `(?flags)`. Nobody asks for what a group matched, so none has a name.
    fn open(&mut self) -> Option<()> {
        self.skip(1);
        let Some(special) = self.rest.strip_prefix('?') else {
            self.out.push_str("(?:");
            self.groups.push(Group::default());
            return Some(());
        };
        if let Some(named) = special.strip_prefix("P<").or_else(|| special.strip_prefix('<')) {
            let (name, rest) = named.split_once('>')?;
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
            self.rest = is_name.then_some(rest)?;
            self.out.push_str("(?:");
            self.groups.push(Group::default());
            return Some(());
        }
        let (flags, opens, rest) = flags(special)?;
        self.rest = rest;
        if opens {
            self.out.push_str(&format!("(?{flags}:"));
            self.groups.push(Group::default());
        } else if !flags.is_empty() {
            self.out.push_str(&format!("(?{flags})"));
        }
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        self.skip(1);
        let group = self.groups.pop().filter(|_| !self.groups.is_empty())?;
        self.out.push(')');
        self.end_atom(group.repeats.max(1));
        Some(())
    }

    /// `{2}`, `{2,}`, `{2,5}`
    fn counted(&mut self, least: u32, most: Option<u32>, length: usize) -> Option<()> {
        let times = most.unwrap_or(least);
        if times < least {
            return None;
        }
        if times > MAX_REPEATS {
            self.refused = Refused::Repeats;
            return None;
        }
        let text = &self.rest[..length];
        self.skip(length);
        self.repeat(text, times)
    }

    /// Repeats the last atom. Flags between it and the repetition change nothing in RE2: the repetition goes before them.
    fn repeat(&mut self, operator: &str, times: u32) -> Option<()> {
        let Atom { end, repeats, is_repeated } = self.group()?.last?;
        let repeats = repeats.saturating_mul(times.max(1));
        if is_repeated {
            return None;
        }
        if repeats > MAX_REPEATS {
            self.refused = Refused::Repeats;
            return None;
        }
        // which of several matches is taken matters to nobody here
        self.rest = self.rest.strip_prefix('?').unwrap_or(self.rest);
        self.out.insert_str(end, operator);
        let group = self.group()?;
        group.last = Some(Atom { end: end + operator.len(), repeats, is_repeated: true });
        group.repeats = group.repeats.max(repeats);
        Some(())
    }

    fn escape(&mut self) -> Option<()> {
        if let Some(quoted) = self.rest.strip_prefix(r"\Q") {
            let (quoted, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            self.rest = rest;
            quoted.chars().for_each(|character| self.atom(&regex::escape(character.encode_utf8(&mut [0; 4]))));
            return Some(());
        }
        let assertion = match self.rest.as_bytes().get(1)? {
            b'A' => Some(r"\A"),
            b'z' => Some(r"\z"),
            b'b' => Some(r"(?-u:\b)"),
            b'B' => Some(r"(?-u:\B)"),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.skip(2);
            self.atom(assertion);
        } else if let Some((set, rest)) = named_set(self.rest)? {
            self.rest = rest;
            self.atom(&format!("[{set}]"));
        } else {
            let (code_point, rest) = escaped(&self.rest[1..])?;
            self.rest = rest;
            match char::from_u32(code_point) {
                Some(character) => self.atom(&regex::escape(character.encode_utf8(&mut [0; 4]))),
                None => self.atom(NOTHING),
            }
        }
        Some(())
    }
}

/// `i-s:` and `i-s)`: the flags that change, whether a group opens, and the text behind. `U` changes only which of several
/// matches is taken.
fn flags(text: &str) -> Option<(String, bool, &str)> {
    const KNOWN: [char; 4] = ['i', 'm', 's', 'U'];
    let mut changes = [None; KNOWN.len()];
    let (mut turns_on, mut seen) = (true, true);
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '-' if turns_on => (turns_on, seen) = (false, false),
            end @ (':' | ')') if seen => {
                let named = |on: bool| {
                    let of = move |(flag, change): (&char, &Option<bool>)| {
                        (*flag != 'U' && *change == Some(on)).then_some(*flag)
                    };
                    KNOWN.iter().zip(&changes).filter_map(of).collect::<String>()
                };
                let (on, off) = (named(true), named(false));
                let flags = if off.is_empty() { on } else { format!("{on}-{off}") };
                return Some((flags, end == ':', characters.as_str()));
            }
            flag => {
                *changes.get_mut(KNOWN.iter().position(|known| *known == flag)?)? = Some(turns_on);
                seen = true;
            }
        }
    }
}

/// The bounds of the repetition at the start of the text, and its length. Any other brace is a character; so is one before
/// a number with a leading zero.
fn bounds(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let (inner, _) = text[1..].split_once('}')?;
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let has_zeros = digits.len() > 1 && digits.starts_with('0');
        (is_number && !has_zeros).then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let (least, most) = match inner.split_once(',') {
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
        None => (number(inner)?, Some(number(inner)?)),
    };
    Some((least, most, inner.len() + 2))
}

/// A class from behind its opening bracket, and the text behind its closing one.
fn class(text: &str) -> Option<(String, &str)> {
    let (is_negated, mut rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
    let mut members = String::new();
    let mut is_first = true;
    loop {
        if let Some(after) = rest.strip_prefix(']').filter(|_| !is_first) {
            let class = match (members.is_empty(), is_negated) {
                (true, false) => NOTHING.to_owned(),
                (true, true) => r"[\x{0}-\x{10FFFF}]".to_owned(),
                (false, false) => format!("[{members}]"),
                (false, true) => format!("[^{members}]"),
            };
            return Some((class, after));
        }
        is_first = false;
        if let Some((name, after)) = rest.strip_prefix("[:").and_then(|named| named.split_once(":]")) {
            let is_known = ASCII_CLASSES.contains(&name.strip_prefix('^').unwrap_or(name));
            rest = is_known.then_some(after)?;
            members.push_str(&format!("[:{name}:]"));
        } else if let Some((set, after)) = named_set(rest)? {
            rest = after;
            members.push_str(&set);
        } else {
            rest = range(rest, &mut members)?;
        }
    }
}

/// `a` or `a-z` in a class. Code points that no text has are left out.
fn range<'p>(text: &'p str, members: &mut String) -> Option<&'p str> {
    let (low, mut rest) = class_character(text)?;
    let mut high = low;
    if rest.starts_with('-') && !rest.starts_with("-]") && rest.len() > 1 {
        (high, rest) = class_character(&rest[1..])?;
    }
    if high < low {
        return None;
    }
    const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
    let low = if SURROGATES.contains(&low) { SURROGATES.end() + 1 } else { low };
    let high = if SURROGATES.contains(&high) { SURROGATES.start() - 1 } else { high };
    if low <= high {
        members.push_str(&format!(r"\x{{{low:X}}}-\x{{{high:X}}}"));
    }
    Some(rest)
}

fn class_character(text: &str) -> Option<(u32, &str)> {
    match text.strip_prefix('\\') {
        Some(rest) => escaped(rest),
        None => {
            let mut characters = text.chars();
            Some((characters.next()?.into(), characters.as_str()))
        }
    }
}

/// The code point of an escape, from behind its backslash.
fn escaped(text: &str) -> Option<(u32, &str)> {
    let mut characters = text.chars();
    let code_point = match characters.next()? {
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        'x' => return hexadecimal(characters.as_str()),
        // one digit that is not 0 would be a back reference
        first @ '1'..='7' if characters.as_str().starts_with(|c: char| c.is_digit(8)) => octal(first, &mut characters),
        '0' => octal('0', &mut characters),
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => other.into(),
        _ => return None,
    };
    Some((code_point, characters.as_str()))
}

/// Three octal digits at most.
fn octal(first: char, characters: &mut Chars<'_>) -> u32 {
    let mut code_point = first.to_digit(8).unwrap_or_default();
    for _ in 0..2 {
        let Some(digit) = characters.clone().next().and_then(|c| c.to_digit(8)) else { break };
        characters.next();
        code_point = code_point * 8 + digit;
    }
    code_point
}

/// `41` and `{1F600}`
fn hexadecimal(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at_checked(2)?,
    };
    let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code_point = is_hexadecimal.then(|| u32::from_str_radix(digits, 16).ok())??;
    (code_point <= char::MAX.into()).then_some((code_point, rest))
}

/// `\d` and `\p{Greek}` at the start of the text, as members of a class, and the text behind; `Some(None)` for anything
/// else, `None` for a set that does not exist.
fn named_set(text: &str) -> Option<Option<(String, &str)>> {
    let Some(letter) = text.strip_prefix('\\').and_then(|escape| escape.chars().next()) else { return Some(None) };
    let set = match letter {
        'd' => "0-9",
        'D' => "[^0-9]",
        'w' => "0-9A-Za-z_",
        'W' => "[^0-9A-Za-z_]",
        's' => r"\t\n\f\r ",
        'S' => r"[^\t\n\f\r ]",
        'p' | 'P' => return unicode_set(letter == 'P', &text[2..]).map(Some),
        _ => return Some(None),
    };
    Some(Some((set.to_owned(), &text[2..])))
}

/// A category or a script, from behind `\p`: `L`, `{Greek}`, `{^Greek}`.
fn unicode_set(is_negated: bool, text: &str) -> Option<(String, &str)> {
    let (name, rest) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at_checked(text.chars().next()?.len_utf8())?,
    };
    let (name, is_negated) = name.strip_prefix('^').map_or((name, is_negated), |name| (name, !is_negated));
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte));
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let known = match plain.as_str() {
        _ if !is_name => return None,
        "any" | "ascii" | "assigned" => plain,
        // surrogates are in no text
        "cs" | "surrogate" if is_negated => return Some(("\\x{0}-\\x{10FFFF}".to_owned(), rest)),
        "cs" | "surrogate" => return Some((NOTHING.to_owned(), rest)),
        _ => ["gc", "sc"].iter().map(|kind| format!("{kind}={name}")).find(|set| exists(set))?,
    };
    Some((format!(r"\{}{{{known}}}", if is_negated { 'P' } else { 'p' }), rest))
}

fn exists(set: &str) -> bool {
    Regex::new(&format!(r"\p{{{set}}}")).is_ok()
}
