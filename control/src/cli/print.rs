//! Answers for people: aligned, plain text.

use crate::daemon::ipc::{
    DnsState, DnsView, Keeper, MdmState, MdmView, RegistrationView, RegistrationsView, SettingView, SettingsView,
    Status, WhyEntry, WhyView,
};
use serde_json::Value;
use std::{fmt::Write as _, io::Write as _};

/// Prints `text`; a reader that went away (`| head`) is no failure.
pub(super) fn out(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Lines of `label  value`, the values aligned.
#[derive(Default)]
struct Sheet(Vec<(String, String)>);

impl Sheet {
    fn line(&mut self, label: &str, value: impl ToString) {
        self.0.push((label.to_owned(), value.to_string()));
    }

    fn maybe(&mut self, label: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.line(label, value);
        }
    }

    fn text(&self, indent: usize) -> String {
        let width = self.0.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        self.0.iter().fold(String::new(), |mut text, (label, value)| {
            let _ = writeln!(text, "{:indent$}{label:width$}  {value}", "");
            text
        })
    }
}

/// Rows of cells, the columns aligned; the first row is the heading.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    rows.iter().fold(String::new(), |mut text, row| {
        let line = row.iter().zip(&widths).fold(String::new(), |mut line, (cell, width)| {
            let _ = write!(line, "{cell:width$}  ");
            line
        });
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

fn list<T: ToString>(items: &[T]) -> Option<String> {
    (!items.is_empty()).then(|| items.iter().map(T::to_string).collect::<Vec<_>>().join(", "))
}

pub(super) fn summary(status: &Status) -> String {
    let mut text = format!("{}\n", status.summary);
    if let Some(url) = &status.auth_url {
        let _ = writeln!(text, "Sign in at {url}");
    }
    text
}

pub(super) fn status(status: &Status) -> String {
    let mut text = format!("{}\n\n", status.summary);
    let mut sheet = Sheet::default();
    sheet.maybe("Sign in at", status.auth_url.as_ref());
    sheet.maybe("Identity", status.identity.as_ref());
    sheet.maybe("Organisation", status.organization.as_ref());
    sheet.maybe("Registration", status.registration);
    sheet.maybe("Desktop", status.desktop.as_ref());
    sheet.line("Device", &status.device_id);
    if status.device_key.keeper == Keeper::Tpm {
        sheet.line("Device key", "in the TPM");
    }
    sheet.line("Gateway", &status.gateway);
    sheet.line("Interface", &status.interface);
    sheet.maybe("Addresses", list(&status.addresses));
    sheet.maybe("Routes", list(&status.routes));
    sheet.maybe("MTU", status.mtu);
    if let (Some(generation), Some(swap_seq)) = (status.generation, status.swap_seq) {
        let since = status.since.as_deref().unwrap_or("-");
        sheet.line("Generation", format!("{generation} (swap_seq {swap_seq}) since {since}"));
    }
    sheet.line("Swaps", status.swaps);
    sheet.line("MDM file", mdm_state(&status.mdm));
    sheet.maybe("Names", names(&status.dns));
    if let Some(error) = &status.last_error {
        sheet.line("Last error", format!("{} ({})", error.message, error.at));
    }
    text.push_str(&sheet.text(0));
    if !status.generations.is_empty() {
        let mut rows = vec![["Generation", "Stage", "swap_seq", "Identity"].map(String::from).to_vec()];
        rows.extend(status.generations.iter().map(|generation| {
            vec![
                generation.generation.to_string(),
                generation.stage.clone(),
                generation.swap_seq.to_string(),
                generation.identity.clone(),
            ]
        }));
        text.push('\n');
        text.push_str(&table(&rows));
    }
    if !status.counters.is_empty() {
        let width = status.counters.values().map(|value| value.to_string().len()).max().unwrap_or(0);
        let mut sheet = Sheet::default();
        for (name, value) in &status.counters {
            sheet.line(name, format!("{value:>width$}"));
        }
        text.push_str("\nCounters\n");
        text.push_str(&sheet.text(2));
    }
    text
}

/// Who answers for which names; nothing where the system does as ever.
fn names(dns: &DnsView) -> Option<String> {
    let domains = dns.fallback_domains.iter().map(|domain| match list(&domain.servers) {
        Some(servers) => format!("{} by {servers}", domain.suffix),
        None => domain.suffix.clone(),
    });
    let domains = domains.collect::<Vec<_>>().join("; ");
    Some(match dns.state {
        DnsState::Off => return None,
        DnsState::On => domains,
        DnsState::Displaced => format!("{domains} (not asked: the system's resolvers were changed by somebody else)"),
        DnsState::Failed => format!("as without the tunnel: {}", dns.error.as_deref().unwrap_or("unknown")),
    })
}

