//! From packet to flow: flow keys, the flow table and the fragment table.

mod entry;
mod first_bytes;
pub mod fragment;
mod hash;
mod index;
mod key;
mod redirect;
pub mod table;
mod waiting;

pub use entry::{Direction, Entry, IDLE_OTHER, IDLE_TCP, IDLE_TCP_TRANSITORY, IDLE_UDP, Phase, Side};
pub(crate) use entry::{FirstBytes, Standing};
pub use first_bytes::Extracted;
pub use fragment::{FragmentMiss, FragmentTable};
pub use key::FlowKey;
pub use table::{FlowId, FlowTable, Sweep, SweepProgress};
