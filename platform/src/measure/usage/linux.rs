//! `/proc`.

use super::Usage;
use std::{fs, io, time::Duration};

/// Linux tells programs processor time in hundredths of a second, whatever its own clock is.
const TICK: Duration = Duration::from_millis(10);

pub(super) fn of(pid: u32) -> io::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let handles = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
    // When it is our own directory that we list, listing it is one of them.
    let listing = u64::from(pid == std::process::id());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(Usage {
        resident: resident.unwrap_or(0) * 1024,
        handles: handles.saturating_sub(listing),
        cpu: TICK * u32::try_from(ticks(&stat)).unwrap_or(u32::MAX),
    })
}

/// Clock ticks in user and kernel mode. The name, in parentheses, may hold anything; `utime` and `stime` are fields 14
/// and 15, after it 12 and 13.
fn ticks(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_is_read_whatever_the_process_is_called() {
        let stat = "7 (a) 1 2 b) S 1 2 3 4 5 6 7 8 9 10 31 11 0 0 20 0 4 0";
        assert_eq!(super::ticks(stat), 42);
        assert_eq!(super::ticks(""), 0);
    }
}