fn mdm_state(mdm: &MdmView) -> String {
    let state = match mdm.state {
        MdmState::Loaded => "in force",
        MdmState::Missing => "missing: unmanaged",
        MdmState::LastGood => "broken: the last good one stays in force",
        MdmState::Broken => "broken: nothing is in force",
    };
    let error = mdm.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    format!("{}: {state}{error}", mdm.path.display())
}

pub(super) fn mdm(mdm: &MdmView) -> String {
    let mut sheet = Sheet::default();
    sheet.line("MDM file", mdm_state(mdm));
    sheet.maybe("Read at", mdm.loaded_at.as_ref());
    sheet.line("Multi-user", if mdm.multi_user { "yes" } else { "no" });
    sheet.line("Before login", mdm.pre_login.as_deref().unwrap_or("-"));
    let mut text = sheet.text(0);
    if !mdm.configs.is_empty() {
        let mut rows = vec![["", "Organisation", "Name"].map(String::from).to_vec()];
        rows.extend(mdm.configs.iter().enumerate().map(|(index, config)| {
            vec![(index + 1).to_string(), config.organization.clone(), config.display_name.clone().unwrap_or_default()]
        }));
        text.push('\n');
        text.push_str(&table(&rows));
    }
    text
}

pub(super) fn settings(view: &SettingsView) -> String {
    let mut rows = vec![["Setting", "Value", "Unit", "Origin", ""].map(String::from).to_vec()];
    rows.extend(view.settings.iter().map(|setting| {
        vec![
            setting.name.clone(),
            value(setting),
            setting.unit.clone().unwrap_or_default(),
            setting.origin.to_string(),
            setting.note.clone().unwrap_or_default(),
        ]
    }));
    let profile = view.profile.as_deref().unwrap_or("none yet");
    format!("Device profile: {profile}\n\n{}", table(&rows))
}

fn value(setting: &SettingView) -> String {
    match &setting.value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn registrations(view: &RegistrationsView) -> String {
    if view.registrations.is_empty() {
        return format!("Device {} has no registration.\n", view.device_id);
    }
    let mut rows = vec![["", "Registration", "Slot", "Organisation", "Identity"].map(String::from).to_vec()];
    rows.extend(view.registrations.iter().map(|registration| {
        let mark = match (registration.active, registration.revoked) {
            (true, _) => "*",
            (false, true) => "revoked",
            (false, false) => "",
        };
        vec![
            mark.to_owned(),
            registration.id.to_string(),
            registration.slot.clone(),
            registration.organization.clone(),
            registration.identity.clone(),
        ]
    }));
    format!("Device {}\n\n{}", view.device_id, table(&rows))
}

pub(super) fn deleted(registration: &RegistrationView) -> String {
    format!("Deleted {} ({})\n", registration.id, registration.identity)
}

pub(super) fn why(view: &WhyView) -> String {
    if view.entries.is_empty() {
        return "Nothing has happened yet.\n".to_owned();
    }
    // Eight characters tell the starts of a system apart.
    let boot = |entry: &WhyEntry| entry.boot.iter().flat_map(|boot| boot.chars().take(8)).collect::<String>();
    let mut rows = vec![["When", "Boot", "Row", "What happened"].map(String::from).to_vec()];
    rows.extend(
        view.entries.iter().map(|entry| vec![entry.at.clone(), boot(entry), entry.row.clone(), entry.plain.clone()]),
    );
    let mut text = table(&rows);
    let rules: std::collections::BTreeMap<_, _> = view.entries.iter().map(|entry| (&entry.row, &entry.rule)).collect();
    let mut sheet = Sheet::default();
    for (row, rule) in rules {
        sheet.line(row, rule);
    }
    text.push_str("\nRows\n");
    text.push_str(&sheet.text(2));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_clean() {
        let rows = [["a", "long heading", "c"], ["longer", "x", ""]].map(|row| row.map(String::from).to_vec());
        assert_eq!(table(&rows), "a       long heading  c\nlonger  x\n");
        let mut sheet = Sheet::default();
        sheet.line("One", 1);
        sheet.line("Three", 3);
        assert_eq!(sheet.text(2), "  One    1\n  Three  3\n");
    }
}
