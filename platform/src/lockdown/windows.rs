//! The Windows Filtering Platform: one provider and one sublayer of ours, and persistent filters in it.
//!
//! All keys are fixed, so that a later start, or an administrator's command, finds what stands. Everything is done in one
//! transaction: at no moment is the host half open.
#![allow(unsafe_code, reason = "calls of the filtering engine")]

use super::{
    Allowed, Lockdown, LockdownError,
    filters::{Condition, Filter, Layer, Program, filters},
};
use crate::{Unsupported, late, netcfg::interface_luid};
use ipnet::IpNet;
use std::{
    io,
    path::Path,
    ptr::{from_mut, null, null_mut},
};
use windows_sys::{
    Win32::{
        Foundation::{
            FWP_E_ALREADY_EXISTS, FWP_E_FILTER_NOT_FOUND, FWP_E_PROVIDER_NOT_FOUND, FWP_E_SUBLAYER_NOT_FOUND, HANDLE,
        },
        NetworkManagement::WindowsFilteringPlatform::{
            FWP_ACTION_BLOCK, FWP_ACTION_PERMIT, FWP_BYTE_BLOB, FWP_BYTE_BLOB_TYPE, FWP_CONDITION_FLAG_IS_LOOPBACK,
            FWP_CONDITION_VALUE0, FWP_CONDITION_VALUE0_0, FWP_MATCH_EQUAL, FWP_MATCH_FLAGS_ALL_SET, FWP_UINT8,
            FWP_UINT16, FWP_UINT32, FWP_UINT64, FWP_V4_ADDR_AND_MASK, FWP_V4_ADDR_MASK, FWP_V6_ADDR_AND_MASK,
            FWP_V6_ADDR_MASK, FWP_VALUE0, FWP_VALUE0_0, FWPM_ACTION0, FWPM_CONDITION_ALE_APP_ID, FWPM_CONDITION_FLAGS,
            FWPM_CONDITION_IP_LOCAL_INTERFACE, FWPM_CONDITION_IP_LOCAL_PORT, FWPM_CONDITION_IP_PROTOCOL,
            FWPM_CONDITION_IP_REMOTE_ADDRESS, FWPM_CONDITION_IP_REMOTE_PORT, FWPM_DISPLAY_DATA0,
            FWPM_FILTER_CONDITION0, FWPM_FILTER_FLAG_BOOTTIME, FWPM_FILTER_FLAG_CLEAR_ACTION_RIGHT,
            FWPM_FILTER_FLAG_PERSISTENT, FWPM_FILTER0, FWPM_LAYER_ALE_AUTH_CONNECT_V4, FWPM_LAYER_ALE_AUTH_CONNECT_V6,
            FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V4, FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V6, FWPM_PROVIDER_FLAG_PERSISTENT,
            FWPM_PROVIDER0, FWPM_SUBLAYER_FLAG_PERSISTENT, FWPM_SUBLAYER0, FwpmEngineClose0, FwpmEngineOpen0,
            FwpmFilterAdd0, FwpmFilterDeleteByKey0, FwpmFreeMemory0, FwpmGetAppIdFromFileName0, FwpmProviderAdd0,
            FwpmProviderDeleteByKey0, FwpmSubLayerAdd0, FwpmSubLayerDeleteByKey0, FwpmSubLayerGetByKey0,
            FwpmTransactionAbort0, FwpmTransactionBegin0, FwpmTransactionCommit0,
        },
        System::Rpc::RPC_C_AUTHN_DEFAULT,
    },
    core::GUID,
};

const PROVIDER: GUID = GUID::from_u128(0x3f1a_6c52_94be_4e0d_9a41_7665_7374_6901);
const SUBLAYER: GUID = GUID::from_u128(0x3f1a_6c52_94be_4e0d_9a41_7665_7374_6902);
/// Filters are numbered from here on.
const FILTERS: u128 = 0x3f1a_6c52_94be_4e0d_9a41_7665_7374_7000;
/// Most filters that there ever are: some 40 are used.
const MAX_FILTERS: u128 = 128;
/// Permits come before what blocks.
const BLOCKS: u8 = 0;
const PERMITS: u8 = 10;

