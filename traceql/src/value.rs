//! Literals and values at run time: how they print, compare and compute. Arrays and missing values of spans are the
//! evaluator's; here a missing value is [`Static::Nil`].

use std::cmp::Ordering;
use std::fmt;

use crate::duration::format_go_duration;
use crate::error::Error;
use crate::operator::{ArithmeticOp, CompareOp};

/// A value of the language.
#[derive(Debug, Clone, PartialEq)]
pub enum Static {
    Nil,
    Int(i64),
    Float(f64),
    String(String),
    Bool(bool),
    /// Nanoseconds.
    Duration(i64),
    Status(Status),
    Kind(Kind),
}

/// The status of a span. The order is the language's (group output), not OTLP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Error,
    Ok,
    Unset,
}

/// The kind of a span. The order is the language's (group output), not OTLP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Unspecified,
    Internal,
    Client,
    Server,
    Producer,
    Consumer,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Error, Self::Ok, Self::Unset];

    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Ok => "ok",
            Self::Unset => "unset",
        }
    }

    /// From the number on the wire; `None` for numbers that OTLP does not define.
    pub fn from_otlp(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::Unset),
            1 => Some(Self::Ok),
            2 => Some(Self::Error),
            _ => None,
        }
    }

    /// The number on the wire.
    pub fn otlp(self) -> i32 {
        match self {
            Self::Unset => 0,
            Self::Ok => 1,
            Self::Error => 2,
        }
    }
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Unspecified, Self::Internal, Self::Client, Self::Server, Self::Producer, Self::Consumer];

    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Client => "client",
            Self::Server => "server",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    /// From the number on the wire; `None` for numbers that OTLP does not define.
    pub fn from_otlp(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.otlp() == code)
    }

    /// The number on the wire.
    pub fn otlp(self) -> i32 {
        match self {
            Self::Unspecified => 0,
            Self::Internal => 1,
            Self::Server => 2,
            Self::Client => 3,
            Self::Producer => 4,
            Self::Consumer => 5,
        }
    }
}

