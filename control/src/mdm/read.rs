//! The whole file: top-level keys, `configs`, and what they require of each other.

use super::{
    MAX_BYTES, MdmError,
    config::{MdmConfig, OrganizationConfig, OrganizationOverride, PreLogin, ServiceMode, ServiceToken},
    dict::{Dict, Report},
    error::Problem,
    keys::TOP_LEVEL,
    organization,
    plist::{self, Fault, Node, Value},
    token,
};
use crate::registration::Hold;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The documented maximum.
pub const MAX_CONFIGS: usize = 25;

/// Reads a file's content; `file` is its name for messages. Pure: the caller reads the file, at most
/// [`MAX_BYTES`] + 1 bytes of it.
///
/// # Errors
/// [`MdmError`] says where, what was expected and what to do; nothing of the file is to be used then.
pub fn parse(file: &str, content: &[u8]) -> Result<MdmConfig, MdmError> {
    let mut report = Report::of(file);
    let whole = |problem| Fault { line: 1, key: String::new(), problem };
    if content.len() > MAX_BYTES {
        let problem = Problem::TooLarge { got: content.len(), limit: MAX_BYTES };
        return Err(report.error(whole(problem)));
    }
    let text = text(content).ok_or_else(|| report.error(whole(Problem::NotText)))?;
    if text.trim().is_empty() {
        return Err(report.error(whole(Problem::Empty)));
    }
    if let Some(at) = text.find(|character| !token::allowed(character)) {
        let line = 1 + text[..at].matches('\n').count();
        let what = format!("the character U+{:04X}", text[at..].chars().next().map_or(0, u32::from));
        return Err(report.error(Fault { line, key: String::new(), problem: Problem::NotXml { what } }));
    }
    match whole_file(&text, &mut report) {
        Ok(config) => Ok(MdmConfig { warnings: report.warnings, ..config }),
        Err(fault) => Err(report.error(fault)),
    }
}

/// UTF-8, or UTF-16 as some Windows tools write it.
fn text(content: &[u8]) -> Option<Zeroizing<String>> {
    let units = |order: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Zeroizing<Vec<u16>> = Zeroizing::new(pairs.iter().map(|pair| order(*pair)).collect());
        rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
    };
    let text = match content {
        // Without a mark, the `<` of the first tag tells the order.
        [b'<', 0, ..] => units(u16::from_le_bytes, content),
        [0, b'<', ..] => units(u16::from_be_bytes, content),
        [0xff, 0xfe, rest @ ..] => units(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => units(u16::from_be_bytes, rest),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => std::str::from_utf8(rest).ok().map(str::to_owned),
    };
    text.map(Zeroizing::new)
}

fn whole_file(text: &str, report: &mut Report<'_>) -> Result<MdmConfig, Fault> {
    let mut dict = Dict::of(plist::parse(text)?, "")?;
    let config = top(&mut dict, report)?;
    dict.finish(report, &[]);
    Ok(config)
}