/// The host's firewall.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Lockdown for System {
    fn engage(&self, allowed: &Allowed) -> Result<(), LockdownError> {
        let tunnel = match &allowed.interface {
            None => None,
            Some(name) => Some(interface_luid(name).ok_or_else(|| LockdownError::NoInterface { name: name.clone() })?),
        };
        let engine = Engine::open()?;
        let programs = Programs {
            daemon: allowed.program.as_deref().map(AppId::of).transpose()?,
            services: if allowed.names { Some(AppId::of(&services()?)?) } else { None },
        };
        engine.transaction(|| {
            engine.clear_filters()?;
            engine.add_owner()?;
            for (number, filter) in filters(allowed, tunnel).iter().enumerate() {
                engine.add(number, filter, &programs)?;
            }
            Ok(())
        })
    }

    fn is_engaged(&self) -> Result<bool, LockdownError> {
        Engine::open()?.has_owner()
    }

    fn lift(&self) -> Result<bool, LockdownError> {
        let engine = Engine::open()?;
        let engaged = engine.has_owner()?;
        engine.transaction(|| {
            engine.clear_filters()?;
            engine.remove_owner()
        })?;
        Ok(engaged)
    }
}

/// The program that hosts Windows' services.
fn services() -> Result<std::path::PathBuf, LockdownError> {
    let windows = std::env::var_os("SystemRoot").ok_or(io::ErrorKind::NotFound);
    let windows = windows.map_err(|kind| refused("find the directory of Windows")(kind.into()))?;
    Ok(Path::new(&windows).join("System32").join("svchost.exe"))
}

fn refused(step: &'static str) -> impl FnOnce(io::Error) -> LockdownError {
    move |cause| LockdownError::Firewall { step, cause }
}

/// The outcome of a call; some codes are no failures there.
fn outcome(step: &'static str, code: u32, fine: &[i32]) -> Result<(), LockdownError> {
    if code == 0 || fine.contains(&(code as i32)) {
        return Ok(());
    }
    Err(refused(step)(io::Error::from_raw_os_error(code as i32)))
}

/// An open session of the filtering engine.
struct Engine(HANDLE);

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: opened by us and closed once.
        unsafe { FwpmEngineClose0(self.0) };
    }
}

/// UTF-16 that ends with a zero.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

impl Engine {
    fn open() -> Result<Self, LockdownError> {
        // Wine exports these functions and ends the process that calls them.
        if late::is_wine() {
            return Err(Unsupported { what: "the filtering platform" }.into());
        }
        let mut engine = null_mut();
        // SAFETY: this machine, the caller's own rights, a session without settings: three nulls. The handle is ours.
        let code = unsafe { FwpmEngineOpen0(null(), RPC_C_AUTHN_DEFAULT as u32, null(), null(), &mut engine) };
        outcome("open the firewall's engine", code, &[])?;
        Ok(Self(engine))
    }

    /// All of `change`, or nothing.
    fn transaction(&self, change: impl FnOnce() -> Result<(), LockdownError>) -> Result<(), LockdownError> {
        // SAFETY: the engine is open.
        outcome("begin a change of the firewall", unsafe { FwpmTransactionBegin0(self.0, 0) }, &[])?;
        let changed = change().and_then(|()| {
            // SAFETY: the engine is open, and in the transaction begun above.
            outcome("put the firewall's filters in force", unsafe { FwpmTransactionCommit0(self.0) }, &[])
        });
        if changed.is_err() {
            // SAFETY: as above. A transaction that is over already is no matter.
            unsafe { FwpmTransactionAbort0(self.0) };
        }
        changed
    }

    fn has_owner(&self) -> Result<bool, LockdownError> {
        let mut found = null_mut();
        // SAFETY: the engine is open, the key is a constant, and what is found is ours to free.
        let code = unsafe { FwpmSubLayerGetByKey0(self.0, &SUBLAYER, &mut found) };
        if !found.is_null() {
            // SAFETY: given by the call above, and used by nobody.
            unsafe { FwpmFreeMemory0((&raw mut found).cast()) };
        }
        outcome("look for filters", code, &[FWP_E_SUBLAYER_NOT_FOUND])?;
        Ok(code == 0)
    }

