//! How much memory the system lets the process have: the least of what its control groups and the machine allow.
//!
//! ```text
//! /proc/self/cgroup   0::/a/b                 ─▶ /sys/fs/cgroup/{a/b,a,}/memory.max
//!                     7:memory:/a/b           ─▶ /sys/fs/cgroup/memory/{a/b,a,}/memory.limit_in_bytes
//! /proc/meminfo       MemTotal: 24685720 kB
//! ```
//!
//! In a container the path of the group may be that of the host, and lead nowhere; the root of what is mounted is then the
//! container's own group.

use std::fs;
use std::path::{Path, PathBuf};

use super::usage::size_field;

/// The most memory that the process can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub bytes: u64,
    pub source: LimitSource,
}

/// Who sets the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitSource {
    CgroupV2,
    CgroupV1,
    Machine,
    /// Nobody was found.
    Assumed,
}

/// The control groups of a process, as paths from the root of each hierarchy.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    v2: Option<PathBuf>,
    v1_memory: Option<PathBuf>,
}

impl LimitSource {
    /// The name for the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::CgroupV2 => "cgroup v2",
            Self::CgroupV1 => "cgroup v1",
            Self::Machine => "machine",
            Self::Assumed => "assumed",
        }
    }
}

impl Limit {
    /// `None` where the system does not say it.
    pub fn of_this_process() -> Option<Self> {
        Self::under(Path::new("/"))
    }

    pub(super) fn assumed(bytes: u64) -> Self {
        Self { bytes, source: LimitSource::Assumed }
    }

    /// The least limit that the files under a root of the file system tell.
    fn under(root: &Path) -> Option<Self> {
        let read = |path: PathBuf| fs::read_to_string(path).ok();
        let groups = read(root.join("proc/self/cgroup")).map(|text| Groups::parse(&text)).unwrap_or_default();
        let limits_of = |group: Option<PathBuf>, mount: &str, file: &str, source| {
            let mount = root.join(mount);
            let texts =
                group.iter().flat_map(|group| group.ancestors()).filter_map(|dir| read(mount.join(dir).join(file)));
            let limits = texts.filter_map(|text| parse_limit(&text)).map(|bytes| Self { bytes, source });
            limits.collect::<Vec<_>>()
        };
        let machine = read(root.join("proc/meminfo")).and_then(|text| size_field(&text, "MemTotal"));
        let v2 = limits_of(groups.v2, "sys/fs/cgroup", "memory.max", LimitSource::CgroupV2);
        let v1 = limits_of(groups.v1_memory, "sys/fs/cgroup/memory", "memory.limit_in_bytes", LimitSource::CgroupV1);
        let machine = machine.map(|bytes| Self { bytes, source: LimitSource::Machine });
        v2.into_iter().chain(v1).chain(machine).min_by_key(|limit| limit.bytes)
    }
}

impl Groups {
    /// Parses lines of `number:controllers:/path`; version 2 has the number 0 and no controllers.
    fn parse(text: &str) -> Self {
        let mut groups = Self::default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let path = Some(inner_path(path));
            if number == "0" && controllers.is_empty() {
                groups.v2 = path;
            } else if controllers.split(',').any(|controller| controller == "memory") {
                groups.v1_memory = path;
            }
        }
        groups
    }
}

/// A path below the root of a hierarchy. One that leads out of it, as seen from within a namespace, is the root itself.
fn inner_path(path: &str) -> PathBuf {
    let path = Path::new(path.trim_start_matches('/'));
    let is_inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if is_inside { path.to_owned() } else { PathBuf::new() }
}

/// The number in `memory.max` or `memory.limit_in_bytes`; `None` for "max". Version 1 writes a number larger than any
/// machine instead, which then is not the least.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       24685720 kB\nMemFree:        1024 kB\n");
    const MACHINE_BYTES: u64 = 24_685_720 * 1024;

    /// The limit that follows from these files.
    fn limit(files: &[(&str, &str)]) -> Option<(u64, LimitSource)> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Limit::under(root.path()).map(|limit| (limit.bytes, limit.source))
    }

    #[test]
    fn the_least_of_a_group_and_its_ancestors_counts() {
        let own = ("proc/self/cgroup", "0::/pods/one\n");
        let of_group = ("sys/fs/cgroup/pods/one/memory.max", "1073741824\n");
        let of_parent = ("sys/fs/cgroup/pods/memory.max", "536870912\n");
        let no_limit = ("sys/fs/cgroup/pods/one/memory.max", "max\n");
        assert_eq!(limit(&[MACHINE, own, of_group]), Some((1 << 30, LimitSource::CgroupV2)));
        assert_eq!(limit(&[MACHINE, own, of_group, of_parent]), Some((512 << 20, LimitSource::CgroupV2)));
        assert_eq!(limit(&[MACHINE, own, no_limit]), Some((MACHINE_BYTES, LimitSource::Machine)));
    }

    #[test]
    fn in_a_container_the_mounted_root_is_the_group() {
        let root = ("sys/fs/cgroup/memory.max", "536870912\n");
        for own in ["0::/\n", "0::/kubepods/pod1/abc\n", "0::/../../other\n"] {
            assert_eq!(limit(&[MACHINE, ("proc/self/cgroup", own), root]), Some((512 << 20, LimitSource::CgroupV2)));
        }
    }

    #[test]
    fn version_1_is_understood_and_its_word_for_no_limit_is_not_the_least() {
        let own = ("proc/self/cgroup", "12:cpu,cpuacct:/docker/a\n7:memory:/docker/a\n0::/system\n");
        let of_group = ("sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "536870912\n");
        let no_limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit(&[MACHINE, own, of_group, no_limit]), Some((512 << 20, LimitSource::CgroupV1)));
        assert_eq!(limit(&[MACHINE, own, no_limit]), Some((MACHINE_BYTES, LimitSource::Machine)));
    }

    #[test]
    fn what_makes_no_sense_is_read_over() {
        assert_eq!(limit(&[]), None);
        let nonsense = [("proc/self/cgroup", "0:\n\n::::\n"), ("proc/meminfo", "MemTotal: many kB\n")];
        assert_eq!(limit(&nonsense), None);
        assert_eq!(Groups::parse("0::/a:b\n").v2, Some(PathBuf::from("a:b")));
    }
}
