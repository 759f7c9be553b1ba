//! Who uses the tunnel: programs on the device, servers in the intranet, and the load between them.

use crate::world::{
    probe::{Closed, Outcome, Question},
    scene::{Amount, SceneError, Traffic},
};
use crossbeam_channel::Sender;
use std::{io, net::IpAddr, time::Duration};

/// Watches a connection; to be run on a thread of its own.
pub(super) type Watched = Box<dyn FnOnce() -> io::Result<Option<Closed>> + Send>;

/// Both ends of the tunnel, as [`Scene`](crate::world::scene::Scene) wants them.
pub(super) trait Ends {
    /// The device's inner address is known now.
    fn addressed(&mut self, inner: IpAddr);

    /// A program on the device asks a server.
    fn ask(&self, question: Question) -> Outcome;

    /// A program on the device talks with the echo server until its connection is closed.
    fn watch(&self, patience: Duration, opened: Sender<()>) -> Watched;

    /// Starts load.
    fn load(&self, inner: IpAddr, amount: Amount, number: u16) -> Result<Box<dyn Traffic>, SceneError>;
}
