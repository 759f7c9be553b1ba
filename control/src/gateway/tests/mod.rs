//! A gateway in this process, spoken to over real HTTPS with its certificate pinned.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod administration;
mod api;
mod api_tokens;
mod certificates;
mod changes;
mod enrolment;
mod login;
mod posture;
mod profiles;
mod swap;
mod tokens;
mod tunnel;
