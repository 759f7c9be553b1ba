//! The system's DNS client: told that its rules have changed, and given an interface's suffixes.
#![allow(unsafe_code, reason = "services, and functions looked up by name")]

use super::super::nrpt::Touched;
use crate::late;
use std::{
    io, mem,
    ptr::{null, null_mut},
};
use windows_sys::{
    Win32::{
        NetworkManagement::IpHelper::{
            DNS_INTERFACE_SETTINGS, DNS_INTERFACE_SETTINGS_VERSION1, DNS_SETTING_DOMAIN, DNS_SETTING_SEARCHLIST,
        },
        System::Services::{
            CloseServiceHandle, ControlService, OpenSCManagerW, OpenServiceW, SC_MANAGER_CONNECT,
            SERVICE_CONTROL_PARAMCHANGE, SERVICE_PAUSE_CONTINUE, SERVICE_STATUS,
        },
    },
    core::{BOOL, GUID},
};

/// `RP_FORCE`: all policies are read again, not the changed ones alone.
const FORCE: u32 = 1;

/// Makes the system read its rules again and forget what it was told under others. Policies are read again only when the
/// change was among theirs: that runs all of them, of the whole machine.
pub(super) fn refresh(touched: Touched) {
    if let Err(error) = parameters_changed() {
        tracing::debug!(%error, "the DNS client was not told of its rules");
    }
    if touched.policy
        && let Some(found) = late::procedure(c"userenv.dll", c"RefreshPolicyEx")
    {
        // SAFETY: its signature in userenv.h: whether the machine's policies, and how.
        let function: unsafe extern "system" fn(BOOL, u32) -> BOOL = unsafe { mem::transmute(found) };
        // SAFETY: numbers alone are passed.
        if unsafe { function(1, FORCE) } == 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "group policies were not read again");
        }
    }
    if let Some(found) = late::procedure(c"dnsapi.dll", c"DnsFlushResolverCache") {
        // SAFETY: it takes nothing.
        let function: unsafe extern "system" fn() -> BOOL = unsafe { mem::transmute(found) };
        // SAFETY: as above.
        unsafe { function() };
    }
}

/// The service reads its parameters again.
fn parameters_changed() -> io::Result<()> {
    let name: Vec<u16> = "Dnscache\0".encode_utf16().collect();
    // SAFETY: no machine and no database are named; the handle is closed below.
    let manager = unsafe { OpenSCManagerW(null(), null(), SC_MANAGER_CONNECT) };
    if manager.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the name ends with a zero; the handle is closed below.
    let service = unsafe { OpenServiceW(manager, name.as_ptr(), SERVICE_PAUSE_CONTINUE) };
    let mut told = Ok(());
    let mut status = SERVICE_STATUS::default();
    // SAFETY: the service is open if it is not null, and `status` is written.
    if service.is_null() || unsafe { ControlService(service, SERVICE_CONTROL_PARAMCHANGE, &mut status) } == 0 {
        told = Err(io::Error::last_os_error());
    }
    for handle in [service, manager] {
        if !handle.is_null() {
            // SAFETY: opened above and closed once.
            unsafe { CloseServiceHandle(handle) };
        }
    }
    told
}

/// Gives an interface the suffixes that short names are tried with; none takes them away. Servers it gets none: names
/// outside the rules stay with those who were asked before.
pub(super) fn set_suffixes(interface: GUID, suffixes: &[String]) -> io::Result<()> {
    let Some(found) = late::procedure(c"iphlpapi.dll", c"SetInterfaceDnsSettings") else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let wide = |text: &str| text.encode_utf16().chain([0]).collect::<Vec<u16>>();
    let mut domain = wide(suffixes.first().map(String::as_str).unwrap_or_default());
    let mut list = wide(&suffixes.join(","));
    let settings = DNS_INTERFACE_SETTINGS {
        Version: DNS_INTERFACE_SETTINGS_VERSION1,
        Flags: u64::from(DNS_SETTING_DOMAIN | DNS_SETTING_SEARCHLIST),
        Domain: domain.as_mut_ptr(),
        NameServer: null_mut(),
        SearchList: list.as_mut_ptr(),
        ..DNS_INTERFACE_SETTINGS::default()
    };
    // SAFETY: its signature in netioapi.h: the interface's GUID by value, and the settings.
    let function: unsafe extern "system" fn(GUID, *const DNS_INTERFACE_SETTINGS) -> u32 =
        unsafe { mem::transmute(found) };
    // SAFETY: the settings and the texts they point to, which end with a zero, outlive the call; flags name these texts
    // and no others.
    match unsafe { function(interface, &settings) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code as i32)),
    }
}
