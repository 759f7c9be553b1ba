//! Whose sessions count: what logind says of one, and whether that is somebody's desktop.

use crate::session::{Seat, Session, seen::Seen};

/// What logind says of a session, in its own words.
pub(super) struct Facts<'a> {
    pub(super) user: &'a str,
    pub(super) class: &'a str,
    pub(super) kind: &'a str,
    pub(super) state: &'a str,
    pub(super) seat: &'a str,
    pub(super) remote: bool,
    pub(super) active: bool,
    pub(super) locked: bool,
    pub(super) since: u64,
}

/// `None` for what is no user's desktop: a greeter (that is the login screen), the user's service manager, a job, a remote
/// shell, a session that is closing.
pub(super) fn seen(id: String, facts: &Facts<'_>) -> Option<Seen> {
    let of_user = facts.class == "user" || facts.class.starts_with("user-");
    let desktop = match facts.kind {
        "x11" | "wayland" | "mir" => true,
        // A text console is one; a shell over the network is not.
        "tty" => !facts.remote,
        _ => false,
    };
    if !of_user || facts.class == "user-incomplete" || !desktop || facts.state == "closing" || facts.user.is_empty() {
        return None;
    }
    // Further seats have screens of their own: as with remote desktops, any number is shown at a time.
    let seat = if facts.remote || facts.seat != "seat0" { Seat::Remote } else { Seat::Console };
    let session = Session { id, user: facts.user.to_owned(), seat, active: facts.active };
    Some(Seen { session, locked: facts.locked, since: facts.since })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: Facts<'_> = Facts {
        user: "anna",
        class: "user",
        kind: "wayland",
        state: "active",
        seat: "seat0",
        remote: false,
        active: true,
        locked: false,
        since: 1,
    };

    #[test]
    fn only_desktops_of_users_count() {
        let is = |facts: Facts<'_>| seen("1".to_owned(), &facts).map(|seen| seen.session.seat);
        assert_eq!(is(ANNA), Some(Seat::Console));
        assert_eq!(is(Facts { kind: "tty", ..ANNA }), Some(Seat::Console), "a text console");
        assert_eq!(is(Facts { kind: "x11", seat: "", remote: true, ..ANNA }), Some(Seat::Remote), "xrdp");
        assert_eq!(is(Facts { seat: "seat1", ..ANNA }), Some(Seat::Remote), "a second seat");
        assert_eq!(is(Facts { class: "user-early", ..ANNA }), Some(Seat::Console));
        for class in ["greeter", "lock-screen", "background", "manager", "user-incomplete", "none", ""] {
            assert_eq!(is(Facts { class, ..ANNA }), None, "{class}");
        }
        assert_eq!(is(Facts { kind: "tty", seat: "", remote: true, ..ANNA }), None, "a shell over the network");
        assert_eq!(is(Facts { kind: "unspecified", ..ANNA }), None, "a job");
        assert_eq!(is(Facts { state: "closing", ..ANNA }), None, "logged off, processes left over");
    }
}
