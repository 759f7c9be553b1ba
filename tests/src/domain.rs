//! A Samba domain controller in a namespace, and a client of its domain in another.

use crate::house::Room;
use crate::netns::Namespace;
use crate::process::{Process, run};
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The domain's name, as DNS has it.
pub const DOMAIN: &str = "corp.mycompany.example";
/// The controller's name in it.
pub const CONTROLLER: &str = "dc1.corp.mycompany.example";
/// Someone with an account in the domain.
pub const USER: &str = "alice";
/// The password there.
pub const PASSWORD: &str = "Wonderland+1";

/// Ports that a ready controller answers at: DNS, Kerberos, LDAP, SMB.
const PORTS: [u16; 4] = [53, 88, 389, 445];

/// A running domain controller with one user and one share, `staff`.
#[derive(Debug)]
pub struct Controller {
    process: Process,
    directory: PathBuf,
}

impl Controller {
    /// Makes a domain and starts its controller at `address` in `namespace`; about ten seconds.
    ///
    /// # Panics
    /// When Samba refuses, with what it said.
    #[must_use]
    pub fn start(namespace: &Namespace, room: &Path, address: IpAddr) -> Self {
        let directory = room.join("domain");
        let configuration = directory.join("etc/smb.conf");
        let realm = DOMAIN.to_uppercase();
        let mut provision = in_samba_room(namespace);
        provision.args(["samba-tool", "domain", "provision", "--quiet", "--server-role=dc"]);
        provision.args(["--dns-backend=SAMBA_INTERNAL", "--domain=CORP", "--host-name=dc1"]);
        provision.arg(format!("--realm={realm}")).arg(format!("--host-ip={address}"));
        provision.arg("--adminpass=Adm1nistrator+").arg(format!("--targetdir={}", directory.display()));
        run(&mut provision);
        for name in ["staff", "cache"] {
            fs::create_dir_all(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(directory.join("staff"), mode).unwrap_or_else(|error| panic!("staff: {error}"));
        let text = settings(&directory, &realm, address);
        fs::write(&configuration, text).unwrap_or_else(|error| panic!("{}: {error}", configuration.display()));
        let mut create = in_samba_room(namespace);
        create.args(["samba-tool", "user", "create", USER, PASSWORD, "-s"]).arg(&configuration);
        run(create.arg("-H").arg(directory.join("private/sam.ldb")));

        let mut samba = in_samba_room(namespace);
        samba.args(["samba", "-i", "--debug-stdout", "-s"]).arg(&configuration);
        let mut process = namespace.start(samba, room.join("samba.log"));
        process.wait_for("the domain controller", Duration::from_secs(30), || {
            namespace.thread(move || answers(address)).join().ok()?.then_some(())
        });
        Self { process, directory }
    }

    /// A file of the share, as it lies on the controller's disk.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join("staff").join(name)
    }

    /// Everything it has printed.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// All of [`PORTS`] take a connection.
fn answers(address: IpAddr) -> bool {
    let open = |port| TcpStream::connect_timeout(&SocketAddr::new(address, port), Duration::from_secs(1)).is_ok();
    PORTS.into_iter().all(open)
}

/// A command whose view of Samba's system directories is empty, so that it leaves nothing in the host's: `ip netns exec`
/// gives each command mounts of its own.
fn in_samba_room(namespace: &Namespace) -> Command {
    let mut command = namespace.command("sh");
    let places = "/run/samba /var/lib/samba /var/cache/samba /var/log/samba";
    let mounts = format!("for p in {places}; do mkdir -p $p && mount -t tmpfs tmpfs $p || exit; done");
    command.args(["-c", &format!("{mounts}; exec \"$@\""), "samba"]);
    command
}

fn settings(directory: &Path, realm: &str, address: IpAddr) -> String {
    let directory = directory.display();
    let scripts = format!("{directory}/state/sysvol/{DOMAIN}/scripts");
    format!(
        "[global]
    netbios name = DC1
    workgroup = CORP
    realm = {realm}
    server role = active directory domain controller
    server services = s3fs, rpc, ldap, cldap, kdc, dns, winbindd
    interfaces = {address}/24
    bind interfaces only = yes
    private dir = {directory}/private
    state directory = {directory}/state
    cache directory = {directory}/cache
    lock directory = {directory}
    tls enabled = no
    load printers = no
    disable spoolss = yes
[sysvol]
    path = {directory}/state/sysvol
    read only = no
[netlogon]
    path = {scripts}
    read only = no
[staff]
    path = {directory}/staff
    read only = no
"
    )
}

/// A machine of the domain: programs that find the controller by the machine's resolver alone.
#[derive(Debug)]
pub struct Client<'a> {
    namespace: &'a Namespace,
    home: PathBuf,
}

impl<'a> Client<'a> {
    /// One in `namespace`, with its tickets and caches in `room`.
    ///
    /// # Panics
    /// When its files cannot be written.
    #[must_use]
    pub fn new(namespace: &'a Namespace, room: &Room) -> Self {
        let home = room.0.join("client");
        let kerberos = format!(
            "[libdefaults]\n default_realm = {}\n dns_lookup_kdc = true\n dns_lookup_realm = false\n \
             dns_canonicalize_hostname = false\n rdns = false\n forwardable = true\n",
            DOMAIN.to_uppercase()
        );
        let place = home.display();
        let samba = format!(
            "[global]\n workgroup = CORP\n realm = {DOMAIN}\n lock directory = {place}\n state directory = {place}\n \
             cache directory = {place}\n private dir = {place}\n name resolve order = host\n"
        );
        for (name, text) in [("krb5.conf", &kerberos), (".smb/smb.conf", &samba)] {
            let path = home.join(name);
            let written = fs::create_dir_all(path.parent().unwrap_or(&home)).and_then(|()| fs::write(&path, text));
            written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        Self { namespace, home }
    }

    /// A program of the machine.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.namespace.command(program);
        command.env("HOME", &self.home).env("KRB5_CONFIG", self.home.join("krb5.conf"));
        command.env("KRB5CCNAME", self.tickets());
        command
    }

