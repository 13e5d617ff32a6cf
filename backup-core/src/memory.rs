//! How much memory is free: what is held there whole is as long as somebody else says.

use std::fs;
use std::path::Path;

use crate::finding::bytes;
use crate::{Error, Kind, Result};

/// Refuses to hold so many bytes in memory where they would take more than half of what is free.
///
/// # Errors
/// [`Kind::Refused`].
pub(crate) fn look(doing: impl FnOnce() -> String, size: u64) -> Result<()> {
    let Some(free) = free().filter(|free| size > free / 2) else { return Ok(()) };
    let why = format!("it takes {} of memory, and {} are free", bytes(size), bytes(free));
    let hint = "see who made the bundle; if all is well with it, end what takes memory here, or restore it on a larger machine";
    Err(Error::new(Kind::Refused, doing()).because(why).hint(hint))
}

/// Bytes that are free, on this machine and in the control group of this process; none where nothing says so.
fn free() -> Option<u64> {
    of_machine("MemAvailable:").into_iter().chain(in_group()).min()
}

/// Bytes that this machine has; none where nothing says so.
pub(crate) fn total() -> Option<u64> {
    of_machine("MemTotal:")
}

fn of_machine(name: &str) -> Option<u64> {
    in_meminfo(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

/// What `/proc/meminfo` says under a name, in bytes.
fn in_meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What is left of the lowest limit of the control groups, of version 2, that this process is in.
fn in_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let left = |group: &Path| {
        let (most, current) = (number(&group.join("memory.max"))?, number(&group.join("memory.current"))?);
        let cached = cached(&fs::read_to_string(group.join("memory.stat")).unwrap_or_default());
        Some(most.saturating_sub(current.saturating_sub(cached)))
    };
    let own = Path::new("/sys/fs/cgroup").join(own);
    own.ancestors().take_while(|group| group.starts_with("/sys/fs/cgroup")).filter_map(left).min()
}

/// Bytes of files that are kept in memory as long as nobody needs it, as `memory.stat` says: a bundle that was just read counts there.
fn cached(text: &str) -> u64 {
    let of = |name: &str| {
        let number = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
        number.unwrap_or(0)
    };
    // What processes share can't be let go.
    of("file").saturating_sub(of("shmem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_made_to_hold_more_than_there_is() {
        assert_eq!(in_meminfo("MemTotal: 8 kB\nMemAvailable:    3 kB\n", "MemAvailable:"), Some(3072));
        assert_eq!(cached("anon 7\nfile 100\nshmem 30\nfile_mapped 90\n"), 70);
        assert_eq!(in_meminfo("MemAvailable: 99999999999999999999 kB\n", "MemAvailable:"), None);
        assert!(look(|| "read it".into(), 1 << 20).is_ok());
        let refused = look(|| "read it".into(), u64::MAX).expect_err("nobody has so much");
        assert!(refused.kind() == Kind::Refused && refused.chain().join(": ").contains("16.0 EiB of memory"));
    }
}
