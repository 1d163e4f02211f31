//! Metrics of the process itself, by the names that Prometheus' client libraries give them: CPU, memory, files, start.
//!
//! Read from `/proc` at each scrape. What cannot be read, as outside Linux, is left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use storage::memory_budget::ProcessStatus;

/// Linux tells times in hundredths of a second, whatever its own clock's rate is.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stat = read("/proc/self/stat");
        let status = ProcessStatus::read();
        let status_bytes = |field| Some(status.as_ref()?.bytes(field)? as f64);
        if let Some(seconds) = stat.as_deref().and_then(cpu_seconds) {
            let counter = ConstCounter::new(seconds);
            let help = "CPU time of the process, its own and the kernel's for it";
            counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, counter.metric_type())?)?;
        }
        let started = read("/proc/stat").zip(stat).and_then(|(system, own)| start_seconds(&system, &own));
        for (name, help, value) in [
            ("process_start_time_seconds", "Unix time at which the process started", started),
            ("process_resident_memory_bytes", "Memory that is resident", status_bytes("VmRSS")),
            ("process_virtual_memory_bytes", "Memory that is mapped", status_bytes("VmSize")),
            ("process_open_fds", "Open files and sockets", open_files()),
            (
                "process_max_fds",
                "Files and sockets that may be open",
                read("/proc/self/limits").and_then(|text| max_files(&text)),
            ),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn open_files() -> Option<f64> {
    // The listing itself is an open file.
    fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as f64)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS_PER_SECOND)
}

/// When the machine started, and how long after it the process did.
fn start_seconds(system_stat: &str, stat: &str) -> Option<f64> {
    let machine: f64 = system_stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(machine + stat_field(stat, 22)? / TICKS_PER_SECOND)
}

/// A field of `/proc/self/stat`, counted from 1 as proc(5) counts them; only those behind the program's name, which may
/// hold anything.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn max_files(limits: &str) -> Option<f64> {
    let soft_and_hard = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    soft_and_hard.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_scrape_shows_the_process() {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register_collector(Box::new(Process));
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in ["cpu_seconds_total", "start_time_seconds", "resident_memory_bytes", "open_fds", "max_fds"] {
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} ")));
            assert!(
                value.is_some_and(|value| value.parse::<f64>().unwrap() >= 0.0),
                "process_{name} is not in\n{text}"
            );
        }
    }

    #[test]
    fn fields_are_those_of_proc() {
        let stat =
            "42 (a ) name) S 1 42 42 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 9 0 2000 123456 789 18446744073709551615";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(start_seconds("cpu 1 2\nbtime 1000\nctxt 5\n", stat), Some(1020.0));
        assert_eq!(
            max_files("Limit  Soft  Hard  Units\nMax open files            1024   4096   files\n"),
            Some(1024.0)
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(cpu_seconds("42 (mosso"), None);
        assert_eq!(start_seconds("", "42 (mosso) S"), None);
        assert_eq!(max_files("Max open files            unlimited   unlimited   files"), None);
    }
}