    /// Provider and sublayer, which outlive the session and the machine's next start.
    fn add_owner(&self) -> Result<(), LockdownError> {
        let (mut name, mut about) = (wide("Vestibule"), wide("Lockdown: nothing leaves but through the tunnel"));
        let display = FWPM_DISPLAY_DATA0 { name: name.as_mut_ptr(), description: about.as_mut_ptr() };
        let provider = FWPM_PROVIDER0 {
            providerKey: PROVIDER,
            displayData: display,
            flags: FWPM_PROVIDER_FLAG_PERSISTENT,
            ..FWPM_PROVIDER0::default()
        };
        // SAFETY: the engine is open; the provider, and the texts it points to, outlive the call.
        let code = unsafe { FwpmProviderAdd0(self.0, &provider, null_mut()) };
        outcome("add the firewall's provider", code, &[FWP_E_ALREADY_EXISTS])?;
        let mut key = PROVIDER;
        let sublayer = FWPM_SUBLAYER0 {
            subLayerKey: SUBLAYER,
            displayData: display,
            flags: FWPM_SUBLAYER_FLAG_PERSISTENT,
            providerKey: &mut key,
            // Asked first; what blocks here is blocked.
            weight: u16::MAX,
            ..FWPM_SUBLAYER0::default()
        };
        // SAFETY: as above, and the provider's key outlives the call.
        let code = unsafe { FwpmSubLayerAdd0(self.0, &sublayer, null_mut()) };
        outcome("add the firewall's sublayer", code, &[FWP_E_ALREADY_EXISTS])
    }

    fn remove_owner(&self) -> Result<(), LockdownError> {
        // SAFETY: the engine is open, and the key is a constant.
        let code = unsafe { FwpmSubLayerDeleteByKey0(self.0, &SUBLAYER) };
        outcome("remove the firewall's sublayer", code, &[FWP_E_SUBLAYER_NOT_FOUND])?;
        // SAFETY: as above.
        let code = unsafe { FwpmProviderDeleteByKey0(self.0, &PROVIDER) };
        outcome("remove the firewall's provider", code, &[FWP_E_PROVIDER_NOT_FOUND])
    }

    fn clear_filters(&self) -> Result<(), LockdownError> {
        for number in 0..MAX_FILTERS {
            let key = GUID::from_u128(FILTERS + number);
            // SAFETY: the engine is open, and the key outlives the call.
            let code = unsafe { FwpmFilterDeleteByKey0(self.0, &key) };
            outcome("remove a filter", code, &[FWP_E_FILTER_NOT_FOUND])?;
        }
        Ok(())
    }