impl Static {
    /// The number behind an int, a float or a duration (in nanoseconds).
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) | Self::Duration(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The number that results of metrics functions are compared with: a duration counts in seconds.
    pub fn in_seconds(&self) -> Option<f64> {
        match self {
            Self::Duration(nanos) => Some(*nanos as f64 / 1e9),
            _ => self.as_f64(),
        }
    }

    /// The number behind an int or a duration (in nanoseconds).
    fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) | Self::Duration(number) => Some(*number),
            _ => None,
        }
    }

    /// How two values order, or `None` if they cannot be compared: other types, NaN, nil on either side.
    ///
    /// Ints, floats and durations compare as numbers, strings by their bytes; bools, statuses and kinds by their order.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        if let (Some(left), Some(right)) = (self.as_i64(), other.as_i64()) {
            return Some(left.cmp(&right));
        }
        if let (Some(left), Some(right)) = (self.as_f64(), other.as_f64()) {
            return left.partial_cmp(&right);
        }
        match (self, other) {
            (Self::String(left), Self::String(right)) => Some(left.cmp(right)),
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            (Self::Status(left), Self::Status(right)) => Some(left.cmp(right)),
            (Self::Kind(left), Self::Kind(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// `self op other`. False, also for `!=`, when the values cannot be compared: so a missing value matches nothing.
    ///
    /// False for `=~` and `!~`: compile the pattern once with [`anchored_regex`](crate::anchored_regex). The tests
    /// `= nil` and `!= nil` ask whether a value is there and are not comparisons of values.
    pub fn compare(&self, op: CompareOp, other: &Self) -> bool {
        let Some(order) = self.order(other) else { return false };
        match op {
            CompareOp::Eq => order.is_eq(),
            CompareOp::Ne => order.is_ne(),
            CompareOp::Match | CompareOp::NotMatch => false,
            _ if matches!(self, Self::Bool(_) | Self::Status(_) | Self::Kind(_)) => false,
            CompareOp::Lt => order.is_lt(),
            CompareOp::Le => order.is_le(),
            CompareOp::Gt => order.is_gt(),
            CompareOp::Ge => order.is_ge(),
        }
    }

    /// `self op other`. Two ints give an int that wraps; a float or a duration gives a float; what is not a number
    /// gives `false`.
    pub fn compute(&self, op: ArithmeticOp, other: &Self) -> Result<Self, Error> {
        if let (Self::Int(left), Self::Int(right)) = (self, other) {
            return compute_ints(op, *left, *right).map(Self::Int);
        }
        let (Some(left), Some(right)) = (self.as_f64(), other.as_f64()) else {
            return Ok(Self::Bool(false));
        };
        Ok(Self::Float(match op {
            ArithmeticOp::Add => left + right,
            ArithmeticOp::Sub => left - right,
            ArithmeticOp::Mul => left * right,
            ArithmeticOp::Div => left / right,
            ArithmeticOp::Mod => left % right,
            ArithmeticOp::Pow => left.powf(right),
        }))
    }

    /// `-self`; `None` for what is not a number.
    pub fn negate(&self) -> Option<Self> {
        match self {
            Self::Int(number) => Some(Self::Int(number.wrapping_neg())),
            Self::Duration(nanos) => Some(Self::Duration(nanos.wrapping_neg())),
            Self::Float(number) => Some(Self::Float(-number)),
            _ => None,
        }
    }
}

fn compute_ints(op: ArithmeticOp, left: i64, right: i64) -> Result<i64, Error> {
    match op {
        ArithmeticOp::Add => Ok(left.wrapping_add(right)),
        ArithmeticOp::Sub => Ok(left.wrapping_sub(right)),
        ArithmeticOp::Mul => Ok(left.wrapping_mul(right)),
        ArithmeticOp::Div if right == 0 => Err(Error::DivisionByZero),
        ArithmeticOp::Div => Ok(left.wrapping_div(right)),
        ArithmeticOp::Mod if right == 0 => Err(Error::ModuloByZero),
        ArithmeticOp::Mod => Ok(left.wrapping_rem(right)),
        ArithmeticOp::Pow => power(left, right),
    }
}

/// `base` to the power `exponent`, wrapping; a negative exponent truncates toward zero, as a division does.
fn power(base: i64, exponent: i64) -> Result<i64, Error> {
    let Ok(mut exponent) = u64::try_from(exponent) else {
        return match base {
            0 => Err(Error::DivisionByZero),
            1 => Ok(1),
            -1 => Ok(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => Ok(0),
        };
    };
    let (mut result, mut square) = (1_i64, base);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        exponent /= 2;
    }
    Ok(result)
}

impl fmt::Display for Static {
    /// The canonical text, which reads back as the same value (except for floats that are not finite).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(i64::MIN) => f.write_str("minInt"), // its digits cannot be read back
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => f.write_str(&float_text(*number)),
            Self::String(text) => f.write_str(&string_text(text)),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Duration(nanos) => f.write_str(&format_go_duration(*nanos)),
            Self::Status(status) => f.write_str(status.name()),
            Self::Kind(kind) => f.write_str(kind.name()),
        }
    }
}

