//! The parameters of a login, checked once, wherever they come from.

use super::Identified;
use super::grants::Code;
use serde::Deserialize;

/// As they stand in the address or the form.
#[derive(Clone, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    organization: String,
    #[serde(default)]
    redirect_uri: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    code_challenge: String,
    #[serde(default)]
    code_challenge_method: String,
    #[serde(default)]
    prompt: String,
}

/// A login that a device's daemon asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoginRequest {
    pub(super) organization: String,
    pub(super) redirect_uri: String,
    pub(super) state: String,
    pub(super) challenge: String,
    /// Whether a provider must ask the user even if it knows them: they come again, perhaps to be another.
    pub(super) again: bool,
}

/// A SHA-256 in base64url without padding.
const CHALLENGE_LENGTH: usize = 43;
const MAX_STATE: usize = 512;

impl Parameters {
    /// Checks them; the error says what was expected.
    pub(super) fn check(self, organization: &str) -> Result<LoginRequest, &'static str> {
        if !self.organization.is_empty() && !self.organization.eq_ignore_ascii_case(organization) {
            return Err("This gateway serves another organisation.");
        }
        if callback_port(&self.redirect_uri).is_none() {
            return Err("`redirect_uri` must be http://127.0.0.1:PORT/callback or http://[::1]:PORT/callback.");
        }
        if self.state.is_empty() || self.state.len() > MAX_STATE || !self.state.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("`state` must be 1 to 512 visible characters.");
        }
        let base64url = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if self.code_challenge_method != "S256"
            || self.code_challenge.len() != CHALLENGE_LENGTH
            || !self.code_challenge.bytes().all(base64url)
        {
            return Err("`code_challenge` must be a SHA-256 in base64url, with `code_challenge_method=S256`.");
        }
        if !matches!(self.prompt.as_str(), "" | "login") {
            return Err("`prompt` must be `login`, or left out.");
        }
        Ok(LoginRequest {
            organization: organization.to_owned(),
            redirect_uri: self.redirect_uri,
            state: self.state,
            challenge: self.code_challenge,
            again: self.prompt == "login",
        })
    }
}

impl LoginRequest {
    /// As hidden fields of the form, or parameters of a link.
    pub(super) fn fields(&self) -> Vec<(&'static str, &str)> {
        let mut fields: Vec<(&'static str, &str)> = vec![
            ("organization", &self.organization),
            ("redirect_uri", &self.redirect_uri),
            ("state", &self.state),
            ("code_challenge", &self.challenge),
            ("code_challenge_method", "S256"),
        ];
        if self.again {
            fields.push(("prompt", "login"));
        }
        fields
    }

    /// Where the form may be sent on to, for the content security policy.
    pub(super) fn origin(&self) -> &str {
        self.redirect_uri.trim_end_matches("/callback")
    }

    /// What its code stands for.
    pub(super) fn code(&self, user: Identified) -> Code {
        Code { user, challenge: self.challenge.clone(), redirect_uri: self.redirect_uri.clone() }
    }

    /// The daemon's address with the code.
    pub(super) fn callback(&self, code: &str) -> Option<String> {
        self.back(&[("code", code)])
    }

    /// The daemon's address with word that the user does not want to sign in.
    pub(super) fn cancelled(&self, by: &str) -> Option<String> {
        self.back(&[("error", "access_denied"), ("error_description", by)])
    }

    fn back(&self, answer: &[(&str, &str)]) -> Option<String> {
        let parameters = answer.iter().copied().chain([("state", self.state.as_str())]);
        Some(reqwest::Url::parse_with_params(&self.redirect_uri, parameters).ok()?.to_string())
    }
}

/// The port of a loopback callback (RFC 8252, section 7.3). Nothing else is ever redirected to.
fn callback_port(uri: &str) -> Option<u16> {
    let rest = uri.strip_prefix("http://127.0.0.1:").or_else(|| uri.strip_prefix("http://[::1]:"))?;
    let port = rest.strip_suffix("/callback")?;
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    port.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parameters(redirect_uri: &str) -> Parameters {
        Parameters {
            organization: "MyCompany".to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            state: "s/1&".to_owned(),
            code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
            code_challenge_method: "S256".to_owned(),
            prompt: String::new(),
        }
    }

    #[test]
    fn loopback_callbacks_pass_and_carry_code_and_state() {
        let request = parameters("http://127.0.0.1:4711/callback").check("mycompany").unwrap();
        assert_eq!(request.callback("c").unwrap(), "http://127.0.0.1:4711/callback?code=c&state=s%2F1%26");
        assert_eq!(request.origin(), "http://127.0.0.1:4711");
        assert!(parameters("http://[::1]:4711/callback").check("mycompany").is_ok());
    }

    #[test]
    fn a_second_attempt_asks_the_provider_to_ask() {
        let mut again = parameters("http://127.0.0.1:4711/callback");
        again.prompt = "login".to_owned();
        let request = again.clone().check("mycompany").unwrap();
        assert!(request.again && request.fields().contains(&("prompt", "login")));
        again.prompt = "none".to_owned();
        assert!(again.check("mycompany").is_err());
    }

    #[test]
    fn nothing_else_is_redirected_to() {
        for uri in [
            "",
            "https://127.0.0.1:4711/callback",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:+80/callback",
            "http://127.0.0.1:80@evil.example/callback",
            "http://127.0.0.1:80/other",
            "http://127.0.0.1:80/callback?x=/callback",
            "http://127.0.0.1.evil.example:80/callback",
            "http://localhost:80/callback",
            "javascript:alert(1)//callback",
        ] {
            assert!(parameters(uri).check("mycompany").is_err(), "{uri} was taken");
        }
    }

    #[test]
    fn plain_pkce_short_challenges_and_other_organisations_are_refused() {
        let good = parameters("http://127.0.0.1:4711/callback");
        let mut plain = good.clone();
        plain.code_challenge_method = "plain".to_owned();
        assert!(plain.check("mycompany").is_err());
        let mut short = good.clone();
        short.code_challenge.pop();
        assert!(short.check("mycompany").is_err());
        assert!(good.check("othercompany").is_err());
    }
}