pub(super) fn top(dict: &mut Dict, report: &mut Report<'_>) -> Result<MdmConfig, Fault> {
    let multi_user = dict.flag("multi_user")?.unwrap_or(false);
    let keep_previous = dict.flag("multi_user_keep_previous")?.unwrap_or(true);
    let hold = dict.integer("pre_login_hold", "an <integer> of seconds", -1..=7_200)?;
    let pre_login = dict.node("pre_login").cloned().map(|node| pre_login(node, report)).transpose()?;
    let no_auth_no_internet = dict.flag("no_auth_no_internet")?.unwrap_or(false);
    let block_private = dict.flag("no_auth_no_internet_block_rfc_1918")?.unwrap_or(false);
    let overrides = dict.node("organization_configs").cloned();
    let overrides = overrides.map(|node| overridden(node, report)).transpose()?.unwrap_or_default();
    let listed = dict.node("configs").cloned().map(|node| configs(node, report)).transpose()?;
    let flat = organization::read(dict)?;
    require_configs(dict, listed.is_some(), multi_user, pre_login.is_some())?;
    if hold.is_some() && pre_login.is_none() {
        report.warn(dict.line_of("pre_login_hold"), "pre_login_hold", "has no effect without `pre_login`");
    }
    let configs = match listed {
        Some(listed) => {
            if flat != OrganizationConfig::default() {
                report.warn(
                    dict.line(),
                    "",
                    "the organisation keys beside `configs` are ignored: move them into its entries",
                );
            }
            listed
        }
        None if flat == OrganizationConfig::default() => Vec::new(),
        None => vec![flat],
    };
    advise(dict, &configs, pre_login.is_some(), report);
    agree(dict, &configs)?;
    Ok(MdmConfig {
        configs,
        multi_user,
        multi_user_keep_previous: keep_previous,
        pre_login,
        pre_login_hold: match hold.and_then(|seconds| u16::try_from(seconds).ok()) {
            None => Hold::UntilAuthenticated,
            Some(0) => Hold::Cut,
            Some(seconds) => Hold::Seconds(seconds),
        },
        no_auth_no_internet,
        no_auth_no_internet_block_rfc_1918: block_private,
        organization_configs: overrides,
        top_level: TOP_LEVEL.into_iter().filter(|key| dict.has(key)).collect(),
        warnings: Vec::new(),
    })
}

fn require_configs(dict: &Dict, listed: bool, multi_user: bool, pre_login: bool) -> Result<(), Fault> {
    let because = match (pre_login, multi_user) {
        _ if listed => return Ok(()),
        (true, _) => "pre_login",
        (false, true) => "multi_user",
        (false, false) => return Ok(()),
    };
    Err(dict.missing("configs", format!("`{because}` requires it, also with a single organisation")))
}

fn pre_login(node: Node, report: &mut Report<'_>) -> Result<PreLogin, Fault> {
    let mut dict = Dict::of(node, "pre_login")?;
    let (organization, token) = pre_login_parts(&mut dict)?;
    let organization =
        organization.ok_or_else(|| dict.missing("organization", "`pre_login` names the team to connect to"))?;
    let token = token.ok_or_else(|| dict.missing("auth_client_id", "`pre_login` connects with a service token"))?;
    let misplaced = [("pre_login_hold", "ignored here: it belongs at the top level of the file")];
    dict.finish(report, &misplaced);
    Ok(PreLogin { organization, token })
}

pub(super) fn pre_login_parts(dict: &mut Dict) -> Result<(Option<String>, Option<ServiceToken>), Fault> {
    Ok((organization::team(dict)?, organization::token(dict)?))
}

fn configs(node: Node, report: &mut Report<'_>) -> Result<Vec<OrganizationConfig>, Fault> {
    let fault = |problem| Fault { line: node.line, key: "configs".to_owned(), problem };
    let Value::Array(entries) = node.value else {
        return Err(fault(Problem::WrongType { expected: "an <array> of <dict>", got: node.value.kind() }));
    };
    match entries.len() {
        0 => return Err(fault(Problem::EmptyValue { expected: "at least one <dict>" })),
        got if got > MAX_CONFIGS => return Err(fault(Problem::TooMany { got, limit: MAX_CONFIGS })),
        _ => {}
    }
    let misplaced = TOP_LEVEL.map(|key| (key, "ignored here: it belongs at the top level of the file"));
    let mut read = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let path = format!("configs[{index}]");
        let mut dict = Dict::of(entry, &path)?;
        let config = organization::read(&mut dict)?;
        if config.display_name.is_none() {
            return Err(dict.missing("display_name", "every entry of `configs` needs a label for the menu"));
        }
        if config.organization.is_none() {
            report.warn(dict.line(), &path, "no `organization`: nobody can sign in with this entry");
        }
        old_switch(&dict, &config, report);
        dict.finish(report, &misplaced);
        read.push(config);
    }
    Ok(read)
}

