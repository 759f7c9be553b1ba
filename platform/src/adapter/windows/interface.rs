//! What IP Helper knows of an adapter.
#![allow(unsafe_code, reason = "IP Helper")]

use crate::win32::wide;
use windows_sys::{
    Win32::{
        Foundation::NO_ERROR,
        NetworkManagement::{
            IpHelper::{ConvertInterfaceAliasToLuid, ConvertInterfaceLuidToGuid},
            Ndis::NET_LUID_LH,
        },
    },
    core::GUID,
};

/// The GUID of the interface with this LUID.
pub(super) fn guid_of_luid(luid: u64) -> Option<u128> {
    let (luid, mut guid) = (NET_LUID_LH { Value: luid }, GUID::from_u128(0));
    // SAFETY: both are whole and outlive the call.
    let outcome = unsafe { ConvertInterfaceLuidToGuid(&raw const luid, &raw mut guid) };
    (outcome == NO_ERROR).then(|| number(guid))
}

/// The GUID of the interface with this name.
pub(super) fn guid_of_alias(name: &str) -> Option<u128> {
    let (name, mut luid) = (wide(name), NET_LUID_LH::default());
    // SAFETY: the name ends with a zero; `luid` outlives the call.
    if unsafe { ConvertInterfaceAliasToLuid(name.as_ptr(), &raw mut luid) } != NO_ERROR {
        return None;
    }
    // SAFETY: the call has filled it, and each bit pattern is a number.
    guid_of_luid(unsafe { luid.Value })
}

pub(super) fn number(guid: GUID) -> u128 {
    let rest = u64::from_be_bytes(guid.data4);
    u128::from(guid.data1) << 96 | u128::from(guid.data2) << 80 | u128::from(guid.data3) << 64 | u128::from(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_its_number() {
        let numbers = [0, 1, 0x9d3c_51e0_6b72_4f0a_b8a4_7e19_c2d5_3f68, u128::MAX];
        assert_eq!(numbers.map(|guid| number(GUID::from_u128(guid))), numbers);
    }

    #[test]
    fn what_is_not_there_has_no_guid() {
        assert_eq!(guid_of_alias("no-such-interface"), None);
        assert_eq!(guid_of_luid(u64::MAX), None);
    }
}
