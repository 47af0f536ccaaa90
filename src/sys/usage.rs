//! What a process uses, from `/proc`; see `proc(5)`.

use std::fs;

/// What one or several processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory; pages that processes share count for each of them.
    pub rss_bytes: u64,
    /// CPU time in user mode and in the kernel, with that of children that were reaped: it only grows as long as a tree stays
    /// together.
    pub cpu_ms: u64,
    /// Open descriptors; those of processes that we may not look into count nothing.
    pub fds: u64,
    /// How many processes.
    pub processes: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.rss_bytes += other.rss_bytes;
        self.cpu_ms += other.cpu_ms;
        self.fds += other.fds;
        self.processes += other.processes;
    }
}

/// What one process uses now; `None` where it is gone or `/proc` is not to be read. Blocks for a few small reads.
#[must_use]
pub fn of(pid: i32) -> Option<Usage> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Some(Usage {
        rss_bytes: pages * page_size(),
        cpu_ms: cpu_ticks(&stat)? * 1000 / ticks_per_second(),
        fds: descriptors as u64,
        processes: 1,
    })
}

/// `utime`, `stime`, `cutime` and `cstime` of `/proc/PID/stat`.
fn cpu_ticks(line: &[u8]) -> Option<u64> {
    let after_name = line.iter().rposition(|byte| *byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(line.get(after_name..)?).ok()?.split_ascii_whitespace().collect();
    let parts: Vec<u64> = fields.get(11..15)?.iter().filter_map(|field| field.parse::<i64>().ok()?.try_into().ok()).collect();
    (parts.len() == 4).then(|| parts.iter().sum())
}

pub(super) fn page_size() -> u64 {
    constant(nix::unistd::SysconfVar::PAGE_SIZE, 4096)
}

fn ticks_per_second() -> u64 {
    constant(nix::unistd::SysconfVar::CLK_TCK, 100)
}

fn constant(name: nix::unistd::SysconfVar, usual: u64) -> u64 {
    let value = nix::unistd::sysconf(name).ok().flatten().and_then(|value| u64::try_from(value).ok());
    value.filter(|value| *value > 0).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_moves_no_field() {
        let line = b"7 (a) R 1 (b) c) S 3 4 5 0 -1 1 2 3 4 5 6 7 8 9 10 11 1 0 4242 9 9\n";
        assert_eq!(cpu_ticks(line), Some(6 + 7 + 8 + 9));
        assert_eq!(cpu_ticks(b"7 (cut"), None);
    }

    #[test]
    fn we_use_something() {
        let own = of(std::process::id() as i32).expect("/proc");
        assert!(own.rss_bytes > 100 << 10 && own.fds > 2 && own.processes == 1, "{own:?}");
        assert_eq!(of(-1), None);
    }
}
