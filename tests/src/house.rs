//! One device, one gateway, a cable between them, and the administrator.

use crate::admin::{Admin, Token};
use crate::device::{Device, Paths, mdm};
use crate::gateway::Gateway;
use crate::netns::Namespace;
use std::fs;
use std::path::PathBuf;

/// The gateway's address on the cable.
pub const GATEWAY: &str = "192.0.2.1";
/// The device's.
pub const DEVICE: &str = "192.0.2.2";
/// The gateway's inner address, the first of its pool.
pub const INNER: &str = "100.96.0.1";

/// A gateway, and the place for a device. What is dropped first stands first.
pub struct House {
    /// The gateway's process.
    pub gateway: Gateway,
    /// Sits at the gateway's host.
    pub admin: Admin,
    /// The device's files.
    pub paths: Paths,
    /// The gateway's host.
    pub inside: Namespace,
    /// The device's host.
    pub outside: Namespace,
    /// For files and logs; kept after a failure.
    pub room: Room,
}

impl House {
    /// Two hosts, the gateway running, and a rule that lets everybody reach its inner address.
    #[must_use]
    pub fn new(test: &str) -> Self {
        Self::under(test, &[])
    }

    /// As [`Self::new`], with words before the gateway's command.
    #[must_use]
    pub fn under(test: &str, wrapper: &[&str]) -> Self {
        Self::in_room(Room::new(test), wrapper)
    }

    /// As [`Self::under`], in a room that is there already.
    #[must_use]
    pub fn in_room(room: Room, wrapper: &[&str]) -> Self {
        Self::with(room, wrapper, &[])
    }

    /// As [`Self::in_room`], with more words for the gateway's command.
    #[must_use]
    pub fn with(room: Room, wrapper: &[&str], more: &[&str]) -> Self {
        let (inside, outside) = (Namespace::new(), Namespace::new());
        inside.join(&format!("{GATEWAY}/24"), &outside, &format!("{DEVICE}/24"));
        let gateway = Gateway::start_under(&inside, wrapper, &room.0, GATEWAY, more);
        let admin = Admin::seat(&inside, &gateway);
        admin.allow(INNER);
        Self { gateway, admin, paths: Paths::below(&room.0), inside, outside, room }
    }

    /// Deploys an MDM file with `token` and starts the device.
    #[must_use]
    pub fn device(&self, token: &Token) -> Device {
        self.paths.deploy(mdm(token));
        Device::start(&self.outside, &self.paths, &self.gateway, &[])
    }

    /// Ends the gateway by SIGKILL.
    pub fn kill_gateway(&mut self) {
        self.gateway.kill();
    }

    /// Starts the gateway again after [`Self::kill_gateway`].
    pub fn restart_gateway(&mut self) {
        self.gateway = Gateway::start(&self.inside, &self.room.0, GATEWAY, &[]);
    }

    /// Whether the gateway's inner address answers an echo request of the device within a second.
    #[must_use]
    pub fn carries(&self) -> bool {
        let ping = self.outside.command("ping").args(["-n", "-q", "-c", "1", "-W", "1", INNER]).output();
        ping.is_ok_and(|ping| ping.status.success())
    }
}

/// A directory of its own; removed unless the test fails.
#[derive(Debug)]
pub struct Room(pub PathBuf);

impl Room {
    /// An empty one. Not below `target`, whose path may be too long for a socket's.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vst-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs are in {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
