//! The MDM file as the daemon lives with it: the last good one stays in force, whatever happens to the file (D14).

#[cfg(test)]
mod tests;
mod watch;

pub(super) use watch::watch;

use super::{
    emergency::Sources,
    ipc::{ConfigView, MdmState, MdmView},
    remote::Secret,
    store::Store,
    wall,
};
use crate::{api::profile::OrganizationSettings, causes::chain, mdm::MdmConfig, registration::Settings};
use std::{
    io,
    path::{Path, PathBuf},
};
use vestibule_platform::files;
use zeroize::Zeroizing;

/// What the daemon uses of an MDM file.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) settings: Settings,
    pub(super) tokens: Vec<Token>,
    pub(super) configs: Vec<ConfigView>,
    /// All that the file says.
    pub(super) mdm: MdmConfig,
}

/// A service token of the file.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// That of `pre_login`, not of an entry of `configs`.
    pub(super) pre_login: bool,
    /// Team name.
    pub(super) team: String,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
}

/// Reads a file's bytes, named for its errors; the error is one line for people.
pub(super) type Parse = fn(&str, &[u8]) -> Result<Content, String>;

/// What reading the file brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Unchanged,
    Changed(Settings),
    Broken(String),
}

struct Good {
    bytes: Zeroizing<Vec<u8>>,
    content: Content,
    at: Option<i64>,
}

/// The MDM file.
pub(super) struct Configuration {
    path: PathBuf,
    /// Goes before it while it is there.
    own: Option<PathBuf>,
    parse: Parse,
    largest: usize,
    good: Option<Good>,
    error: Option<String>,
}

impl Configuration {
    /// The file at `path`, at most `largest` bytes, and the last good one from `store`.
    pub(super) fn new(path: &Path, largest: usize, parse: Parse, store: &Store) -> Self {
        let name = "the last good MDM file in the state directory";
        let good = match store.mdm() {
            Ok(Some(bytes)) => match parse(name, &bytes) {
                Ok(content) => Some(Good { bytes, content, at: None }),
                Err(error) => {
                    tracing::warn!("{error}");
                    None
                }
            },
            Ok(None) => None,
            Err(error) => {
                tracing::warn!("{}", chain(&error));
                None
            }
        };
        Self { path: path.to_owned(), own: None, parse, largest, good, error: None }
    }

    /// With another file, which goes before this one while it is there.
    pub(super) fn under(self, own: Option<PathBuf>) -> Self {
        Self { own, ..self }
    }

    /// The file that counts now.
    fn path(&self) -> &Path {
        self.own.as_deref().filter(|own| own.exists()).unwrap_or(&self.path)
    }

    /// What is in force.
    pub(super) fn settings(&self) -> Option<Settings> {
        self.good.as_ref().map(|good| good.content.settings.clone())
    }

    /// All that the file in force says.
    pub(super) fn mdm(&self) -> Option<&MdmConfig> {
        self.good.as_ref().map(|good| &good.content.mdm)
    }

    /// Where emergency signals come from.
    pub(super) fn emergency(&self, organization: Option<&OrganizationSettings>) -> Sources {
        let entry = self.good.as_ref().and_then(|good| good.content.mdm.configs.first());
        Sources::of(entry, organization)
    }

    /// Reads the file again. A good one is kept in `store`.
    pub(super) fn read(&mut self, store: &Store) -> Reading {
        let file = self.path().to_owned();
        let path = file.display().to_string();
        let bytes = match files::read_trusted(&file, self.largest + 1) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match self.good {
                    Some(_) => {
                        self.broken(format!("{path}: the file is gone; the last good configuration stays in force"))
                    }
                    None => {
                        self.error = None;
                        Reading::Unchanged
                    }
                };
            }
            Err(error) => return self.broken(format!("{path}: cannot be read: {error}")),
        };
        if let Some(good) = self.good.as_mut().filter(|good| *good.bytes == *bytes) {
            // `at` is empty for what came from the state directory: now the file itself was seen.
            let seen = good.at.is_some() && self.error.is_none();
            good.at.get_or_insert_with(wall::now);
            self.error = None;
            return if seen { Reading::Unchanged } else { Reading::Changed(good.content.settings.clone()) };
        }
        match (self.parse)(&path, &bytes) {
            Ok(content) => {
                if let Err(error) = store.keep_mdm(&bytes) {
                    tracing::warn!("the MDM file is in force, but a restart may not know it: {}", chain(&error));
                }
                let settings = content.settings.clone();
                self.good = Some(Good { bytes, content, at: Some(wall::now()) });
                self.error = None;
                Reading::Changed(settings)
            }
            Err(message) => self.broken(message),
        }
    }

    fn broken(&mut self, message: String) -> Reading {
        if self.error.as_ref() == Some(&message) {
            return Reading::Unchanged;
        }
        self.error = Some(message.clone());
        Reading::Broken(message)
    }

    /// What is wrong with the file on disk.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The service token for `team`, of `pre_login` or of its entry: id and secret.
    pub(super) fn service_token(&self, pre_login: bool, team: &str) -> Option<(String, Secret)> {
        let mut tokens = self.good.iter().flat_map(|good| &good.content.tokens);
        let found = tokens.find(|token| token.pre_login == pre_login && token.team.eq_ignore_ascii_case(team))?;
        Some((found.client_id.clone(), found.client_secret.clone()))
    }

    pub(super) fn view(&self) -> MdmView {
        let state = match (&self.good, &self.error) {
            (Some(_), None) => MdmState::Loaded,
            (Some(_), Some(_)) => MdmState::LastGood,
            (None, Some(_)) => MdmState::Broken,
            (None, None) => MdmState::Missing,
        };
        let content = self.good.as_ref().map(|good| &good.content);
        MdmView {
            path: self.path().to_owned(),
            state,
            error: self.error.clone(),
            loaded_at: self.good.as_ref().and_then(|good| good.at).map(wall::text),
            multi_user: content.is_some_and(|content| content.settings.multi_user),
            pre_login: content.and_then(|content| content.settings.pre_login.clone()),
            configs: content.map(|content| content.configs.clone()).unwrap_or_default(),
        }
    }
}

/// The MDM parser, and what the daemon uses of its answer.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Content, String> {
    let config = crate::mdm::parse(file, bytes).map_err(|error| chain(&error))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let token = |pre_login, team: &str, token: &crate::mdm::ServiceToken| Token {
        pre_login,
        team: team.to_owned(),
        client_id: token.client_id.clone(),
        client_secret: Secret::new(token.client_secret.expose()),
    };
    let pre_login = config.pre_login.iter().map(|pre_login| token(true, &pre_login.organization, &pre_login.token));
    let entries = config.configs.iter();
    let of_entries =
        entries.filter_map(|entry| Some(token(false, entry.organization.as_ref()?, entry.token.as_ref()?)));
    let configs = config.configs.iter().filter_map(|entry| Some((entry.organization.as_ref()?, entry)));
    Ok(Content {
        settings: config.settings(),
        tokens: pre_login.chain(of_entries).collect(),
        configs: configs
            .map(|(organization, entry)| ConfigView {
                organization: organization.clone(),
                display_name: entry.display_name.clone(),
            })
            .collect(),
        mdm: config,
    })
}
