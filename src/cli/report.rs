//! How a command says what it found: as text or as JSON, and figures as people read them.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;

/// Prints a report. A reader that has gone (`| head`) is no error.
pub(super) fn print(report: &(impl Serialize + Display), as_json: bool) -> Result<()> {
    let text = if as_json { serde_json::to_string_pretty(report)? } else { report.to_string() };
    match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// What a command ends with that found everything as it should be, or not.
pub(super) fn exit_code(is_whole: bool) -> ExitCode {
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `1.5 MiB`
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut number, mut unit) = (bytes as f64, "B");
    for larger in UNITS {
        // from here on it would be shown as 1024
        if number < 1023.95 {
            break;
        }
        (number, unit) = (number / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{number:.1} {unit}") }
}

/// `2026-01-31 12:00:00.000Z`
pub(super) fn time(unix_nanos: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix_nanos)).to_string().replace('T', " ")
}

/// `1 block`, `2 blocks`
pub(super) fn count(number: usize, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let sizes = [0, 1023, 1024, 1536, 1_048_575, 5 << 30, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 GiB", "16384.0 PiB"]);
        assert_eq!(time(1_700_000_000_123_456_789), "2023-11-14 22:13:20.123Z");
        assert_eq!(time(u64::MAX), "2554-07-21 23:34:33.709Z");
        assert_eq!([count(1, "block"), count(0, "block")], ["1 block", "0 blocks"]);
    }
}
