//! The engines that are known, and where they are.

use serde::{Deserialize, Serialize};
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The one whose targets are judged.
pub(super) const OURS: &str = "vestibule";
/// The same packet path over MASQUE (HTTP/3).
pub(super) const OURS_MASQUE: &str = "vestibule-masque";
/// And over HTTP/2.
pub(super) const OURS_HTTP2: &str = "vestibule-http2";
/// The verb of this program that is one end of a MASQUE tunnel.
const MASQUE_END: &str = "masque-end";

/// What kind of engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A process of its own at each end.
    Userspace,
    /// The same, joined by certificates in place of WireGuard's control socket: `masque-end` of this program.
    Masque,
    /// The kernel's module.
    Kernel,
    /// No tunnel: the bare cable, which no engine can surpass.
    Cable,
}

/// An engine that can be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Engine {
    /// Short name.
    pub(super) name: String,
    /// Its kind.
    pub(super) kind: Kind,
    /// The command; the interface's name follows it. Empty without processes.
    pub(super) command: Vec<String>,
    /// Which version it is, in its own words.
    pub(super) version: String,
}

/// One that may be installed.
struct Known {
    name: &'static str,
    /// Names of its program.
    programs: &'static [&'static str],
    arguments: &'static [&'static str],
    /// The path of its Go module, which says the version more exactly than it does itself.
    module: Option<&'static str>,
}

const KNOWN: [Known; 5] = [
    Known { name: OURS, programs: &["vestibule"], arguments: &["wireguard", "-f"], module: None },
    Known {
        name: "wireguard-go",
        programs: &["wireguard-go", "wireguard"],
        arguments: &["-f"],
        module: Some("golang.zx2c4.com/wireguard"),
    },
    Known {
        name: "gotatun",
        programs: &["gotatun"],
        arguments: &["--foreground", "--disable-drop-privileges"],
        module: None,
    },
    Known {
        name: "boringtun",
        programs: &["boringtun-cli"],
        arguments: &["--foreground", "--disable-drop-privileges"],
        module: None,
    },
    Known {
        name: "neptun",
        programs: &["neptun-cli"],
        arguments: &["--foreground", "--disable-drop-privileges"],
        module: None,
    },
];

/// Why the engines asked for cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// It is not installed.
    #[error("no engine `{name}` here; found: {found}. `benches/setup` installs the known ones into target/peers/bin")]
    Missing {
        /// Which one.
        name: String,
        /// What there is.
        found: String,
    },
    /// `--engine` is malformed.
    #[error("expected --engine NAME=COMMAND with a NAME not used yet, got `{0}`")]
    Extra(String),
}

/// Where to look.
#[derive(Clone, Debug)]
pub(super) struct Places<'a> {
    /// Ours.
    pub(super) vestibule: Option<&'a Path>,
    /// Directories of the others, before `PATH`.
    pub(super) directories: &'a [PathBuf],
    /// `--engine`.
    pub(super) extra: &'a [String],
}

/// Every engine that is there, in the order of the tables.
pub(super) fn find(places: &Places<'_>) -> Result<Vec<Engine>, EngineError> {
    let mut found: Vec<Engine> = KNOWN.iter().filter_map(|known| locate(known, places)).collect();
    found.extend(masque(OURS_MASQUE, &[MASQUE_END]));
    found.extend(masque(OURS_HTTP2, &[MASQUE_END, "--http2"]));
    for extra in places.extra {
        let parsed = extra.split_once('=').filter(|(name, command)| {
            let known = KNOWN.iter().any(|known| known.name == *name) || [OURS_MASQUE, OURS_HTTP2].contains(name);
            let taken = known || found.iter().any(|engine| engine.name == *name);
            !name.is_empty() && !taken && !command.trim().is_empty()
        });
        let Some((name, command)) = parsed else { return Err(EngineError::Extra(extra.clone())) };
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let version = said(Path::new(&command[0])).unwrap_or_default();
        let kind = if command.iter().any(|word| word == MASQUE_END) { Kind::Masque } else { Kind::Userspace };
        found.push(Engine { name: name.to_owned(), kind, command, version });
    }
    let module = || Command::new("modinfo").arg("wireguard").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if Path::new("/sys/module/wireguard").exists() || module().is_ok_and(|status| status.success()) {
        let version = std::fs::read_to_string("/sys/module/wireguard/version").unwrap_or_default();
        let version = format!("module {}", version.trim());
        found.push(Engine { name: "kernel".to_owned(), kind: Kind::Kernel, command: Vec::new(), version });
    }
    let version = "no tunnel: the cable itself".to_owned();
    found.push(Engine { name: "veth".to_owned(), kind: Kind::Cable, command: Vec::new(), version });
    Ok(found)
}

