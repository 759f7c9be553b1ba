//! One value of every setting, and where it is from.

use super::split::has_hosts;
use super::{Dns, Effective, Origin, SettingView};
use crate::api::profile::{Mode, ProfileDocument, SplitTunnel, TunnelProtocol};
use crate::mdm::{self, MdmConfig, OrganizationConfig};
use crate::registration::Hold;
use serde::Serialize;
use serde_json::json;

/// What is shown of a setting that the client does not act on.
const NOT_YET: &str = "not enforced yet";

/// What the settings are made of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sources<'a> {
    pub(crate) mdm: Option<&'a MdmConfig>,
    /// Which of the file's organisations is in use; the first one when none is.
    pub(crate) organization: Option<&'a str>,
    pub(crate) profile: Option<&'a ProfileDocument>,
    pub(crate) local: Option<Local<'a>>,
}

/// What the command line and the user decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local<'a> {
    pub(crate) gateway: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) mtu: u16,
    pub(crate) switched_on: bool,
}

/// Whether the client acts on a setting.
#[derive(Clone, Copy)]
enum Acts {
    Yes,
    NotYet,
}
use Acts::{NotYet, Yes};

/// Builds the list, first come first shown.
#[derive(Default)]
struct Sheet(Vec<SettingView>);

impl Sheet {
    /// A setting that both MDM and profile know.
    fn both<T: Serialize>(
        &mut self,
        (name, unit): (&str, &str),
        mdm: Option<T>,
        profile: Option<T>,
        default: T,
        acts: Acts,
    ) -> T {
        let (value, origin) = match (mdm, profile) {
            (Some(value), _) => (value, Origin::Mdm),
            (None, Some(value)) => (value, Origin::Profile),
            (None, None) => (default, Origin::Default),
        };
        self.show((name, unit), &value, origin, acts);
        value
    }

    fn mdm<T: Serialize>(&mut self, name: (&str, &str), mdm: Option<T>, default: Option<T>, acts: Acts) {
        self.both(name, mdm.map(Some), None, default, acts);
    }

    fn show(&mut self, (name, unit): (&str, &str), value: &impl Serialize, origin: Origin, acts: Acts) {
        let enforced = matches!(acts, Yes);
        self.0.push(SettingView {
            name: name.to_owned(),
            value: serde_json::to_value(value).unwrap_or_default(),
            unit: (!unit.is_empty()).then(|| unit.to_owned()),
            origin,
            enforced,
            note: (!enforced).then(|| NOT_YET.to_owned()),
        });
    }

    /// Says that the last setting is carried out in part, or not at all.
    fn except(&mut self, exception: bool, note: &str) {
        if let Some(setting) = self.0.last_mut().filter(|_| exception) {
            (setting.enforced, setting.note) = (false, Some(format!("{NOT_YET}: {note}")));
        }
    }
}

fn protocol_of(entry: &OrganizationConfig) -> Option<TunnelProtocol> {
    entry.warp_tunnel_protocol.map(|protocol| match protocol {
        mdm::TunnelProtocol::Masque => TunnelProtocol::Masque,
        mdm::TunnelProtocol::Wireguard => TunnelProtocol::Wireguard,
    })
}

