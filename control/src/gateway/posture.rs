//! Posture: rules parsed once per change, what they say of a report, and what follows for a device's traffic.

use super::app::{App, StepError};
use super::store::{Judged, Millis, PostureOutcome, PostureRow, Store, StoreError};
use super::{clock, duration};
use crate::api::posture::{PostureReport, PostureSchedule};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How often devices report when a rule does not say.
pub(super) const SCHEDULE: &str = "5m";
/// Longest sleep of the timer: wall time may jump.
const NAP: Duration = Duration::from_secs(30);

/// How two versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Operator {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    LessOrEqual,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    GreaterOrEqual,
    #[serde(rename = "==")]
    Equal,
}

/// The input of a rule of type `os_version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OsVersion {
    pub(super) operating_system: String,
    pub(super) operator: Operator,
    /// One to four numbers.
    pub(super) version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) os_distro_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) os_distro_revision: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) os_version_extra: String,
}

/// The numbers of a version; missing ones are 0.
pub(super) fn version(text: &str) -> Option<[u64; 4]> {
    let mut numbers = [0; 4];
    let parts: Vec<&str> = text.trim().split('.').collect();
    if parts.len() > numbers.len() {
        return None;
    }
    for (number, part) in numbers.iter_mut().zip(parts) {
        // `parse` would take a sign.
        *number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    Some(numbers)
}

impl OsVersion {
    /// Whether a device passes, and why.
    fn judge(&self, report: &PostureReport) -> (bool, String) {
        let found =
            [report.os_version.as_str(), &report.os_version_extra, &report.os_distro_name, &report.os_distro_revision];
        let found = found.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        let compared =
            version(&report.os_version).zip(version(&self.version)).is_some_and(|(has, wants)| match self.operator {
                Operator::Less => has < wants,
                Operator::LessOrEqual => has <= wants,
                Operator::Greater => has > wants,
                Operator::GreaterOrEqual => has >= wants,
                Operator::Equal => has == wants,
            });
        let exact = [
            (&self.os_version_extra, &report.os_version_extra),
            (&self.os_distro_name, &report.os_distro_name),
            (&self.os_distro_revision, &report.os_distro_revision),
        ];
        (compared && exact.iter().all(|(wants, has)| wants.is_empty() || wants == has), found)
    }
}

/// A rule, read.
#[derive(Debug)]
struct Rule {
    id: String,
    platforms: Vec<String>,
    check: OsVersion,
    schedule: Millis,
    expiration: Option<Millis>,
}

/// An immutable snapshot of all rules.
#[derive(Debug, Default)]
pub(super) struct PostureRules(Vec<Rule>);

impl PostureRules {
    /// Reads them from the store.
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(store.posture_rules().await?.into_iter().filter_map(Rule::read).collect()))
    }

    /// When a device with this system reports.
    pub(super) fn schedule(&self, os: &str) -> PostureSchedule {
        let every = self.0.iter().filter(|rule| rule.is_for(os)).map(|rule| rule.schedule / 1000).min();
        PostureSchedule { every: every.and_then(|seconds| u32::try_from(seconds).ok()) }
    }

    /// What the rules say of a report. A rule for other systems says nothing: it is neither passed nor failed.
    fn judge(&self, device_id: String, report: PostureReport, reported_at: Millis) -> Judged {
        let outcome = |rule: &Rule| {
            let (passed, detail) = rule.check.judge(&report);
            let expires_at = rule.expiration.map(|life| reported_at.saturating_add(life));
            PostureOutcome { rule_id: rule.id.clone(), passed, detail, expires_at }
        };
        let outcomes = self.0.iter().filter(|rule| rule.is_for(&report.os)).map(outcome).collect();
        Judged { device_id, report, reported_at, outcomes }
    }
}

impl Rule {
    fn read(row: PostureRow) -> Option<Self> {
        let check = serde_json::from_value(row.input).inspect_err(|error| {
            // Rules are checked before they are stored.
            tracing::error!(rule = %row.id, %error, "a stored posture rule is not readable: nobody passes it");
        });
        Some(Self {
            check: check.ok()?,
            schedule: duration::parse(&row.schedule).unwrap_or(300_000),
            expiration: duration::parse(&row.expiration).ok(),
            id: row.id,
            platforms: row.platforms,
        })
    }

    fn is_for(&self, os: &str) -> bool {
        self.check.operating_system == os && (self.platforms.is_empty() || self.platforms.iter().any(|one| one == os))
    }
}

