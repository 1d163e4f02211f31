//! Numbers as Go's `strconv` reads them, with its error texts.

use std::num::IntErrorKind;
use std::str::FromStr;

pub(in crate::tempo) fn parse_uint32(text: &str) -> Result<u32, String> {
    // Go takes no sign here; Rust takes a plus.
    let digits = text.strip_prefix('+').map_or(text, |_| "");
    parse(digits, text, "ParseUint")
}

pub(in crate::tempo) fn parse_int(text: &str) -> Result<i64, String> {
    parse(text, text, "ParseInt")
}

/// A signed number, with the name of another function in the error.
pub(in crate::tempo) fn parse_atoi(text: &str) -> Result<i64, String> {
    parse(text, text, "Atoi")
}

pub(in crate::tempo) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

fn parse<T: FromStr<Err = std::num::ParseIntError>>(digits: &str, text: &str, function: &str) -> Result<T, String> {
    digits.parse().map_err(|error: std::num::ParseIntError| {
        let problem = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.{function}: parsing {text:?}: {problem}")
    })
}
