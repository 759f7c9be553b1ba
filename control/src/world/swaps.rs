//! Identities swapped by log-on and log-off, once a user is registered.

use super::{
    Stopped, World,
    admin::Admin,
    browser::Login,
    device::{Device, Token},
    gateway::Facts,
    scene::Scene,
    setup::{BOB, NON_IDENTITY, Person},
};
use crate::daemon::ipc::Status;
use reqwest::Method;
use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Longest wait for one swap.
pub(crate) const SWAP: Duration = Duration::from_secs(15);

/// Registers Bob on a device that has registrations per user; he logs off again. Returns the device's inner address.
pub(crate) fn register(
    device: &mut Device,
    token: &Token,
    gateway: &Facts,
    scene: &dyn Scene,
) -> Result<IpAddr, Stopped> {
    device.paths.write_mdm(token, true)?;
    device.until("multi-user", SWAP, |status| status.mdm.multi_user)?;
    device.session(&format!("logon {} 2", BOB.user))?;
    let prompted = device.until("a sign-in prompt", SWAP, |status| status.auth_url.is_some())?;
    sign_in(scene, gateway, &prompted, &BOB)?;
    device.until_identity(BOB.email, SWAP)?;
    device.session("logoff 2")?;
    let status = device.until_identity(NON_IDENTITY, SWAP)?;
    inner(&status).ok_or(Stopped::Missing("inner address"))
}

/// Logs a person in through the form that the daemon's prompt leads to.
pub(crate) fn sign_in(scene: &dyn Scene, gateway: &Facts, status: &Status, person: &Person) -> Result<(), Stopped> {
    let Some(address) = status.auth_url.clone() else { return Err(Stopped::Missing("sign-in address")) };
    let (email, password) = (person.email.to_owned(), person.password.to_owned());
    Ok(scene.sign_in(Login { address, email, password, pin: gateway.certificate_sha256 })?)
}

/// The first inner address of a status.
pub(crate) fn inner(status: &Status) -> Option<IpAddr> {
    status.addresses.first().map(|network| network.addr())
}

/// When the active generation was committed, in nanoseconds of the wall clock.
pub(crate) fn moment(status: &Status) -> Result<u64, Stopped> {
    let since = status.since.as_deref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let since = since.ok_or(Stopped::Missing("time of the last commit"))?;
    Ok(u64::try_from(since.unix_timestamp_nanos()).unwrap_or(0))
}

/// Bob's coming and going.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Number of the latest session.
    session: u32,
    on: bool,
}

impl Turns {
    /// After [`register`]: he has logged off.
    pub(crate) fn after_registration() -> Self {
        Self { session: 2, on: false }
    }

    /// He logs on if he is off, and off if he is on; waits until traffic runs under the identity that follows.
    pub(crate) fn next(&mut self, device: &mut Device) -> Result<Status, Stopped> {
        self.session += u32::from(!self.on);
        let (event, identity) = if self.on {
            (format!("logoff {}", self.session), NON_IDENTITY)
        } else {
            (format!("logon {} {}", BOB.user, self.session), BOB.email)
        };
        device.session(&event)?;
        self.on = !self.on;
        Ok(device.until_identity(identity, SWAP)?)
    }

    /// Who the device is now.
    pub(crate) fn identity(&self) -> &'static str {
        if self.on { BOB.email } else { NON_IDENTITY }
    }

    /// He is logged on: the intranet is open to him.
    pub(crate) fn on(&self) -> bool {
        self.on
    }
}

/// Swaps in the gateway's audit, read on from where it was read to.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    last: i64,
    swaps: u64,
    /// The highest number of a swap in it.
    latest: u64,
}

impl Audit {
    /// All swaps in it so far.
    pub(crate) fn swaps(&mut self, admin: &Admin) -> Result<u64, Stopped> {
        loop {
            let entries = admin.call(Method::GET, &format!("vestibule/audit?since={}", self.last), None)?;
            let entries = entries.as_array().cloned().unwrap_or_default();
            let Some(last) = entries.last().and_then(|entry| entry["id"].as_i64()) else { return Ok(self.swaps) };
            self.last = last;
            for entry in entries.iter().filter(|entry| entry["kind"] == "swap") {
                self.swaps += 1;
                self.latest = self.latest.max(entry["swap_seq"].as_u64().unwrap_or(0));
            }
        }
    }

    /// As [`Self::swaps`], once the swap of the number `latest` is among them or `patience` is over.
    pub(crate) fn swaps_with(&mut self, admin: &Admin, latest: u64, patience: Duration) -> Result<u64, Stopped> {
        let until = Instant::now() + patience;
        loop {
            let swaps = self.swaps(admin)?;
            if self.latest >= latest || Instant::now() > until {
                return Ok(swaps);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl World {
    /// See [`register`].
    pub(crate) fn register(&mut self) -> Result<IpAddr, Stopped> {
        register(&mut self.device, &self.token, &self.gateway, &*self.scene)
    }
}