    fn tickets(&self) -> PathBuf {
        self.home.join("tickets")
    }

    /// The targets of a name's SRV records, `PRIORITY WEIGHT PORT HOST` each, as the machine's resolver tells them.
    ///
    /// # Errors
    /// What the resolver said.
    pub fn services(&self, name: &str) -> Result<Vec<String>, String> {
        let script =
            "import dns.resolver, sys\nfor r in dns.resolver.resolve(sys.argv[1], 'SRV', lifetime=5): print(r)";
        let output = output(self.command("/usr/bin/python3").args(["-c", script, name]))?;
        Ok(output.lines().map(str::to_owned).collect())
    }

    /// Gets a ticket by password, as the login screen does.
    ///
    /// # Errors
    /// What `kinit` said.
    pub fn kinit(&self) -> Result<String, String> {
        let mut command = self.command("kinit");
        command.arg(USER).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            writeln!(stdin, "{PASSWORD}").map_err(|error| error.to_string())?;
        }
        said(&child.wait_with_output().map_err(|error| error.to_string())?)
    }

    /// Gets a ticket for a service by the ticket from [`Self::kinit`].
    ///
    /// # Errors
    /// What `kvno` said.
    pub fn ticket_for(&self, service: &str) -> Result<String, String> {
        output(self.command("kvno").arg(service))
    }

    /// Does something in the share with `smbclient`, by Kerberos.
    ///
    /// # Errors
    /// What it said.
    pub fn share(&self, share: &str, what: &str) -> Result<String, String> {
        let mut command = self.command("smbclient");
        command.arg("-s").arg(self.home.join(".smb/smb.conf"));
        command.arg(format!("--use-krb5-ccache={}", self.tickets().display()));
        output(command.arg(format!("//{CONTROLLER}/{share}")).args(["-c", what]))
    }

    /// Opens a file of the share `staff` and keeps it open, with a write and a read every few milliseconds.
    ///
    /// # Panics
    /// When Python cannot be started.
    #[must_use]
    pub fn open_file(&self, name: &str) -> OpenFile {
        let stop = self.home.join("stop");
        let _ = fs::remove_file(&stop);
        let mut command = self.command("/usr/bin/python3");
        command
            .args(["-c", include_str!("domain/open_file.py"), &format!("smb://{CONTROLLER}/staff/{name}")])
            .arg(&stop);
        OpenFile { process: self.namespace.start(command, self.home.join("open-file.log")), stop }
    }
}

/// A file that a process keeps open over SMB.
#[derive(Debug)]
pub struct OpenFile {
    process: Process,
    stop: PathBuf,
}

impl OpenFile {
    /// How long each write and read took, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Duration> {
        // The last line may be half there.
        let said = self.process.said();
        let whole = said.rfind('\n').map_or("", |end| &said[..end]);
        let micros = |line: &str| line.split_once(' ')?.1.parse().ok().map(Duration::from_micros);
        whole.lines().map_while(micros).collect()
    }

    /// Waits until it has been written and read `count` times more.
    ///
    /// # Panics
    /// When it is not within ten seconds, or the file was lost.
    pub fn more(&mut self, count: usize) {
        let wanted = self.operations().len() + count;
        let log = self.process.log().to_owned();
        let lines = || fs::read_to_string(&log).map_or(0, |said| said.lines().count());
        self.process.wait_for("the open file", Duration::from_secs(10), || (lines() > wanted).then_some(()));
    }

    /// Closes it and gives [`Self::operations`].
    ///
    /// # Panics
    /// When anything went wrong with it, with what the process said.
    #[must_use]
    pub fn close(mut self) -> Vec<Duration> {
        fs::write(&self.stop, "").unwrap_or_else(|error| panic!("{}: {error}", self.stop.display()));
        assert!(self.process.wait_for_end(Duration::from_secs(10)), "the open file: {}", self.process.said());
        self.operations()
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    said(&command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?)
}

fn said(output: &Output) -> Result<String, String> {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(out) } else { Err(out + &String::from_utf8_lossy(&output.stderr)) }
}
