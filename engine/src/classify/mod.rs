//! From packet to flow: flow keys, the flow table and the fragment table.

pub mod fragment;
mod key;
pub mod table;

pub use fragment::{FragmentMiss, FragmentTable};
pub use key::FlowKey;
pub use table::{Direction, Entry, FlowId, FlowTable, Side, Sweep, SweepProgress, TcpPhase};