/// Those asked for, in the order found; all when none is.
pub(super) fn select(found: Vec<Engine>, wanted: &[String]) -> Result<Vec<Engine>, EngineError> {
    if let Some(name) = wanted.iter().find(|name| found.iter().all(|engine| engine.name != **name)) {
        let found: Vec<&str> = found.iter().map(|engine| engine.name.as_str()).collect();
        return Err(EngineError::Missing { name: name.clone(), found: found.join(", ") });
    }
    let asked = |engine: &Engine| wanted.is_empty() || wanted.contains(&engine.name);
    Ok(found.into_iter().filter(asked).collect())
}

fn locate(known: &Known, places: &Places<'_>) -> Option<Engine> {
    let path = env::var_os("PATH").unwrap_or_default();
    let program = if known.name == OURS {
        places.vestibule.map(Path::to_owned).filter(|file| file.is_file())
    } else {
        let directories = places.directories.iter().cloned().chain(env::split_paths(&path));
        let candidates = directories.flat_map(|directory| known.programs.iter().map(move |name| directory.join(name)));
        candidates.into_iter().find(|file| file.is_file())
    }?;
    let program = std::path::absolute(&program).unwrap_or(program);
    let module = known.module.and_then(|module| module_version(&std::fs::read(&program).ok()?, module));
    let version = module.or_else(|| said(&program)).unwrap_or_else(|| "unknown".to_owned());
    let arguments = known.arguments.iter().map(|&argument| argument.to_owned());
    let command = std::iter::once(program.display().to_string()).chain(arguments).collect();
    Some(Engine { name: known.name.to_owned(), kind: Kind::Userspace, command, version })
}

/// Ours over MASQUE: this program.
fn masque(name: &str, words: &[&str]) -> Option<Engine> {
    let program = env::current_exe().ok()?;
    let version = said(&program).unwrap_or_default();
    let words = words.iter().map(|&word| word.to_owned());
    let command = std::iter::once(program.display().to_string()).chain(words).collect();
    Some(Engine { name: name.to_owned(), kind: Kind::Masque, command, version })
}

/// The first line that a program prints of its version.
fn said(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// The version of the main module in a Go program's build information.
fn module_version(program: &[u8], module: &str) -> Option<String> {
    let head = format!("\nmod\t{module}\t");
    let at = program.windows(head.len()).position(|window| window == head.as_bytes())?;
    let rest = &program[at + head.len()..];
    let end = rest.iter().take(100).position(|byte| byte.is_ascii_control())?;
    std::str::from_utf8(&rest[..end]).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn engine(name: &str) -> Engine {
        Engine { name: name.to_owned(), kind: Kind::Userspace, command: Vec::new(), version: String::new() }
    }

    #[test]
    fn what_was_asked_for_is_taken_or_missed_by_name() {
        let found = || vec![engine("a"), engine("b"), engine("c")];
        let names = |wanted: &[String]| -> Vec<String> {
            select(found(), wanted).unwrap().into_iter().map(|engine| engine.name).collect()
        };
        assert_eq!(names(&[]), ["a", "b", "c"]);
        assert_eq!(names(&["c".to_owned(), "a".to_owned()]), ["a", "c"]);
        let error = select(found(), &["x".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("`x`") && error.contains("a, b, c"), "{error}");
    }

    #[test]
    fn an_extra_engine_is_a_name_and_a_command() {
        fn places(extra: &[String]) -> Places<'_> {
            Places { vestibule: None, directories: &[], extra }
        }
        let extra = ["old=/nowhere/vestibule wireguard -f".to_owned()];
        let found = find(&places(&extra)).unwrap();
        let old = found.iter().find(|engine| engine.name == "old").unwrap();
        assert_eq!(old.command, ["/nowhere/vestibule", "wireguard", "-f"]);
        for bad in ["old", "=x", "old= ", "vestibule=x"] {
            let extra = [bad.to_owned()];
            assert!(matches!(find(&places(&extra)), Err(EngineError::Extra(_))), "{bad}");
        }
        let twice = ["old=x".to_owned(), "old=y".to_owned()];
        assert!(matches!(find(&places(&twice)), Err(EngineError::Extra(_))));
    }

    #[test]
    fn a_go_program_says_its_module_version() {
        let program = b"\x7fELF...path\tx\nmod\tgolang.zx2c4.com/wireguard\tv0.0.0-2026\th1:abc=\ndep\t...";
        assert_eq!(module_version(program, "golang.zx2c4.com/wireguard").as_deref(), Some("v0.0.0-2026"));
        assert_eq!(module_version(program, "golang.zx2c4.com/wintun"), None);
        assert_eq!(module_version(b"", "x"), None);
    }
}