/// The shortest digits that read back as the same float: `5.0`, `0.25`, `1e-09`, `1.5e+06`, `+Inf.0` (Go's `%g`, then
/// `.0` where nothing else tells it from an int).
fn float_text(number: f64) -> String {
    if !number.is_finite() {
        let text = if number.is_nan() {
            "NaN.0"
        } else if number > 0.0 {
            "+Inf.0"
        } else {
            "-Inf.0"
        };
        return text.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("{:e} always prints an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} prints the exponent as an integer");
    if (-4..6).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// In backticks; in double quotes with escapes when the text itself holds a backtick.
fn string_text(text: &str) -> String {
    if !text.contains('`') {
        return format!("`{text}`");
    }
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Static {
        Static::String(text.to_owned())
    }

    #[test]
    fn numbers_compare_across_types_and_other_types_never_match() {
        use CompareOp::{Eq, Ge, Gt, Lt, Ne};
        for (left, op, right, expected) in [
            (Static::Int(5), Eq, Static::Float(5.0), true),
            (Static::Duration(100), Eq, Static::Int(100), true),
            (Static::Int(i64::MAX), Gt, Static::Int(i64::MAX - 1), true),
            (Static::Int(i64::MAX), Gt, Static::Duration(i64::MAX - 1), true),
            (Static::Float(f64::NAN), Eq, Static::Float(f64::NAN), false),
            (Static::Float(f64::NAN), Ne, Static::Float(f64::NAN), false),
            (text("a"), Lt, text("b"), true),
            (text("5"), Eq, Static::Int(5), false),
            (text("5"), Ne, Static::Int(5), false),
            (Static::Nil, Eq, Static::Nil, false),
            (Static::Nil, Ne, Static::Int(1), false),
            (Static::Bool(true), Ne, Static::Bool(false), true),
            (Static::Bool(true), Ge, Static::Bool(false), false),
            (Static::Status(Status::Ok), Eq, Static::Status(Status::Ok), true),
            (Static::Kind(Kind::Server), Gt, Static::Kind(Kind::Client), false),
        ] {
            assert_eq!(left.compare(op, &right), expected, "{left} {op} {right}");
        }
    }

    #[test]
    fn arithmetic_keeps_ints_and_makes_floats_of_the_rest() {
        use ArithmeticOp::{Add, Div, Mod, Mul, Pow, Sub};
        for (left, op, right, expected) in [
            (Static::Int(7), Div, Static::Int(-2), Static::Int(-3)),
            (Static::Int(-7), Mod, Static::Int(2), Static::Int(-1)),
            (Static::Int(2), Pow, Static::Int(3), Static::Int(8)),
            (Static::Int(2), Pow, Static::Int(-1), Static::Int(0)),
            (Static::Int(-1), Pow, Static::Int(-3), Static::Int(-1)),
            (Static::Int(i64::MAX), Add, Static::Int(1), Static::Int(i64::MIN)),
            (Static::Int(i64::MIN), Div, Static::Int(-1), Static::Int(i64::MIN)),
            (Static::Duration(5), Sub, Static::Duration(2), Static::Float(3.0)),
            (Static::Float(1.0), Div, Static::Int(0), Static::Float(f64::INFINITY)),
            (Static::Nil, Mul, Static::Int(2), Static::Bool(false)),
            (text("a"), Add, Static::Int(2), Static::Bool(false)),
        ] {
            assert_eq!(left.compute(op, &right), Ok(expected), "{left} {op} {right}");
        }
        assert_eq!(Static::Int(1).compute(Div, &Static::Int(0)), Err(Error::DivisionByZero));
        assert_eq!(Static::Int(1).compute(Mod, &Static::Int(0)), Err(Error::ModuloByZero));
    }

    #[test]
    fn values_print_canonically() {
        for (value, expected) in [
            (Static::Float(5.0), "5.0"),
            (Static::Float(-0.25), "-0.25"),
            (Static::Float(0.0001), "0.0001"),
            (Static::Float(1e-9), "1e-09"),
            (Static::Float(123456.5), "123456.5"),
            (Static::Float(1_500_000.0), "1.5e+06"),
            (Static::Float(1e300), "1e+300"),
            (Static::Float(f64::INFINITY), "+Inf.0"),
            (Static::Int(i64::MIN), "minInt"),
            (Static::Duration(90_000_000_000), "1m30s"),
            (text(r#"say "x""#), r#"`say "x"`"#),
            (text("tick`\n"), r#""tick`\n""#),
            (Static::Status(Status::Unset), "unset"),
            (Static::Kind(Kind::Consumer), "consumer"),
        ] {
            assert_eq!(value.to_string(), expected);
        }
    }

    #[test]
    fn statuses_and_kinds_map_to_otlp_numbers_and_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_otlp(status.otlp()), Some(status));
        }
        for kind in Kind::ALL {
            assert_eq!(Kind::from_otlp(kind.otlp()), Some(kind));
        }
        assert_eq!((Status::from_otlp(3), Kind::from_otlp(6)), (None, None));
    }
}
