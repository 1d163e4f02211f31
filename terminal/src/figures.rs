//! Numbers as people read them.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// `850 ns`, `12.3 ms`, `1.20 s`, `2m05s`
pub(crate) fn duration(nanos: u64) -> String {
    const MINUTE: u64 = 60_000_000_000;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..999_950 => format!("{:.1} µs", nanos as f64 / 1e3),
        999_950..999_950_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        999_950_000..MINUTE => format!("{:.2} s", nanos as f64 / 1e9),
        _ => format!("{}m{:02}s", nanos / MINUTE, nanos % MINUTE / 1_000_000_000),
    }
}

/// `1234567` → `1,234,567`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three digits that say something: `0.00123`, `12.3`, `12,300`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    match () {
        () if value.is_nan() => "-".to_owned(),
        () if !value.is_finite() => value.to_string(),
        () if size == 0.0 => "0".to_owned(),
        () if size >= 1000.0 => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", count(size.round() as u64))
        }
        () if size >= 100.0 => trimmed(format!("{value:.0}")),
        () if size >= 10.0 => trimmed(format!("{value:.1}")),
        () if size >= 1.0 => trimmed(format!("{value:.2}")),
        () if size >= 0.001 => trimmed(format!("{value:.4}")),
        () => format!("{value:.2e}"),
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Cuts a text to so many cells of a terminal; `…` stands for the rest.
pub(crate) fn cut(text: &str, cells: usize) -> String {
    if text.width() <= cells {
        return text.to_owned();
    }
    let mut left = cells.saturating_sub(1);
    let fits = |c: &char| {
        let width = c.width().unwrap_or_default();
        let is_room = width <= left;
        left = left.saturating_sub(width);
        is_room
    };
    let kept: String = text.chars().take_while(fits).collect();
    if cells == 0 { String::new() } else { format!("{kept}…") }
}

/// As [`cut`], and filled up with blanks.
pub(crate) fn cell(text: &str, cells: usize) -> String {
    let text = cut(text, cells);
    let blanks = cells.saturating_sub(text.width());
    text + &" ".repeat(blanks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let durations = [0, 999, 1_500, 999_949, 12_345_678, 999_949_999, 1_200_000_000, 125_000_000_000].map(duration);
        assert_eq!(durations, ["0 ns", "999 ns", "1.5 µs", "999.9 µs", "12.3 ms", "999.9 ms", "1.20 s", "2m05s"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let numbers = [0.0, 0.001_23, 1.5, 12.34, 123.4, 1234.5, -2000.0, 0.000_012, f64::NAN].map(number);
        assert_eq!(numbers, ["0", "0.0012", "1.5", "12.3", "123", "1,235", "-2,000", "1.20e-5", "-"]);
    }

    #[test]
    fn texts_are_cut_to_cells_and_not_to_characters() {
        assert_eq!(cut("storefront", 10), "storefront");
        assert_eq!(cut("storefront", 5), "stor…");
        assert_eq!(cut("買い物かご", 5), "買い…");
        assert_eq!(cell("買", 4), "買  ");
        assert_eq!(cut("x", 0), "");
    }
}