    fn add(&self, number: usize, filter: &Filter, programs: &Programs) -> Result<(), LockdownError> {
        let mut name = wide(&format!("Vestibule: {}", filter.name));
        let mut values = Values::default();
        let mut conditions: Vec<FWPM_FILTER_CONDITION0> =
            filter.conditions.iter().filter_map(|condition| values.condition(condition, programs)).collect();
        if conditions.len() != filter.conditions.len() {
            // A filter that misses a condition would permit more than it should.
            return Err(refused("name a program in a filter")(io::ErrorKind::NotFound.into()));
        }
        let mut provider = PROVIDER;
        let action = if filter.permits { FWP_ACTION_PERMIT } else { FWP_ACTION_BLOCK };
        let hard = if filter.permits { 0 } else { FWPM_FILTER_FLAG_CLEAR_ACTION_RIGHT };
        // Those that the service reads at its start, or those that are there before it; none is both.
        let life = if filter.at_boot { FWPM_FILTER_FLAG_BOOTTIME } else { FWPM_FILTER_FLAG_PERSISTENT };
        let row = FWPM_FILTER0 {
            filterKey: GUID::from_u128(FILTERS + number as u128),
            displayData: FWPM_DISPLAY_DATA0 { name: name.as_mut_ptr(), description: null_mut() },
            flags: life | hard,
            providerKey: &mut provider,
            layerKey: key_of(filter.layer),
            subLayerKey: SUBLAYER,
            weight: FWP_VALUE0 {
                r#type: FWP_UINT8,
                Anonymous: FWP_VALUE0_0 { uint8: if filter.permits { PERMITS } else { BLOCKS } },
            },
            numFilterConditions: conditions.len() as u32,
            filterCondition: conditions.as_mut_ptr(),
            action: FWPM_ACTION0 { r#type: action, ..FWPM_ACTION0::default() },
            ..FWPM_FILTER0::default()
        };
        // SAFETY: the engine is open. The row points to the name, the provider's key and the conditions, these to values
        // in `values` and `programs`; all of them outlive the call, and none has moved since (the values are boxed).
        outcome("add a filter", unsafe { FwpmFilterAdd0(self.0, &row, null_mut(), null_mut()) }, &[])
    }
}

fn key_of(layer: Layer) -> GUID {
    match (layer.v6, layer.inbound) {
        (false, false) => FWPM_LAYER_ALE_AUTH_CONNECT_V4,
        (false, true) => FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V4,
        (true, false) => FWPM_LAYER_ALE_AUTH_CONNECT_V6,
        (true, true) => FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V6,
    }
}

/// An executable as the firewall knows it.
struct AppId(*mut FWP_BYTE_BLOB);

impl AppId {
    fn of(program: &Path) -> Result<Self, LockdownError> {
        let path = wide(&program.to_string_lossy());
        let mut id = null_mut();
        // SAFETY: the path ends with a zero; what is given is ours to free.
        let code = unsafe { FwpmGetAppIdFromFileName0(path.as_ptr(), &mut id) };
        outcome("name a program to the firewall", code, &[])?;
        Ok(Self(id))
    }
}

impl Drop for AppId {
    fn drop(&mut self) {
        // SAFETY: given by the firewall, and freed once.
        unsafe { FwpmFreeMemory0((&raw mut self.0).cast()) };
    }
}

struct Programs {
    daemon: Option<AppId>,
    services: Option<AppId>,
}

/// Values that conditions point to. Boxed: they stay where they are while more come.
#[derive(Default)]
#[allow(clippy::vec_box, reason = "the system is given their addresses")]
struct Values {
    luids: Vec<Box<u64>>,
    v4: Vec<Box<FWP_V4_ADDR_AND_MASK>>,
    v6: Vec<Box<FWP_V6_ADDR_AND_MASK>>,
}

impl Values {
    /// `None`: a program that nobody has named.
    fn condition(&mut self, condition: &Condition, programs: &Programs) -> Option<FWPM_FILTER_CONDITION0> {
        let (key, kind, value) = match condition {
            Condition::Loopback => {
                (FWPM_CONDITION_FLAGS, FWP_UINT32, FWP_CONDITION_VALUE0_0 { uint32: FWP_CONDITION_FLAG_IS_LOOPBACK })
            }
            Condition::Interface(luid) => {
                let uint64 = kept(&mut self.luids, *luid);
                (FWPM_CONDITION_IP_LOCAL_INTERFACE, FWP_UINT64, FWP_CONDITION_VALUE0_0 { uint64 })
            }
            Condition::Program(program) => {
                let id = match program {
                    Program::Daemon => &programs.daemon,
                    Program::Services => &programs.services,
                };
                let byte_blob = id.as_ref()?.0;
                (FWPM_CONDITION_ALE_APP_ID, FWP_BYTE_BLOB_TYPE, FWP_CONDITION_VALUE0_0 { byteBlob: byte_blob })
            }
            Condition::Protocol(uint8) => {
                (FWPM_CONDITION_IP_PROTOCOL, FWP_UINT8, FWP_CONDITION_VALUE0_0 { uint8: *uint8 })
            }
            // Of ICMP, the type stands where the local port does.
            Condition::LocalPort(port) => {
                (FWPM_CONDITION_IP_LOCAL_PORT, FWP_UINT16, FWP_CONDITION_VALUE0_0 { uint16: *port })
            }
            Condition::RemotePort(port) => {
                (FWPM_CONDITION_IP_REMOTE_PORT, FWP_UINT16, FWP_CONDITION_VALUE0_0 { uint16: *port })
            }
            Condition::Remote(IpNet::V4(net)) => {
                let (addr, mask) = (u32::from(net.network()), u32::from(net.netmask()));
                let value = kept(&mut self.v4, FWP_V4_ADDR_AND_MASK { addr, mask });
                (FWPM_CONDITION_IP_REMOTE_ADDRESS, FWP_V4_ADDR_MASK, FWP_CONDITION_VALUE0_0 { v4AddrMask: value })
            }
            Condition::Remote(IpNet::V6(net)) => {
                let value = FWP_V6_ADDR_AND_MASK { addr: net.network().octets(), prefixLength: net.prefix_len() };
                let value = kept(&mut self.v6, value);
                (FWPM_CONDITION_IP_REMOTE_ADDRESS, FWP_V6_ADDR_MASK, FWP_CONDITION_VALUE0_0 { v6AddrMask: value })
            }
        };
        let flags = matches!(condition, Condition::Loopback);
        Some(FWPM_FILTER_CONDITION0 {
            fieldKey: key,
            matchType: if flags { FWP_MATCH_FLAGS_ALL_SET } else { FWP_MATCH_EQUAL },
            conditionValue: FWP_CONDITION_VALUE0 { r#type: kind, Anonymous: value },
        })
    }
}

/// Keeps a value, and tells where.
fn kept<T>(all: &mut Vec<Box<T>>, value: T) -> *mut T {
    let mut value = Box::new(value);
    let at = from_mut(&mut *value);
    all.push(value);
    at
}
