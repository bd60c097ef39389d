//! CPU time and memory of the server's process, from `/proc`.

use std::time::Duration;

/// `/proc` counts in hundredths of a second on every architecture that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// A reading of a process's resource use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu: Duration,
    pub resident_bytes: u64,
}

/// Reads the process `pid`; the error says what is wrong.
pub fn usage(pid: u32) -> Result<Usage, String> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
    };
    let cpu = parse_cpu(&read("stat")?).ok_or_else(|| format!("/proc/{pid}/stat has an unknown form"))?;
    let resident_bytes =
        parse_resident(&read("status")?).ok_or_else(|| format!("/proc/{pid}/status has no VmRSS"))?;
    Ok(Usage { cpu, resident_bytes })
}

/// Fields 14 and 15 (`utime`, `stime`), counted behind the name, which may contain spaces.
fn parse_cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(TICK * user.checked_add(system)?)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "12 (a ) (b) S 1 1 1 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 4 0 100";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(parse_cpu("nonsense"), None);
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(usage(std::process::id()).unwrap().resident_bytes > 0);
        assert!(usage(u32::MAX).unwrap_err().contains("/proc/"));
    }
}
