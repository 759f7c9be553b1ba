//! Wire types between the parts of Vestibule.

pub mod device;
pub mod pin;
pub mod posture;
pub mod profile;
