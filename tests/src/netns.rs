//! Network namespaces that leave nothing behind.

use crate::process::{Process, run};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A named network namespace with its loopback up; dropping it ends its processes and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one; its name holds this process's id, so that a later run can clear up after one that was killed. Its
    /// programs have an `/etc/resolv.conf` of their own: a daemon in here writes none on the host.
    ///
    /// # Panics
    /// When `ip` is missing or we are not root.
    #[must_use]
    pub fn new() -> Self {
        clear_up();
        let name = format!("vst-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        namespace.resolve_by("# no name servers\n");
        namespace.run("ip", &["link", "set", "lo", "up"]);
        namespace
    }

    /// Its name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Joins two namespaces by a virtual cable; each end is called `wire0` and has its address.
    ///
    /// # Panics
    /// When `ip` refuses.
    pub fn join(&self, address: &str, other: &Self, other_address: &str) {
        self.join_by("wire0", address, other, other_address);
    }

    /// As [`Self::join`], by a cable of another name.
    ///
    /// # Panics
    /// When `ip` refuses.
    pub fn join_by(&self, wire: &str, address: &str, other: &Self, other_address: &str) {
        let words = ["link", "add", wire, "netns", &self.name, "type", "veth", "peer", "name", wire, "netns"];
        run(Command::new("ip").args(words).arg(&other.name));
        for (end, address) in [(self, address), (other, other_address)] {
            end.run("ip", &["address", "add", address, "dev", wire]);
            end.run("ip", &["link", "set", wire, "up"]);
        }
    }

    /// Gives the programs that are started in here from now on an `/etc/resolv.conf` of their own, and its path outside.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn resolve_by(&self, text: &str) -> PathBuf {
        let path = own_files(&self.name).join("resolv.conf");
        // Another test that ends may take the empty `/etc/netns` away in between.
        let write = || fs::create_dir_all(own_files(&self.name)).and_then(|()| fs::write(&path, text));
        let written = (0..10).find_map(|_| write().ok());
        assert!(written.is_some(), "{}: {:?}", path.display(), write());
        path
    }

    /// What the network looks like in here: routing rules, routes, addresses, interfaces, resolvers. The kernel's own IPv6
    /// routes are left out, since they come a moment after their interface.
    ///
    /// # Panics
    /// When `ip` refuses.
    #[must_use]
    pub fn network(&self) -> Vec<String> {
        let asked: [&[&str]; 5] = [
            &["-4", "rule", "show"],
            &["-6", "rule", "show"],
            &["-4", "route", "show", "table", "all"],
            &["-6", "route", "show", "table", "all"],
            &["-4", "-brief", "address", "show"],
        ];
        let text = asked.map(|words| self.run("ip", words)).concat() + &self.run("ls", &["/sys/class/net"]);
        let resolvers = fs::read_to_string(own_files(&self.name).join("resolv.conf")).unwrap_or_default();
        let kernels = |line: &str| line.contains("fe80::") || line.contains("ff00::/8") || line.starts_with("anycast");
        text.lines().chain(resolvers.lines()).filter(|line| !kernels(line)).map(str::to_owned).collect()
    }

    /// A command that runs in here, and dies with the thread that started it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a program in here to its end and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        run(self.command(program).args(arguments))
    }

    /// Starts a program in here; its output goes to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, mut command: Command, log: PathBuf) -> Process {
        Process::start(&mut command, log)
    }

    /// Runs `work` on a thread whose sockets live in here.
    ///
    /// # Panics
    /// The thread panics when the namespace cannot be entered.
    pub fn thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let path = format!("/run/netns/{}", self.name);
        thread::spawn(move || {
            let entered = File::open(&path).map(|file| setns(file, CloneFlags::CLONE_NEWNET));
            assert!(matches!(entered, Ok(Ok(()))), "cannot enter {path}: {entered:?}");
            work()
        })
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// What `ip netns exec` puts over the files of `/etc`.
fn own_files(name: &str) -> PathBuf {
    PathBuf::from("/etc/netns").join(name)
}

fn remove(name: &str) {
    if let Ok(pids) = Command::new("ip").args(["netns", "pids", name]).output() {
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
            // A thread of ours may be inside: never end ourselves.
            if pid != std::process::id().to_string() {
                // It may have ended meanwhile.
                let _ = Command::new("kill").args(["-KILL", pid]).output();
            }
        }
    }
    let _ = Command::new("ip").args(["netns", "delete", name]).status();
    let _ = fs::remove_dir_all(own_files(name));
    // Fails while another namespace has files there.
    let _ = fs::remove_dir("/etc/netns");
}

/// Removes what test processes that are gone have left.
fn clear_up() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("vst-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}