impl Sources<'_> {
    /// The settings in force.
    pub(crate) fn settle(&self) -> Effective {
        let entry = self.entry();
        let absent = OrganizationConfig::default();
        let entry = entry.unwrap_or(&absent);
        let mut sheet = Sheet::default();
        self.local(&mut sheet);
        self.top_level(&mut sheet);
        let mut effective = self.switch_and_mode(&mut sheet, entry);
        self.dns_and_rest(&mut sheet, &mut effective);
        organization(&mut sheet, entry);
        self.account(&mut sheet, entry);
        effective.settings = sheet.0;
        effective
    }

    fn entry(&self) -> Option<&OrganizationConfig> {
        let mdm = self.mdm?;
        self.organization.and_then(|name| mdm.organization(name)).or_else(|| mdm.configs.first())
    }

    /// The tunnel protocol that the file says, whatever a profile does.
    pub(crate) fn forced_protocol(&self) -> Option<TunnelProtocol> {
        self.entry().and_then(protocol_of)
    }

    fn local(&self, sheet: &mut Sheet) {
        let Some(local) = &self.local else { return };
        sheet.show(("gateway", ""), &local.gateway, Origin::User, Yes);
        sheet.show(("interface", ""), &local.interface, Origin::User, Yes);
        sheet.show(("mtu", "bytes"), &local.mtu, Origin::User, Yes);
        let origin = if local.switched_on { Origin::Default } else { Origin::User };
        sheet.show(("switch", ""), &if local.switched_on { "on" } else { "off" }, origin, Yes);
    }

    /// Keys of the file's top level.
    fn top_level(&self, sheet: &mut Sheet) {
        let absent = MdmConfig::default();
        let mdm = self.mdm.unwrap_or(&absent);
        let team = mdm.pre_login.as_ref().map(|pre_login| &pre_login.organization);
        let hold = match mdm.pre_login_hold {
            Hold::UntilAuthenticated => -1,
            Hold::Cut => 0,
            Hold::Seconds(seconds) => i32::from(seconds),
        };
        for (key, unit, value, acts) in [
            ("multi_user", "", json!(mdm.multi_user), Yes),
            ("multi_user_keep_previous", "", json!(mdm.multi_user_keep_previous), Yes),
            ("pre_login", "", json!(team), Yes),
            ("pre_login_hold", "seconds", json!(hold), Yes),
            ("no_auth_no_internet", "", json!(mdm.no_auth_no_internet), NotYet),
            ("no_auth_no_internet_block_rfc_1918", "", json!(mdm.no_auth_no_internet_block_rfc_1918), NotYet),
        ] {
            let origin = if mdm.top_level.contains(&key) { Origin::Mdm } else { Origin::Default };
            sheet.show((key, unit), &value, origin, acts);
        }
    }

    fn switch_and_mode(&self, sheet: &mut Sheet, entry: &OrganizationConfig) -> Effective {
        let profile = self.profile.map(|profile| &profile.settings);
        let locked = profile.map(|profile| profile.switch_locked);
        let switch_locked = sheet.both(("switch_locked", ""), entry.switch_locked, locked, false, Yes);
        let minutes = entry.auto_connect.map(|minutes| u32::from(minutes) * 60);
        let after = profile.map(|profile| profile.auto_connect);
        let auto_connect = sheet.both(("auto_connect", "seconds"), minutes, after, 0, Yes);
        let leave = profile.map(|profile| profile.allowed_to_leave);
        let allowed_to_leave = sheet.both(("allowed_to_leave", ""), None, leave, true, Yes);
        let mode = profile.map(|profile| profile.service_mode_v2.mode);
        let mode = sheet.both(("service_mode_v2", ""), entry.service_mode.map(mode_of), mode, Mode::Warp, Yes);
        let carried = matches!(mode, Mode::Warp | Mode::TunnelOnly);
        sheet.except(!carried, "the tunnel is used as in `warp_tunnel_only`");
        let port = profile.and_then(|profile| profile.service_mode_v2.port);
        sheet.both(("proxy_port", ""), entry.proxy_port.map(Some), port.map(Some), None, NotYet);
        let wanted = profile.map(|profile| profile.tunnel_protocol);
        sheet.both(("tunnel_protocol", ""), protocol_of(entry), wanted, TunnelProtocol::default(), Yes);
        let split = profile.map(|profile| profile.split_tunnel.clone());
        let split_tunnel = sheet.both(("split_tunnel", ""), None, split, SplitTunnel::default(), Yes);
        sheet.except(has_hosts(&split_tunnel), "entries that are hosts; addresses are");
        let office = profile.map(|profile| profile.exclude_office_ips);
        sheet.both(("exclude_office_ips", ""), None, office, false, NotYet);
        let url = profile.map(|profile| profile.support_url.clone());
        sheet.both(("support_url", ""), entry.support_url.clone(), url, String::new(), Yes);
        Effective {
            switch_locked,
            auto_connect,
            allowed_to_leave,
            mode,
            split_tunnel,
            dns: Dns::default(),
            settings: Vec::new(),
        }
    }

    fn dns_and_rest(&self, sheet: &mut Sheet, effective: &mut Effective) {
        let profile = self.profile.map(|profile| &profile.settings);
        let domains = profile.map(|profile| profile.fallback_domains.clone());
        let domains = sheet.both(("fallback_domains", ""), None, domains, Vec::new(), Yes);
        let tunnel_only = effective.mode == Mode::TunnelOnly && !domains.is_empty();
        sheet.except(tunnel_only, "the mode leaves DNS to the system");
        let off = profile.map(|profile| profile.disable_auto_fallback);
        let auto_fallback = !sheet.both(("disable_auto_fallback", ""), None, off, false, Yes);
        let suffixes = profile.map(|profile| profile.dns_search_suffixes.clone());
        let mut suffixes = sheet.both(("dns_search_suffixes", ""), None, suffixes, Vec::new(), Yes);
        if effective.mode == Mode::TunnelOnly {
            suffixes.clear();
        }
        effective.dns = Dns {
            connected: false,
            fallback_domains: if tunnel_only { Vec::new() } else { domains },
            search_suffixes: suffixes.into_iter().map(|entry| entry.suffix).collect(),
            auto_fallback,
        };
        let portal = profile.map(|profile| profile.captive_portal);
        sheet.both(("captive_portal", "seconds"), None, portal, 180, NotYet);
        let minutes = profile.map(|profile| profile.lan_allow_minutes);
        sheet.both(("lan_allow_minutes", "minutes"), None, minutes, None, NotYet);
        let size = profile.map(|profile| profile.lan_allow_subnet_size);
        sheet.both(("lan_allow_subnet_size", "prefix length"), None, size, None, NotYet);
        let networks = profile.map(|profile| profile.virtual_networks.clone());
        sheet.both(("virtual_networks", ""), None, networks, None, NotYet);
        let defaults = crate::api::profile::ProfileSettings::default();
        let shown = profile.unwrap_or(&defaults);
        for (name, value) in [
            ("allow_mode_switch", shown.allow_mode_switch),
            ("allow_updates", shown.allow_updates),
            ("register_interface_ip_with_dns", shown.register_interface_ip_with_dns),
            ("sccm_vpn_boundary_support", shown.sccm_vpn_boundary_support),
            ("uninstall_protection", shown.uninstall_protection),
        ] {
            sheet.show((name, ""), &value, self.profile_or_default(), NotYet);
        }
    }

    /// What the profile brings of the organisation's settings.
    fn account(&self, sheet: &mut Sheet, entry: &OrganizationConfig) {
        let organization = self.profile.map(|profile| &profile.organization);
        let url = organization.filter(|settings| settings.external_emergency_signal_enabled);
        let url = url.map(|settings| Some(settings.external_emergency_signal_url.clone()));
        let mdm = entry.external_emergency_signal_url.clone().map(Some);
        sheet.both(("external_emergency_signal_url", ""), mdm, url, None, Yes);
        let print = organization.map(|settings| settings.external_emergency_signal_fingerprint.clone());
        let mdm = entry.external_emergency_signal_fingerprint.clone();
        sheet.both(("external_emergency_signal_fingerprint", ""), mdm, print, String::new(), Yes);
        let interval = organization.map(|settings| settings.external_emergency_signal_interval.clone());
        let mdm = entry.external_emergency_signal_interval.map(|seconds| format!("{seconds}s"));
        sheet.both(("external_emergency_signal_interval", ""), mdm, interval, "300s".to_owned(), Yes);
        let defaults = crate::api::profile::OrganizationSettings::default();
        let shown = organization.unwrap_or(&defaults);
        let origin = self.profile_or_default();
        sheet.show(("disable_for_time", "seconds"), &shown.disable_for_time, origin, NotYet);
        let certificate = shown.root_certificate_installation_enabled;
        sheet.show(("root_certificate_installation_enabled", ""), &certificate, origin, NotYet);
        sheet.show(("use_zt_virtual_ip", ""), &shown.use_zt_virtual_ip, origin, Yes);
    }

    fn profile_or_default(&self) -> Origin {
        self.profile.map_or(Origin::Default, |_| Origin::Profile)
    }
}

