//! How much memory the process has, as the system counts it.

use std::fs;

/// What the system says of this process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStatus(String);

impl ProcessStatus {
    /// `None` where the system does not tell, as outside Linux.
    pub fn read() -> Option<Self> {
        fs::read_to_string("/proc/self/status").ok().map(Self)
    }

    /// A field as proc(5) names it, of those that are sizes: `VmRSS`, `RssAnon`.
    pub fn bytes(&self, field: &str) -> Option<u64> {
        size_field(&self.0, field)
    }
}

/// The value of a line `Name:   1234 kB`, in bytes.
pub(super) fn size_field(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_nonsense_is_none() {
        let status = ProcessStatus("Name:\tmosso\nVmSize:\t  2048 kB\nVmRSS:\t   8 kB\nRssAnon: many kB\n".to_owned());
        assert_eq!((status.bytes("VmRSS"), status.bytes("VmSize")), (Some(8192), Some(2 << 20)));
        assert_eq!((status.bytes("RssAnon"), status.bytes("Rss"), status.bytes("VmSwap")), (None, None, None));
        assert_eq!(size_field("VmRSS: 18446744073709551615 kB", "VmRSS"), None);
    }
}