fn overridden(node: Node, report: &mut Report<'_>) -> Result<BTreeMap<String, OrganizationOverride>, Fault> {
    let mut read = BTreeMap::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for entry in Dict::of(node, "organization_configs")?.into_entries() {
        let path = format!("organization_configs.{}", entry.key);
        let name = entry.key.to_ascii_lowercase();
        if !organization::is_team(&name) {
            let problem = Problem::WrongValue { expected: organization::TEAM.to_owned(), got: entry.key };
            return Err(Fault { line: entry.line, key: "organization_configs".to_owned(), problem });
        }
        if let Some(first) = lines.insert(name.clone(), entry.line) {
            return Err(Fault { line: entry.line, key: path, problem: Problem::Duplicate { first } });
        }
        let mut dict = Dict::of(entry.node, &path)?;
        let value = organization::read_override(&mut dict)?;
        dict.finish(report, &[]);
        read.insert(name, value);
    }
    Ok(read)
}

fn old_switch(dict: &Dict, config: &OrganizationConfig, report: &mut Report<'_>) {
    if config.enabled.is_some() {
        let message = match config.switch_locked.is_some() || config.auto_connect.is_some() {
            true => "replaced by `switch_locked` and `auto_connect`, which are used instead: remove it",
            false => "an old key, not acted on: write `switch_locked` and `auto_connect` instead",
        };
        report.warn(dict.line_of("enabled"), dict.path("enabled"), message);
    }
}

/// What the file allows but nobody can have meant.
fn advise(dict: &Dict, configs: &[OrganizationConfig], pre_login: bool, report: &mut Report<'_>) {
    if !dict.has("configs")
        && let Some(flat) = configs.first()
    {
        old_switch(dict, flat, report);
    }
    for (index, config) in configs.iter().enumerate() {
        let key = "external_emergency_signal_url";
        if config.external_emergency_signal_url.is_some() && config.external_emergency_signal_fingerprint.is_none() {
            let path = if dict.has("configs") { format!("configs[{index}].{key}") } else { key.to_owned() };
            let line = if dict.has("configs") { dict.line_of("configs") } else { dict.line_of(key) };
            report.warn(
                line,
                path,
                "not asked without `external_emergency_signal_fingerprint`, which tells its server",
            );
        }
    }
    let posture_only = |config: &OrganizationConfig| config.service_mode == Some(ServiceMode::PostureOnly);
    if pre_login && configs.iter().any(posture_only) {
        let message = "not available with `service_mode` postureonly, which needs a user";
        report.warn(dict.line_of("pre_login"), "pre_login", message);
    }
    for (index, config) in configs.iter().enumerate() {
        let twin =
            |other: &OrganizationConfig| other.display_name.is_some() && other.display_name == config.display_name;
        if configs[..index].iter().any(twin) {
            let message = "the same `display_name` as an entry above: users cannot tell them apart";
            report.warn(dict.line_of("configs"), format!("configs[{index}]"), message);
        }
    }
}

/// All entries of one organisation must name the same environment.
fn agree(dict: &Dict, configs: &[OrganizationConfig]) -> Result<(), Fault> {
    let mut seen = BTreeMap::new();
    for (index, config) in configs.iter().enumerate() {
        let Some(organization) = config.organization.as_ref().map(|name| name.to_ascii_lowercase()) else { continue };
        let environment = config.environment.map_or("normal", super::Environment::word);
        let first = *seen.entry(organization).or_insert(environment);
        if first != environment {
            let problem = Problem::WrongValue {
                expected: format!(
                    "the same environment in every entry of an organisation, {first} as in the first one"
                ),
                got: environment.to_owned(),
            };
            let key = format!("configs[{index}].environment");
            return Err(Fault { line: dict.line_of("configs"), key, problem });
        }
    }
    Ok(())
}
