//! How much memory may this process have? What its control group has, or else the machine.

use std::fs;
use std::path::Path;

/// Files that name the limit of the process's control group, of both versions, seen from inside of a container.
const GROUP_LIMITS: [&str; 2] = [
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// Of a machine that does not tell: little enough for any.
const UNKNOWN_BYTES: u64 = 4 << 30;

/// Bytes of memory that this process may have.
pub(crate) fn limit() -> u64 {
    limit_in(Path::new("/"))
}

fn limit_in(root: &Path) -> u64 {
    let group = GROUP_LIMITS.iter().filter_map(|path| {
        // `max` where there is none.
        fs::read_to_string(root.join(path)).ok()?.trim().parse().ok()
    });
    let machine = fs::read_to_string(root.join("proc/meminfo"));
    let machine = machine.ok().and_then(|text| total_of(&text));
    // Without a limit, version 1 names a number that no machine has.
    group.chain(machine).min().unwrap_or(UNKNOWN_BYTES)
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_holds() {
        let root = tempfile::tempdir().unwrap();
        let limit = || limit_in(root.path());
        assert_eq!(limit(), UNKNOWN_BYTES);
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/meminfo", "MemTotal:       24612345 kB\nMemFree: 1 kB\n");
        assert_eq!(limit(), 24_612_345 << 10);
        write(GROUP_LIMITS[0], "max\n");
        write(GROUP_LIMITS[1], "9223372036854771712\n");
        assert_eq!(limit(), 24_612_345 << 10);
        write(GROUP_LIMITS[0], "4294967296\n");
        assert_eq!(limit(), 4 << 30);
    }

    #[test]
    fn this_machine_tells() {
        assert!(limit() >= 64 << 20);
    }
}
