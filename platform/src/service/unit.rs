//! The unit of the service, for systemd.

use super::{DESCRIPTION, Plan};
use std::ffi::OsStr;

/// The text of the unit file; `None` when a word cannot be written in one.
///
/// What keeps the service small must not keep small what it starts: a user's browser, for the sign-in, inherits all of
/// it but the capabilities. So there is no private `/tmp` (the desktop's socket is there), no filter of system calls or
/// namespaces (browsers fence themselves in with them), and a stop ends the daemon, not that browser.
pub(super) fn text(plan: &Plan) -> Option<String> {
    let words: Option<Vec<String>> =
        std::iter::once(plan.program.as_os_str()).chain(plan.arguments.iter().map(AsRef::as_ref)).map(quoted).collect();
    let command = words?.join(" ");
    Some(format!(
        "# Written by `vestibule service install`; `vestibule service uninstall` removes it.
[Unit]
Description=Vestibule: {DESCRIPTION}
Documentation=man:systemd.service(5)
# Before the login screen, and as soon as there is a network to speak of.
Wants=network.target
After=network-pre.target network.target dbus.service systemd-logind.service systemd-resolved.service
Before=display-manager.service systemd-user-sessions.service

[Service]
# It says when it answers; what comes after it then finds it.
Type=notify
ExecStart={command}
Restart=on-failure
RestartSec=1
# After a minute of failures, once a minute.
RestartSteps=5
RestartMaxDelaySec=60
TimeoutStartSec=60
TimeoutStopSec=20
KillMode=process
StateDirectory=vestibule
StateDirectoryMode=0700
RuntimeDirectory=vestibule
RuntimeDirectoryMode=0755
# The adapter and its routes; port 53 of the loopback; a sign-in's browser as its user, found by their programs.
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SYS_PTRACE CAP_DAC_READ_SEARCH
ProtectSystem=true
ProtectClock=true
ProtectControlGroups=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=false
LockPersonality=true
UMask=0077

[Install]
WantedBy=multi-user.target
"
    ))
}

/// A word of a command line as systemd reads it.
fn quoted(word: &OsStr) -> Option<String> {
    let word = word.to_str()?;
    if word.chars().any(char::is_control) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Some(word.to_owned());
    }
    // `%` and `$` would be replaced, a backslash and a quote would end what they stand in.
    let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    Some(format!("\"{word}\""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_command_stands_in_the_unit_word_for_word() {
        let arguments = ["service", "run", "--mdm", "/etc/my mdm/50%$.xml", "--browser", "a \"b\" \\c", ""];
        let plan = Plan {
            program: "/usr/local/bin/vestibule".into(),
            arguments: arguments.map(Into::into).to_vec(),
            start: false,
            keep: false,
        };
        let text = text(&plan).unwrap();
        let line = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert_eq!(
            line,
            r#"ExecStart=/usr/local/bin/vestibule service run --mdm "/etc/my mdm/50%%$$.xml" --browser "a \"b\" \\c" """#
        );
        assert!(text.contains("WantedBy=multi-user.target") && text.contains("Before=display-manager.service"));
    }

    #[test]
    fn a_line_feed_cannot_smuggle_settings_in() {
        let plan =
            Plan { program: "/x".into(), arguments: vec!["a\nExecStart=/bin/sh".into()], start: false, keep: false };
        assert_eq!(text(&plan), None);
    }
}
