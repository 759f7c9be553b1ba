//! The administrator's part: token, enrolment, accounts, rules.

use super::{Stopped, Transport, admin::Admin, device::Token, intranet::Intranet, stage::ECHO_PORT};
use reqwest::Method;
use serde_json::json;

/// The identity of a device before login.
pub(crate) const NON_IDENTITY: &str = "non_identity@mycompany.cloudflareaccess.com";

/// Someone who may log in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    /// Account of the operating system.
    pub user: &'static str,
    /// Mail address.
    pub email: &'static str,
    /// Full name.
    name: &'static str,
    /// Password at the identity provider.
    pub password: &'static str,
}

/// Registers in the first part.
pub(crate) const ALICE: Person =
    Person { user: "alice", email: "alice@mycompany.example", name: "Alice", password: "correct horse battery staple" };
/// Registers in the second part.
pub(crate) const BOB: Person =
    Person { user: "bob", email: "bob@mycompany.example", name: "Bob", password: "a quite different sentence" };

/// Makes everything that the walk needs; returns the token for the MDM file.
pub(crate) fn organisation(admin: &Admin, transport: Transport, intranet: Intranet) -> Result<Token, Stopped> {
    admin.call(Method::PATCH, "devices/policy", Some(json!({ "tunnel_protocol": transport.protocol() })))?;
    let wish = json!({ "name": "Pre-login", "duration": "8760h" });
    let made = admin.call(Method::POST, "access/service_tokens", Some(wish))?;
    let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
    let token = Token { id: text("client_id"), secret: text("client_secret") };

    // There is one application of type `warp`: device enrolment.
    let apps = admin.call(Method::GET, "access/apps", None)?;
    let app = apps[0]["id"].as_str().ok_or(Stopped::Missing("application for device enrolment"))?;
    let policies = [
        json!({
            "name": "Devices before login",
            "decision": "non_identity",
            "precedence": 1,
            "include": [{ "service_token": { "token_id": text("id") } }],
        }),
        json!({
            "name": "Staff",
            "decision": "allow",
            "precedence": 2,
            "include": [{ "email_domain": { "domain": "mycompany.example" } }],
        }),
    ];
    for policy in policies {
        admin.call(Method::POST, &format!("access/apps/{app}/policies"), Some(policy))?;
    }
    for Person { email, name, password, .. } in [ALICE, BOB] {
        admin.call(Method::POST, USERS, Some(json!({ "email": email, "name": name, "password": password })))?;
    }
    let servers = json!({
        "name": "Active Directory servers",
        "type": "IP",
        "items": [{ "value": intranet.directory().to_string() }],
    });
    let list = admin.make("gateway/lists", servers, "id")?;
    let before_login = json!({
        "name": "Directory servers before login",
        "enabled": true,
        "action": "allow",
        "filters": ["l4"],
        "precedence": 1000,
        "traffic": format!("net.dst.ip in ${list}"),
        "identity": format!("identity.email in {{\"{NON_IDENTITY}\"}}"),
    });
    let staff = json!({
        "name": "Intranet for staff",
        "enabled": true,
        "action": "allow",
        "filters": ["l4"],
        "precedence": 2000,
        "traffic": format!("net.dst.ip in {{{}}}", intranet.network()),
        "identity": format!("identity.email in {{\"{}\" \"{}\"}}", ALICE.email, BOB.email),
    });
    for rule in [before_login, staff] {
        admin.call(Method::POST, RULES, Some(rule))?;
    }
    Ok(token)
}

/// Path of the network rules.
pub(crate) const RULES: &str = "gateway/rules";
/// Path of the local accounts.
const USERS: &str = "vestibule/users";

/// A rule that blocks the echo server's port for everybody, before all others.
pub(crate) fn block_echo() -> serde_json::Value {
    json!({
        "name": "Maintenance of the echo server",
        "enabled": true,
        "action": "block",
        "filters": ["l4"],
        "precedence": 10,
        "traffic": format!("net.dst.port == {ECHO_PORT}"),
    })
}
