//! What a host may have in the way of a daemon that starts: no rights, a taken name, another instance, somebody else's
//! socket. Each is told in one line on the error stream and in the log, and the host's network stays as it was.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use vestibule_control::daemon::ipc::State;
use vestibule_tests::device::{Paths, mdm};
use vestibule_tests::house::House;
use vestibule_tests::process::wrapped;

const LIMIT: Duration = Duration::from_secs(30);
/// A user whom the kernel gives nothing.
const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
/// Root without the one capability that counts.
const BARE_ROOT: [&str; 4] = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"];

/// How a program that could not start ended.
struct Refused {
    /// Its last line on the error stream.
    line: String,
    log: String,
}

/// Runs `vestibule` to its end, which must be a failure of one line.
fn refused(house: &House, wrapper: &[&str], words: &[&str], log: Option<&Path>) -> Refused {
    let mut command = wrapped(&house.outside, wrapper);
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{wrapper:?} {words:?}: {said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{wrapper:?} {words:?}: one line says why:\n{said}");
    let line = errors[0]["error: ".len()..].to_owned();
    let log = log.map(|log| fs::read_to_string(log.join("daemon.log")).unwrap()).unwrap_or_default();
    Refused { line, log }
}

/// The words of a daemon whose files are below `room`, but for what `more` says, towards a gateway that it will never ask.
fn daemon(house: &House, room: &Path, more: &[&str]) -> Vec<String> {
    let (url, pin) = (house.gateway.fact("url").to_owned(), house.gateway.fact("certificate_sha256").to_owned());
    let file = |name: &str| room.join(name).to_str().unwrap().to_owned();
    let words = [
        ["--gateway".to_owned(), url],
        ["--pin".to_owned(), pin],
        ["--mdm".to_owned(), file("mdm.xml")],
        ["--state".to_owned(), file("device")],
        ["--control".to_owned(), file("control.sock")],
        ["--sessions".to_owned(), file("sessions.sock")],
        ["--log".to_owned(), file("log")],
    ];
    let words = words.into_iter().filter(|[name, _]| !more.contains(&name.as_str())).flatten();
    let more = more.iter().map(|word| (*word).to_owned());
    ["service".to_owned(), "run".to_owned()].into_iter().chain(words).chain(more).collect()
}

/// A directory of its own for one case.
fn room(house: &House, name: &str) -> PathBuf {
    let room = house.room.0.join(name);
    fs::create_dir(&room).unwrap();
    room
}

/// A daemon that must refuse to start: what it says, in both places, and that the network is untouched.
fn daemon_refused(house: &House, case: &str, wrapper: &[&str], more: &[&str], parts: &[&str]) {
    let room = room(house, case);
    if wrapper == NOBODY {
        std::os::unix::fs::chown(&room, Some(65534), Some(65534)).unwrap();
    }
    let words = daemon(house, &room, more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let before = house.outside.network();
    let refused = refused(house, wrapper, &words, Some(&room.join("log")));
    for part in parts {
        assert!(refused.line.contains(part), "{case}: `{part}` in `{}`", refused.line);
    }
    assert!(refused.log.contains(&format!("the service ends: {}", refused.line)), "{case}: the log:\n{}", refused.log);
    assert_eq!(house.outside.network(), before, "{case}: the host's network");
    println!("{case}: {}", refused.line);
}

#[test]
fn what_keeps_a_daemon_from_starting_is_told_and_changes_nothing() {
    if !vestibule_tests::required("what_keeps_a_daemon_from_starting_is_told_and_changes_nothing") {
        return;
    }
    let house = House::new("start");
    let needed = ["CAP_NET_ADMIN", "try again with sudo"];
    daemon_refused(&house, "another-user", &NOBODY, &[], &needed);
    daemon_refused(&house, "bare-root", &BARE_ROOT, &[], &needed);
    assert!(!house.room.0.join("another-user/device").exists(), "nothing is made before that is known");

    house.outside.run("ip", &["link", "add", "taken0", "type", "veth", "peer", "name", "taken2"]);
    house.outside.run("ip", &["address", "add", "198.51.100.1/24", "dev", "taken0"]);
    house.outside.run("ip", &["tuntap", "add", "taken1", "mode", "tun"]);
    let taken = ["network interface \"taken0\" already that is not ours", "choose another name"];
    daemon_refused(&house, "taken-by-an-interface", &[], &["--interface", "taken0"], &taken);
    let idle = ["adapter \"taken1\" is another program's", "choose another name"];
    daemon_refused(&house, "taken-by-an-idle-tunnel", &[], &["--interface", "taken1"], &idle);
    daemon_refused(&house, "no-name", &[], &["--interface", "a/b"], &["adapter name \"a/b\" is not 1 to 15 bytes"]);

    // The other verbs that make an adapter, or a service.
    for (words, parts) in [(vec!["wireguard", "-f", "taken0"], &taken[..]), (vec!["wireguard", "-f", "taken1"], &idle)]
    {
        let before = house.outside.network();
        let line = refused(&house, &[], &words, None).line;
        assert!(parts.iter().all(|part| line.contains(part)), "{words:?}: {line}");
        assert_eq!(house.outside.network(), before, "{words:?}");
    }
    for (words, part) in [
        // Whoever may open the device there may still not make an adapter; both answers name what is missing.
        (vec!["wireguard", "-f", "wg7"], "CAP_NET_ADMIN"),
        (vec!["service", "install"], "installing a service needs root: try again with sudo"),
        (vec!["service", "uninstall"], "uninstalling a service needs root: try again with sudo"),
    ] {
        let line = refused(&house, &NOBODY, &words, None).line;
        assert!(line.contains(part), "{words:?}: {line}");
    }
}

#[test]
fn a_second_instance_is_told_so_and_the_first_goes_on() {
    if !vestibule_tests::required("a_second_instance_is_told_so_and_the_first_goes_on") {
        return;
    }
    let house = House::new("second");
    let token = house.admin.token("Devices", "1h");
    let mut first = house.device(&token);
    let before = first.until_connected(LIMIT);

    let (state, control) = (house.paths.state(), &house.paths.control);
    let (state, control) = (state.to_str().unwrap(), control.to_str().unwrap());
    let in_use = format!("another `vestibule service run` uses the state directory {state}: stop that one first");
    daemon_refused(&house, "same-state", &[], &["--state", state], &[&in_use]);
    let listens = format!("another process already listens on {control}");
    let apart = ["--control", control, "--interface", "vestibule7"];
    daemon_refused(&house, "same-socket", &[], &apart, &[&listens]);
    let busy = ["adapter \"vestibule0\" is another program's, perhaps a second instance's", "end that first"];
    daemon_refused(&house, "same-adapter", &[], &[], &busy);

    let after = first.status().unwrap();
    assert_eq!((after.state, after.generation), (State::Connected, before.generation));
    assert!(house.carries(), "the first one carries nothing any more");
    assert!(first.stop(), "SIGTERM: {}", first.said());
    // Where the refused ones were one starts now.
    house.paths.deploy(mdm(&token));
    house.device(&token).until_connected(LIMIT);
}

/// A socket of another user's, in a directory that lets everybody in; what it hears it prints.
struct Squatter {
    process: std::process::Child,
}

impl Squatter {
    fn at(path: &Path) -> Self {
        const LISTEN: &str = "import socket, sys\n\
             listener = socket.socket(socket.AF_UNIX)\n\
             listener.bind(sys.argv[1])\n\
             listener.listen()\n\
             print('listens', flush=True)\n\
             while True:\n    print(repr(listener.accept()[0].recv(100)), flush=True)\n";
        let [program, words @ ..] = NOBODY;
        let mut command = Command::new(program);
        command.arg("--pdeathsig=KILL").args(words).args(["/usr/bin/python3", "-c", LISTEN]).arg(path);
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut squatter = Self { process };
        assert_eq!(squatter.hears(), "listens");
        squatter
    }

    fn hears(&mut self) -> String {
        let mut line = String::new();
        BufReader::with_capacity(1, self.process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_control_socket_of_somebody_else_is_told_and_hears_nothing() {
    if !vestibule_tests::required("a_control_socket_of_somebody_else_is_told_and_hears_nothing") {
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new("squat");
    let shared = room(&house, "shared");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let paths = Paths::below(&shared);
    let mut squatter = Squatter::at(&paths.control);

    let control = paths.control.to_str().unwrap();
    let belongs = format!("{control} belongs to nobody: expected one of the system");
    for verb in [&["status"][..], &["connect"], &["registration", "show"]] {
        let outcome = paths.verb(verb);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.error.contains(&belongs) && outcome.error.contains("nothing was sent"), "{outcome:?}");
        assert_eq!(outcome.error.lines().count(), 1, "{outcome:?}");
        assert_eq!(squatter.hears(), "b''", "{verb:?} told somebody else something");
    }
    daemon_refused(&house, "squatted", &[], &["--control", control], &[&belongs]);
    assert_eq!(squatter.hears(), "b''");

    // Nobody's directory: what is in it is theirs to replace.
    let theirs = room(&house, "theirs");
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).unwrap();
    let control = theirs.join("control.sock");
    let belongs = format!("the directory {} belongs to nobody", theirs.display());
    daemon_refused(&house, "their-directory", &[], &["--control", control.to_str().unwrap()], &[&belongs]);
    assert!(!control.exists());
}
