//! What `/proc` says, parsed.

/// `PF_KTHREAD`: a thread of the kernel's own.
const KERNEL_THREAD: u64 = 0x0020_0000;
/// `AT_CLKTCK` in the auxiliary vector.
const CLOCK_TICKS: u64 = 17;

/// `/proc/PID/stat`: times in clock ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The program's name, cut at 15 bytes.
    pub(super) name: String,
    /// Who started it.
    pub(super) parent: u32,
    /// A thread of the kernel's own.
    pub(super) is_kernel: bool,
    /// In user and kernel mode, all its threads.
    pub(super) own: u64,
    /// The same of children that it has waited for.
    pub(super) reaped: u64,
}

impl Stat {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The name may hold anything, parentheses and spaces included.
        let (before, after) = text.rsplit_once(')')?;
        let name = before.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = after.split_whitespace().collect();
        // The first of them is field 3 of proc_pid_stat(5).
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            name,
            parent: number(4)?.try_into().ok()?,
            is_kernel: number(9)? & KERNEL_THREAD != 0,
            own: number(14)? + number(15)?,
            reaped: number(16)? + number(17)?,
        })
    }
}

/// A line such as `VmHWM: 12345 kB` of `/proc/PID/status`, in kB.
pub(super) fn status_kb(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Nanoseconds on a core, from a thread's `schedstat`.
pub(super) fn schedstat_ns(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Bytes received and sent by an interface, from `net/dev`.
pub(super) fn interface_bytes(net_dev: &str, interface: &str) -> Option<(u64, u64)> {
    let line = net_dev.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
    let mut fields = line.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.nth(7)?.parse().ok()?))
}

/// Whether `net/tcp` or `net/tcp6` has a socket that listens at `port`.
pub(super) fn listens(net_tcp: &str, port: u16) -> bool {
    net_tcp.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().and_then(|local| local.rsplit_once(':'));
        let local = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        local == Some(port) && fields.nth(1) == Some("0A")
    })
}

/// Ticks that the hypervisor gave to others, and all ticks of all cores, from `/proc/stat`.
pub(super) fn steal(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // Guest times, at the end, are part of user times.
    let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    Some((*fields.get(7)?, fields.iter().sum()))
}

/// The system's clock ticks per second, from `/proc/self/auxv` of a 64-bit program.
pub(super) fn ticks_per_second(auxv: &[u8]) -> Option<u64> {
    let words: Vec<u64> = auxv.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    words.as_chunks::<2>().0.iter().find_map(|[key, value]| (*key == CLOCK_TICKS).then_some(*value))
}

/// A field of `/proc/cpuinfo` or `/proc/meminfo`, of the first of its kind.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_obstacle() {
        let line = "42 (a) (b c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 3 20 0 4 0 1000 1 2 3";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat, Stat { name: "a) (b c".to_owned(), parent: 1, is_kernel: false, own: 300, reaped: 10 });
        assert_eq!(Stat::parse("42 (short) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn kernel_threads_are_known_by_their_flag() {
        let line = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 5 0 0 20 0 1 0 1 0 0";
        assert!(Stat::parse(line).unwrap().is_kernel);
    }

    #[test]
    fn memory_is_read_by_its_whole_name() {
        let status = "Name:\tx\nVmHWM:\t   23456 kB\nVmRSS:\t   12345 kB\n";
        assert_eq!(status_kb(status, "VmHWM"), Some(23_456));
        assert_eq!(status_kb(status, "VmRSS"), Some(12_345));
        assert_eq!(status_kb(status, "Vm"), None);
    }

    #[test]
    fn an_interface_is_read_by_its_whole_name() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n  wga0:    1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n   \
                    wga: 5000 6 0 0 0 0 0 0 7000 8 0 0 0 0 0 0\n";
        assert_eq!(interface_bytes(text, "wga"), Some((5000, 7000)));
        assert_eq!(interface_bytes(text, "wga0"), Some((1, 3)));
        assert_eq!(interface_bytes(text, "wg"), None);
    }

    #[test]
    fn only_a_listening_socket_listens() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
        let listening = format!("{head}   0: 0200630A:1451 00000000:0000 0A 00000000:00000000 00:00000000\n");
        let connected = format!("{head}   0: 0200630A:1451 0100630A:9C40 01 00000000:00000000 00:00000000\n");
        assert!(listens(&listening, 5201));
        assert!(!listens(&listening, 5202));
        assert!(!listens(&connected, 5201));
        assert!(!listens("", 5201));
    }

    #[test]
    fn steal_is_the_eighth_of_all_times() {
        let stat = "cpu  10 1 20 300 4 0 5 60 7 8\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(steal(stat), Some((60, 400)));
        assert_eq!(steal("cpu  1 2 3\n"), None);
    }

    #[test]
    fn the_clock_is_in_the_auxiliary_vector() {
        let bytes: Vec<u8> = [6u64, 4096, 17, 100, 0, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(ticks_per_second(&bytes), Some(100));
        assert_eq!(ticks_per_second(&bytes[..16]), None);
    }

    #[test]
    fn threads_say_their_nanoseconds_first() {
        assert_eq!(schedstat_ns("195978762 2503794597 705\n"), Some(195_978_762));
        assert_eq!(schedstat_ns(""), None);
    }

    #[test]
    fn the_first_core_speaks_for_all() {
        let text = "processor\t: 0\nmodel name\t: A: fast one\nprocessor\t: 1\nmodel name\t: B\n";
        assert_eq!(field(text, "model name"), Some("A: fast one"));
        assert_eq!(field(text, "flags"), None);
    }
}