impl App {
    /// A device says what its system is now.
    pub(super) async fn posture_reported(&self, device_id: &str, report: PostureReport) -> Result<(), StepError> {
        let now = clock::now();
        let judged = self.posture().judge(device_id.to_owned(), report, now);
        let changed = self.store.put_posture(&[judged], now).await?;
        self.posture_timer.notify_one();
        self.subjects_changed(&changed).await
    }

    /// As [`App::posture_reported`], as part of an order to swap: the disk is not waited for when nothing is new.
    pub(super) async fn posture_with_order(&self, device_id: &str, report: PostureReport) -> Result<(), StepError> {
        let expires = self.posture().0.iter().any(|rule| rule.expiration.is_some());
        if !expires && self.store.posture_report(device_id).await?.as_ref() == Some(&report) {
            return Ok(());
        }
        self.posture_reported(device_id, report).await
    }

    /// After a change of rules on disk: the last reports are judged again, and devices learn when to report.
    pub(super) async fn posture_rules_changed(&self) -> Result<(), StepError> {
        let rules = Arc::new(PostureRules::load(&self.store).await?);
        self.set_posture(Arc::clone(&rules));
        let reports = self.store.posture_reports().await?;
        let judged: Vec<_> = reports.into_iter().map(|(device, report, at)| rules.judge(device, report, at)).collect();
        let changed = self.store.put_posture(&judged, clock::now()).await?;
        self.posture_timer.notify_one();
        self.subjects_changed(&changed).await?;
        self.hub.all_changed();
        Ok(())
    }
}

/// Takes results back when they are no longer valid, for as long as the gateway runs.
pub(super) async fn expire(app: Arc<App>) {
    loop {
        let now = clock::now();
        let next = match step(&app, now).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(error = crate::causes::chain(&error), "posture results do not expire; trying again");
                Some(now + 1000)
            }
        };
        let wait = next.map(|at| Duration::from_millis(u64::try_from(at - now).unwrap_or(0)));
        tokio::select! {
            () = tokio::time::sleep(wait.unwrap_or(NAP).min(NAP)) => {}
            () = app.posture_timer.notified() => {}
        }
    }
}

async fn step(app: &App, now: Millis) -> Result<Option<Millis>, StepError> {
    let Some(next) = app.store.next_expiry().await? else { return Ok(None) };
    if next > now {
        return Ok(Some(next));
    }
    let devices = app.store.expire_posture(now).await?;
    tracing::info!(devices = devices.len(), "posture results expired");
    app.subjects_changed(&devices).await?;
    Ok(app.store.next_expiry().await?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn passes(input: serde_json::Value, report: &PostureReport) -> bool {
        serde_json::from_value::<OsVersion>(input).unwrap().judge(report).0
    }

    #[test]
    fn versions_compare_as_numbers_and_distributions_exactly() {
        let report = PostureReport {
            os: "linux".into(),
            os_version: "6.1.119".into(),
            os_distro_name: "debian".into(),
            os_distro_revision: "12".into(),
            ..PostureReport::default()
        };
        let rule = |operator: &str, version: &str| serde_json::json!({ "operating_system": "linux", "operator": operator, "version": version });
        for (operator, version, wanted) in [
            (">=", "6.1.99", true),
            (">", "6.1.119", false),
            (">=", "6.1.119", true),
            ("==", "6.1.119.0", true),
            ("<", "6.2", true),
            ("<=", "6.1.118", false),
            ("<", "10", true),
        ] {
            assert_eq!(passes(rule(operator, version), &report), wanted, "{operator} {version}");
        }
        let mut debian = rule(">=", "6.0.0");
        debian["os_distro_name"] = "debian".into();
        assert!(passes(debian.clone(), &report));
        debian["os_distro_revision"] = "1".into();
        assert!(!passes(debian, &report));
        assert!(!passes(rule(">=", "0.0.0"), &PostureReport::default()), "a version that is not known passes nothing");
    }

    #[test]
    fn a_version_is_up_to_four_numbers() {
        assert_eq!(version("10.0.19045.3930"), Some([10, 0, 19045, 3930]));
        assert_eq!(version("6"), Some([6, 0, 0, 0]));
        for text in ["", "6.", "1.2.3.4.5", "+1.0.0", "six", "-1"] {
            assert_eq!(version(text), None, "{text:?}");
        }
    }
}
