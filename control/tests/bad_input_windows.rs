//! What keeps the program from starting on Windows, as the command line and the log tell it. Each case is the real
//! program, built as it is for users, in a folder of its own.

#![cfg(windows)]
#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use vestibule_platform::{local::Listener, netcfg, service};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vestibule");
const FROM: &str = "https://www.wintun.net";
/// Wine on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(120);

/// The program, and what belongs to it, until it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("vestibule-start-{}-{name}", std::process::id()));
        // What a run that was ended under the same number has left.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        put(Path::new(PROGRAM), &folder.join("vestibule.exe"));
        Self(folder)
    }

    fn library(&self) -> PathBuf {
        self.0.join("wintun.dll")
    }

    /// Runs the daemon, which must refuse to start: what it says in one line, on its error stream and in its log.
    fn refused(&self, more: &[&str]) -> String {
        let (said, log) = (self.0.join("said.txt"), self.0.join("log"));
        let words = ["service", "run", "--gateway", "https://192.0.2.1:8443", "--interface", "vst-refused", "--pin"];
        let mut command = Command::new(self.0.join("vestibule.exe"));
        command.args(words).arg("8f".repeat(32)).arg("--mdm").arg(self.0.join("mdm.xml"));
        command.arg("--control").arg(self.0.join("control")).arg("--state").arg(self.0.join("state"));
        command.arg("--log").arg(&log).args(more).env("NO_COLOR", "1").stdin(Stdio::null());
        // A build for tests would take that library in place of the one beside the program.
        command.env_remove("VESTIBULE_WINTUN_STAND_IN");
        // A file, not a pipe, which somebody whom the program starts could hold open.
        let mut child = command.stdout(Stdio::null()).stderr(File::create(&said).unwrap()).spawn().unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > LIMIT {
                child.kill().unwrap();
                panic!("it runs: {}", fs::read_to_string(&said).unwrap());
            }
            thread::sleep(Duration::from_millis(50));
        };
        let said = fs::read_to_string(&said).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        let errors: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        assert_eq!(errors.len(), 1, "one line says why: {said}");
        let log = fs::read_to_string(log.join("daemon.log")).unwrap();
        assert!(log.contains(&format!("the service ends: {}", errors[0])), "`{}` is not in the log:\n{log}", errors[0]);
        assert_eq!(netcfg::interface_index("vst-refused"), None, "it has made an interface");
        errors[0].to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A link where there can be one: the program is large.
fn put(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

/// The first bytes of a library for a processor.
fn header(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
    bytes
}

#[test]
fn a_wintun_dll_that_cannot_be_used_is_told_with_what_to_do() {
    enum Found {
        Nothing,
        Folder,
        Bytes(Vec<u8>),
        /// A library for this processor that nobody has signed.
        OurProgram,
    }
    let other = if cfg!(target_arch = "aarch64") { (0x8664, "amd64") } else { (0xaa64, "arm64") };
    let for_other = format!("wintun.dll is for {}, this program for ", other.1);
    let cases: [(&str, Found, &[&str]); 7] = [
        ("missing", Found::Nothing, &["no ", "wintun.dll: take wintun.dll 0.14.1 from", FROM, "beside the program"]),
        ("a folder", Found::Folder, &["failed to read wintun.dll"]),
        ("empty", Found::Bytes(Vec::new()), &["wintun.dll is no library", FROM]),
        ("a text", Found::Bytes(b"<html>404 Not Found</html>".to_vec()), &["wintun.dll is no library", FROM]),
        ("32 bits", Found::Bytes(header(0x014c)), &["wintun.dll is for x86, this program for", "folder bin\\"]),
        ("another processor", Found::Bytes(header(other.0)), &[&for_other, "folder bin\\"]),
        ("unsigned", Found::OurProgram, &["wintun.dll has no valid signature (0x", FROM]),
    ];
    let folder = Folder::new("library");
    for (case, found, parts) in cases {
        if cfg!(feature = "stand-in") && matches!(found, Found::OurProgram) {
            println!("left out: {case}: this build is for tests, and takes the unsigned stand-in");
            continue;
        }
        let library = folder.library();
        match found {
            Found::Nothing => {}
            Found::Folder => fs::create_dir(&library).unwrap(),
            Found::Bytes(bytes) => fs::write(&library, bytes).unwrap(),
            Found::OurProgram => put(Path::new(PROGRAM), &library),
        }
        let line = folder.refused(&[]);
        println!("{case}: {line}");
        assert!(parts.iter().all(|part| line.contains(part)), "{case}: {parts:?} in `{line}`");
        assert!(line.starts_with("no virtual network adapter: "), "{case}: {line}");
        let _ = fs::remove_dir(&library);
        let _ = fs::remove_file(&library);
    }
}

#[test]
fn a_second_instance_and_a_taken_pipe_are_told_before_the_library_is_looked_for() {
    let folder = Folder::new("second");
    let state = folder.0.join("state");
    fs::create_dir(&state).unwrap();
    let alone = service::Alone::take(&state.join(".lock")).unwrap().unwrap();
    let line = folder.refused(&[]);
    assert!(line.starts_with("another `vestibule service run` uses the state directory"), "{line}");
    assert!(line.contains(&state.display().to_string()) && line.contains("stop that one first"), "{line}");
    drop(alone);

    let taken = Listener::bind(&folder.0.join("control")).unwrap();
    let line = folder.refused(&[]);
    assert!(line.starts_with("no control socket: another process already listens on"), "{line}");
    drop(taken);
}