/// Keys of an organisation's entry that no profile has.
fn organization(sheet: &mut Sheet, entry: &OrganizationConfig) {
    sheet.mdm(("organization", ""), entry.organization.clone(), None, Yes);
    sheet.mdm(("onboarding", ""), entry.onboarding, Some(true), NotYet);
    sheet.mdm(("gateway_unique_id", ""), entry.gateway_unique_id.clone(), None, NotYet);
    sheet.mdm(("enable_post_quantum", ""), entry.enable_post_quantum, Some(true), NotYet);
    sheet.mdm(("enable_pmtud", ""), entry.enable_pmtud, Some(true), NotYet);
    sheet.mdm(("enable_netbt", ""), entry.enable_netbt, Some(false), NotYet);
    sheet.mdm(("override_api_endpoint", ""), entry.override_api_endpoint, None, NotYet);
    sheet.mdm(("override_doh_endpoint", ""), entry.override_doh_endpoint, None, NotYet);
    sheet.mdm(("override_warp_endpoint", ""), entry.override_warp_endpoint, None, NotYet);
    let environment = entry.environment;
    sheet.mdm(("environment", ""), environment, Some(mdm::Environment::Normal), NotYet);
    sheet.mdm(("allow_managed_deployments", ""), entry.allow_managed_deployments, Some(true), NotYet);
    sheet.mdm(("local_emergency_signal_enabled", ""), entry.local_emergency_signal_enabled, Some(false), Yes);
}

fn mode_of(mode: mdm::ServiceMode) -> Mode {
    match mode {
        mdm::ServiceMode::Warp => Mode::Warp,
        mdm::ServiceMode::DnsOnly => Mode::DnsOnly,
        mdm::ServiceMode::Proxy => Mode::Proxy,
        mdm::ServiceMode::PostureOnly => Mode::PostureOnly,
        mdm::ServiceMode::TunnelOnly => Mode::TunnelOnly,
    }
}
