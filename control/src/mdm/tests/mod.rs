//! Good files, bad files, and files that nobody meant to write.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad;
mod corpus;
mod good;
mod hardening;
mod keys;
mod random;

const PRE_LOGIN: &str = include_str!("../testdata/pre-login.xml");
const MULTI_USER: &str = include_str!("../testdata/multi-user.xml");
const FLAT: &str = include_str!("../testdata/flat.xml");
const EVERY_KEY: &str = include_str!("../testdata/every-key.xml");
