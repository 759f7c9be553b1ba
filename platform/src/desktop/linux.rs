//! Linux: `xdg-open`, as the user, with what the programs of their desktop have in their environment.

use super::DesktopError;
use nix::unistd::{Uid, User};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

const OPENER: &str = "xdg-open";
/// What a program needs to find the desktop, its bus and its settings.
const TAKEN: [&str; 10] = [
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_ID",
    "XDG_SESSION_TYPE",
    "XDG_CURRENT_DESKTOP",
    "XDG_DATA_DIRS",
    "DBUS_SESSION_BUS_ADDRESS",
    "LANG",
];
/// Programs are looked for where the system keeps them, never where a user's own `PATH` says.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The opener at work.
#[derive(Debug)]
pub(super) struct Opener(Child);

impl Opener {
    pub(super) fn wait(mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

pub(super) fn show_message(_: &str, _: &str, _: &str) -> Result<(), DesktopError> {
    Err(DesktopError::Unsupported)
}

pub(super) fn open_browser(name: &str, url: &str) -> Result<Opener, DesktopError> {
    let owned = || name.to_owned();
    let user = User::from_name(name).ok().flatten().ok_or_else(|| DesktopError::NoUser { user: owned() })?;
    let me = Uid::effective();
    if !me.is_root() && me != user.uid {
        return Err(DesktopError::NotAllowed { user: owned() });
    }
    let found = desktop(Path::new("/proc"), user.uid.as_raw());
    let environment = found.ok_or_else(|| DesktopError::NoDesktop { user: owned() })?;
    let mut command = Command::new(OPENER);
    command.arg(url).env_clear().env("PATH", PATH).envs(environment);
    command.env("HOME", &user.dir).env("USER", &user.name).env("LOGNAME", &user.name).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    if me.is_root() && !user.uid.is_root() {
        // Supplementary groups go, too: none of root's are left.
        command.gid(user.gid.as_raw()).uid(user.uid.as_raw());
    }
    command.spawn().map(Opener).map_err(|cause| DesktopError::Start { program: OPENER, cause })
}

/// The environment of a user's desktop: that of their newest program which has a display.
fn desktop(proc: &Path, uid: u32) -> Option<BTreeMap<String, String>> {
    let mut pids: Vec<u32> =
        fs::read_dir(proc).ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    pids.into_iter().find_map(|pid| {
        let process = proc.join(pid.to_string());
        // Others' environments are not for this user.
        if fs::metadata(&process).ok()?.uid() != uid {
            return None;
        }
        let environment = taken(&fs::read(process.join("environ")).ok()?);
        (environment.contains_key("DISPLAY") || environment.contains_key("WAYLAND_DISPLAY")).then_some(environment)
    })
}

/// The variables of interest of a process's environment.
fn taken(environ: &[u8]) -> BTreeMap<String, String> {
    let pairs = environ.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
    let wanted = pairs.filter(|(name, value)| TAKEN.contains(name) && !value.is_empty());
    wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_desktop_of_a_user_is_read_off_their_programs() {
        let proc = std::env::temp_dir().join(format!("vestibule-desktop-{}", std::process::id()));
        for (pid, environ) in [
            ("7", "DISPLAY=:0\0XDG_RUNTIME_DIR=/run/user/1\0SECRET=x\0PATH=/evil\0"),
            ("12", "WAYLAND_DISPLAY=wayland-1\0DISPLAY=\0"),
            ("30", "HOME=/home/a\0"),
            ("self", "DISPLAY=:9\0"),
        ] {
            fs::create_dir_all(proc.join(pid)).unwrap();
            fs::write(proc.join(pid).join("environ"), environ).unwrap();
        }
        let uid = fs::metadata(&proc).unwrap().uid();
        let found = desktop(&proc, uid).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("WAYLAND_DISPLAY".to_owned(), "wayland-1".to_owned())]);
        fs::remove_dir_all(proc.join("12")).unwrap();
        let found = desktop(&proc, uid).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["DISPLAY", "XDG_RUNTIME_DIR"], "nothing else is taken");
        assert!(desktop(&proc, uid + 1).is_none(), "another user's desktop is not this one's");
        fs::remove_dir_all(proc).unwrap();
    }

    #[test]
    fn who_is_not_there_or_has_no_desktop_gets_no_browser() {
        assert!(matches!(open_browser("nobody-of-this-name", "https://gw/"), Err(DesktopError::NoUser { .. })));
        // A system account never has one.
        let refused = open_browser("daemon", "https://gw/");
        assert!(
            matches!(refused, Err(DesktopError::NoDesktop { .. } | DesktopError::NotAllowed { .. })),
            "{refused:?}"
        );
    }
}
