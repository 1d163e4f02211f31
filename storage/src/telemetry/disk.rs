//! How much room a disk has, asked when somebody asks. What cannot be found out is left out.

use std::fmt;
use std::path::{Path, PathBuf};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
}

/// Shows the room of the disk that has a folder, such as the one of the log.
pub fn register_disk(registry: &mut Registry, folder: &Path) {
    registry.register_collector(Box::new(Disk { folder: folder.to_owned() }));
}

impl Collector for Disk {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        for (name, help, blocks) in [
            ("mosso_disk_free_bytes", "Room on the disk of the log that mosso may use", disk.f_bavail),
            ("mosso_disk_size_bytes", "Size of the disk of the log", disk.f_blocks),
        ] {
            let gauge = ConstGauge::new(blocks.saturating_mul(disk.f_frsize) as f64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_a_size_and_room_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let shown = |folder: &Path| {
            let (mut registry, mut text) = (Registry::default(), String::new());
            register_disk(&mut registry, folder);
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            (value("mosso_disk_free_bytes "), value("mosso_disk_size_bytes "))
        };
        let (free, size) = shown(dir.path());
        assert!(free.unwrap() <= size.unwrap() && size.unwrap() > 0.0);
        assert_eq!(shown(&dir.path().join("absent")), (None, None));
    }
}
