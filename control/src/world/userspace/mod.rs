//! The world without root, on any system (`--userspace`).
//!
//! Gateway and daemon run in this process with everything that is theirs (store, HTTPS on the loopback, registration
//! machine, engine, worker threads); only the devices and the network between them are memory. Packets are made and
//! checked by hand. It shows the walk and the swap, not the speed of a kernel's path.

mod load;
mod packet;
mod scene;
mod stack;
mod tap;
mod tcp;
mod trouble;

pub(crate) use scene::{Room, Userspace};
