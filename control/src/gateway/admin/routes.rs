//! Every call of the API, in one table. The router is built from it, permissions are checked by it, changes are audited
//! by it, and the OpenAPI document is written from it: a call that is not here does not exist.
//!
//! A row: method, path below the account, handler, who may call it, what it is about (the audit log's resource type), a
//! line for the documentation, the query's parameters beyond `page` and `per_page`, and the type of the body.

use super::permission::{Area, Permission};
use super::{
    api_tokens, apps, audit, certificates, device_settings, devices, groups, guard, lists, logs, organizations,
    policies, posture, profiles, providers,
};
use super::{registrations, rules};
use super::{schema, settings, status, tokens, users};
use crate::gateway::app::App;
use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler as _;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A handler's answer to come.
type Coming = Pin<Box<dyn Future<Output = Response> + Send>>;

/// One call.
pub(super) struct Operation {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub(super) method: &'static str,
    /// Below `/client/v4`, with `{names}`.
    pub(super) path: &'static str,
    area: Area,
    /// What it is about.
    pub(super) resource: &'static str,
    pub(super) summary: &'static str,
    /// Parameters of the query, other than those of paging.
    pub(super) query: &'static [&'static str],
    /// The body's JSON schema.
    pub(super) body: Option<fn() -> Value>,
    pub(super) handler: fn(Request, Arc<App>) -> Coming,
}

macro_rules! operations {
    ($($method:ident $path:literal $module:ident::$handler:ident, $area:ident $resource:literal $summary:literal
        $([$($query:literal)*])? $($body_module:ident::$body:ident)?;)*) => {
        &[$(Operation {
            method: stringify!($method),
            path: concat!("/accounts/{account_id}", $path),
            area: Area::$area,
            resource: $resource,
            summary: $summary,
            query: &[$($($query),*)?],
            body: operations!(@body $($body_module::$body)?),
            handler: |request, app| Box::pin($module::$handler.call(request, app)),
        }),*]
    };
    (@body) => { None };
    (@body $body:ty) => { Some(schema::of::<$body>) };
}

/// All calls.
#[rustfmt::skip]
pub(super) static OPERATIONS: &[Operation] = operations! {
    GET    "/access/service_tokens"                   tokens::list, ServiceTokens "service_token" "Lists service tokens" ["name" "search"];
    POST   "/access/service_tokens"                   tokens::create, ServiceTokens "service_token" "Makes a service token; the only answer but a rotation's that shows its secret" tokens::Create;
    GET    "/access/service_tokens/{id}"              tokens::show, ServiceTokens "service_token" "Shows a service token";
    PUT    "/access/service_tokens/{id}"              tokens::update, ServiceTokens "service_token" "Changes, disables, enables or rotates a service token" tokens::Update;
    DELETE "/access/service_tokens/{id}"              tokens::remove, ServiceTokens "service_token" "Deletes a service token that no enrolment policy names";
    POST   "/access/service_tokens/{id}/rotate"       tokens::rotate, ServiceTokens "service_token" "Gives a service token a new secret" tokens::Rotate;
    POST   "/access/service_tokens/{id}/refresh"      tokens::refresh, ServiceTokens "service_token" "Lets a service token live for a year from now";

    GET    "/access/apps"                             apps::list, AppsAndPolicies "access_application" "Lists the one application, of type `warp`: device enrolment";
    POST   "/access/apps"                             apps::create, AppsAndPolicies "access_application" "Refused: the application of type `warp` is made with the gateway" apps::Body;
    GET    "/access/apps/{id}"                        apps::show, AppsAndPolicies "access_application" "Shows the application with its policies";
    PUT    "/access/apps/{id}"                        apps::update, AppsAndPolicies "access_application" "Changes the application" apps::Body;
    GET    "/access/apps/{id}/policies"               policies::list, AppsAndPolicies "enrolment_policy" "Lists enrolment policies";
    POST   "/access/apps/{id}/policies"               policies::create, AppsAndPolicies "enrolment_policy" "Makes an enrolment policy" policies::Body;
    GET    "/access/apps/{id}/policies/{policy}"      policies::show, AppsAndPolicies "enrolment_policy" "Shows an enrolment policy";
    PUT    "/access/apps/{id}/policies/{policy}"      policies::update, AppsAndPolicies "enrolment_policy" "Replaces an enrolment policy" policies::Body;
    DELETE "/access/apps/{id}/policies/{policy}"      policies::remove, AppsAndPolicies "enrolment_policy" "Deletes an enrolment policy";
    GET    "/access/policies"                         policies::list_reusable, AppsAndPolicies "enrolment_policy" "Lists reusable enrolment policies";
    POST   "/access/policies"                         policies::create_reusable, AppsAndPolicies "enrolment_policy" "Makes an enrolment policy that decides while the application's `policies` name it" policies::Body;
    GET    "/access/policies/{policy}"                policies::show_reusable, AppsAndPolicies "enrolment_policy" "Shows a reusable enrolment policy";
    PUT    "/access/policies/{policy}"                policies::update_reusable, AppsAndPolicies "enrolment_policy" "Replaces a reusable enrolment policy" policies::Body;
    DELETE "/access/policies/{policy}"                policies::remove_reusable, AppsAndPolicies "enrolment_policy" "Deletes a reusable enrolment policy that the application does not use";
    GET    "/access/groups"                           groups::list, Organization "access_group" "Lists access groups";
    POST   "/access/groups"                           groups::create, Organization "access_group" "Makes an access group: rules under a name" groups::Body;
    GET    "/access/groups/{id}"                      groups::show, Organization "access_group" "Shows an access group";
    PUT    "/access/groups/{id}"                      groups::update, Organization "access_group" "Replaces an access group" groups::Body;
    DELETE "/access/groups/{id}"                      groups::remove, Organization "access_group" "Deletes an access group that no rule names";
    GET    "/access/identity_providers"               providers::list, Organization "identity_provider" "Lists OpenID Connect providers";
    POST   "/access/identity_providers"               providers::create, Organization "identity_provider" "Adds an OpenID Connect provider" providers::Body;
    GET    "/access/identity_providers/{id}"          providers::show, Organization "identity_provider" "Shows an OpenID Connect provider, without its secret";
    PUT    "/access/identity_providers/{id}"          providers::update, Organization "identity_provider" "Replaces an OpenID Connect provider" providers::Body;
    DELETE "/access/identity_providers/{id}"          providers::remove, Organization "identity_provider" "Deletes an OpenID Connect provider that nothing names";    GET    "/access/organizations"                    organizations::show, Organization "organization" "Shows the organisation";
    PUT    "/access/organizations"                    organizations::update, Organization "organization" "Changes what becomes of service tokens that nobody uses" organizations::Update;

    GET    "/access/certificates"                     certificates::list, Certificates "access_certificate" "Lists the authorities whose client certificates count at enrolment";
    POST   "/access/certificates"                     certificates::create, Certificates "access_certificate" "Adds an authority; it counts while `associated_hostnames` has the organisation's domain" certificates::Create;
    GET    "/access/certificates/{id}"                certificates::show, Certificates "access_certificate" "Shows an authority";
    PUT    "/access/certificates/{id}"                certificates::update, Certificates "access_certificate" "Changes an authority's name and hostnames" certificates::Update;
    DELETE "/access/certificates/{id}"                certificates::remove, Certificates "access_certificate" "Deletes an authority that has no hostnames";

    GET    "/gateway/rules"                           rules::list, ZeroTrust "gateway_rule" "Lists network policies by precedence";
    POST   "/gateway/rules"                           rules::create, ZeroTrust "gateway_rule" "Makes a network policy; in force everywhere when the call answers" rules::Body;
    GET    "/gateway/rules/{id}"                      rules::show, ZeroTrust "gateway_rule" "Shows a network policy";
    PUT    "/gateway/rules/{id}"                      rules::update, ZeroTrust "gateway_rule" "Replaces a network policy" rules::Body;
    DELETE "/gateway/rules/{id}"                      rules::remove, ZeroTrust "gateway_rule" "Deletes a network policy";
    GET    "/gateway/lists"                           lists::list, ZeroTrust "gateway_list" "Lists the lists that expressions name as `$ID`";
    POST   "/gateway/lists"                           lists::create, ZeroTrust "gateway_list" "Makes a list" lists::Body;
    GET    "/gateway/lists/{id}"                      lists::show, ZeroTrust "gateway_list" "Shows a list with its items";
    PUT    "/gateway/lists/{id}"                      lists::update, ZeroTrust "gateway_list" "Replaces a list" lists::Body;
    PATCH  "/gateway/lists/{id}"                      lists::patch, ZeroTrust "gateway_list" "Adds and removes items of a list" lists::Patch;
    GET    "/gateway/lists/{id}/items"                lists::items, ZeroTrust "gateway_list" "Lists the items of a list";
    DELETE "/gateway/lists/{id}"                      lists::remove, ZeroTrust "gateway_list" "Deletes a list that no rule names";

    GET    "/devices/policy"                          profiles::show, ZeroTrust "device_profile" "Shows the default device profile";
    POST   "/devices/policy"                          profiles::create, ZeroTrust "device_profile" "Makes a device profile, a copy of the default but for what is given" profiles::Edit;
    PATCH  "/devices/policy"                          profiles::update, ZeroTrust "device_profile" "Changes the default device profile" profiles::Edit;
    GET    "/devices/policies"                        profiles::list, ZeroTrust "device_profile" "Lists device profiles by precedence, without the default";
    GET    "/devices/policy/include"                  profiles::include, ZeroTrust "device_profile" "Lists what the default profile includes in the tunnel";
    PUT    "/devices/policy/include"                  profiles::set_include, ZeroTrust "device_profile" "Sends these through the tunnel and nothing else" profiles::Entries;
    GET    "/devices/policy/exclude"                  profiles::exclude, ZeroTrust "device_profile" "Lists what the default profile excludes from the tunnel";
    PUT    "/devices/policy/exclude"                  profiles::set_exclude, ZeroTrust "device_profile" "Keeps these out of the tunnel and nothing else" profiles::Entries;
    GET    "/devices/policy/fallback_domains"         profiles::fallback_domains, ZeroTrust "device_profile" "Lists the default profile's fallback domains";
    PUT    "/devices/policy/fallback_domains"         profiles::set_fallback_domains, ZeroTrust "device_profile" "Replaces the default profile's fallback domains" profiles::Domains;
    GET    "/devices/policy/{id}"                     profiles::show, ZeroTrust "device_profile" "Shows a device profile";
    PATCH  "/devices/policy/{id}"                     profiles::update, ZeroTrust "device_profile" "Changes a device profile" profiles::Edit;
    DELETE "/devices/policy/{id}"                     profiles::remove, ZeroTrust "device_profile" "Deletes a device profile";
    GET    "/devices/policy/{id}/include"             profiles::include, ZeroTrust "device_profile" "Lists what a profile includes in the tunnel";
    PUT    "/devices/policy/{id}/include"             profiles::set_include, ZeroTrust "device_profile" "Sends these through the tunnel and nothing else" profiles::Entries;
    GET    "/devices/policy/{id}/exclude"             profiles::exclude, ZeroTrust "device_profile" "Lists what a profile excludes from the tunnel";
    PUT    "/devices/policy/{id}/exclude"             profiles::set_exclude, ZeroTrust "device_profile" "Keeps these out of the tunnel and nothing else" profiles::Entries;
    GET    "/devices/policy/{id}/fallback_domains"    profiles::fallback_domains, ZeroTrust "device_profile" "Lists a profile's fallback domains";
    PUT    "/devices/policy/{id}/fallback_domains"    profiles::set_fallback_domains, ZeroTrust "device_profile" "Replaces a profile's fallback domains" profiles::Domains;
    GET    "/devices/settings"                        device_settings::show, ZeroTrust "device_settings" "Shows what holds for all devices";
    PUT    "/devices/settings"                        device_settings::replace, ZeroTrust "device_settings" "Replaces what holds for all devices; what is left out has its default" device_settings::Edit;
    PATCH  "/devices/settings"                        device_settings::update, ZeroTrust "device_settings" "Changes what holds for all devices" device_settings::Edit;

    GET    "/devices/posture"                         posture::list, DevicePosture "posture_rule" "Lists posture rules";
    POST   "/devices/posture"                         posture::create, DevicePosture "posture_rule" "Makes a posture rule of type `os_version`; the devices' last reports are judged at once" posture::Body;
    GET    "/devices/posture/{id}"                    posture::show, DevicePosture "posture_rule" "Shows a posture rule";
    PUT    "/devices/posture/{id}"                    posture::update, DevicePosture "posture_rule" "Replaces a posture rule" posture::Body;
    DELETE "/devices/posture/{id}"                    posture::remove, DevicePosture "posture_rule" "Deletes a posture rule";

    GET    "/devices/physical-devices"                devices::list, ZeroTrust "device" "Lists devices" ["cursor" "id" "active_registrations" "search" "last_seen_user.email" "seen_after" "seen_before" "sort_by" "sort_order" "include"];
    GET    "/devices/physical-devices/{id}"           devices::show, ZeroTrust "device" "Shows a device" ["include"];
    DELETE "/devices/physical-devices/{id}"           devices::remove, ZeroTrust "device" "Deletes all registrations of a device";
    POST   "/devices/physical-devices/{id}/revoke"    devices::revoke, ZeroTrust "device" "Revokes all registrations of a device";
    GET    "/devices/registrations"                   registrations::list, ZeroTrust "registration" "Lists registrations" ["cursor" "id" "status" "search" "device.id" "user.id" "seen_after" "seen_before" "sort_by" "sort_order" "include"];
    DELETE "/devices/registrations"                   registrations::remove_many, ZeroTrust "registration" "Deletes registrations" ["id"];
    POST   "/devices/registrations/revoke"            registrations::revoke, ZeroTrust "registration" "Revokes registrations: their traffic ends at once" ["id"] registrations::Ids;
    POST   "/devices/registrations/unrevoke"          registrations::unrevoke, ZeroTrust "registration" "Restores revoked registrations" ["id"] registrations::Ids;
    GET    "/devices/registrations/{id}"              registrations::show, ZeroTrust "registration" "Shows a registration" ["include"];
    DELETE "/devices/registrations/{id}"              registrations::remove, ZeroTrust "registration" "Deletes a registration";

    GET    "/tokens"                                  api_tokens::list, ApiTokens "api_token" "Lists API tokens" ["include_expired" "direction"];
    POST   "/tokens"                                  api_tokens::create, ApiTokens "api_token" "Makes an API token; the only answer but a roll's that shows it" api_tokens::Body;
    GET    "/tokens/{id}"                             api_tokens::show, ApiTokens "api_token" "Shows an API token";
    PUT    "/tokens/{id}"                             api_tokens::update, ApiTokens "api_token" "Replaces what an API token may do" api_tokens::Body;
    DELETE "/tokens/{id}"                             api_tokens::remove, ApiTokens "api_token" "Deletes an API token";
    PUT    "/tokens/{id}/value"                       api_tokens::roll, ApiTokens "api_token" "Gives an API token a new secret" api_tokens::Nothing;
    GET    "/tokens/verify"                           api_tokens::verify, Own "api_token" "Tells whether the token of this call works";
    GET    "/tokens/permission_groups"                api_tokens::permission_groups, ApiTokens "permission_group" "Lists what API tokens can be allowed" ["name" "scope"];
    GET    "/audit_logs"                              audit::vendor_list, AuditLogs "audit" "Lists changes in the vendor's shape, newest first" ["since" "before" "direction" "actor.email" "id"];
    GET    "/logs/audit"                              logs::list, AuditLogs "audit" "Lists changes in the vendor's newer shape, newest first" ["cursor" "limit" "since" "before" "direction" "id" "audit_log_id" "account_name" "action_result" "action_type" "actor_context" "actor_email" "actor_id" "actor_token_id" "actor_token_name" "actor_type" "raw_method" "raw_status_code" "raw_uri" "resource_id" "resource_type" "resource_product"];

    GET    "/vestibule/users"                         users::list, Organization "user" "Lists local accounts";
    POST   "/vestibule/users"                         users::create, Organization "user" "Makes a local account" users::Create;
    GET    "/vestibule/users/{id}"                    users::show, Organization "user" "Shows a local account";
    PUT    "/vestibule/users/{id}"                    users::update, Organization "user" "Changes a local account: name, password, groups" users::Update;
    DELETE "/vestibule/users/{id}"                    users::remove, Organization "user" "Deletes a local account";
    GET    "/vestibule/identity_providers"            providers::list, Organization "identity_provider" "Lists OpenID Connect providers";
    POST   "/vestibule/identity_providers"            providers::create, Organization "identity_provider" "Adds an OpenID Connect provider" providers::Body;
    GET    "/vestibule/identity_providers/{id}"       providers::show, Organization "identity_provider" "Shows an OpenID Connect provider, without its secret";
    PUT    "/vestibule/identity_providers/{id}"       providers::update, Organization "identity_provider" "Replaces an OpenID Connect provider" providers::Body;
    DELETE "/vestibule/identity_providers/{id}"       providers::remove, Organization "identity_provider" "Deletes an OpenID Connect provider";
    GET    "/vestibule/settings"                      settings::show, ZeroTrust "settings" "Shows what happens when no rule matches";
    PUT    "/vestibule/settings"                      settings::update, ZeroTrust "settings" "Changes what happens when no rule matches" settings::Update;
    GET    "/vestibule/audit"                         audit::list, AuditLogs "audit" "Lists swaps, registrations and changes, oldest first" ["since" "kind" "actor" "resource_type" "resource_id" "device_id" "from" "until" "direction"];
    GET    "/vestibule/status"                        status::show, ZeroTrust "status" "Shows devices, generations and the engine's counters";
};

impl Operation {
    /// What a caller must be allowed.
    pub(super) fn permission(&self) -> Permission {
        Permission { area: self.area, write: self.changes() }
    }

    /// Whether it changes something.
    pub(super) fn changes(&self) -> bool {
        self.method != "GET"
    }

    /// The call that shows what this one changes.
    pub(super) fn shows(&self) -> Option<&'static Self> {
        let path = match self.method {
            "GET" => return None,
            // `.../{id}/rotate` is about `.../{id}`.
            "POST" => self.path.rsplit_once('/')?.0,
            _ => self.path,
        };
        let shows = |path: &str| OPERATIONS.iter().find(|other| other.method == "GET" && other.path == path);
        if self.method == "POST" && shows(self.path).is_some() {
            // What is made was not there before.
            return None;
        }
        shows(path)
            .or_else(|| path.rsplit_once('/').filter(|_| self.method != "POST").and_then(|(thing, _)| shows(thing)))
    }

    /// Whether it gives a list: a collection's GET.
    pub(super) fn lists(&self) -> bool {
        self.method == "GET"
            && !self.path.ends_with('}')
            && !self.path.ends_with("/devices/policy")
            && !self.path.ends_with("/settings")
            && !self.path.ends_with("/organizations")
            && !self.path.ends_with("/status")
            && !self.path.ends_with("/verify")
    }

    fn filter(&self) -> MethodFilter {
        match self.method {
            "GET" => MethodFilter::GET,
            "PUT" => MethodFilter::PUT,
            "PATCH" => MethodFilter::PATCH,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::POST,
        }
    }
}

/// The routes below `/client/v4`.
pub(super) fn router() -> Router<Arc<App>> {
    OPERATIONS.iter().fold(Router::new(), |router, operation| {
        let handler = move |State(app): State<Arc<App>>, request: Request| guard::pass(operation, app, request);
        let router = router.route(operation.path, on(operation.filter(), handler));
        // Where the vendor's guides ask whether a token works.
        if operation.path.ends_with("/tokens/verify") {
            return router.route("/user/tokens/verify", on(operation.filter(), handler));
        }
        router
    })
}

/// Calls of the vendor's that one may look for, and that are not there.
#[cfg(test)]
pub(in crate::gateway) const ABSENT: &[&str] = &[
    "/zones/{zone_id}/access/service_tokens",
    "/teamnet/devices/ips",
    "/devices/networks",
    "/logs/audit/product_categories",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_call_has_its_row() {
        let mut paths: Vec<(&str, String)> = Vec::new();
        for operation in OPERATIONS {
            let below = operation.path.trim_start_matches("/accounts/{account_id}");
            match paths.iter_mut().find(|(path, _)| *path == below) {
                Some((_, methods)) => methods.push_str(&format!(" {}", operation.method)),
                None => paths.push((below, operation.method.to_owned())),
            }
        }
        let calls: Vec<String> = paths.into_iter().map(|(path, methods)| format!("{methods} {path}")).collect();
        let all = calls.iter().map(String::as_str).chain(ABSENT.iter().copied());
        crate::compatibility::assert_complete("API paths", all);
    }

    #[test]
    fn no_call_stands_twice_and_what_is_changed_can_be_seen() {
        let calls: BTreeSet<_> = OPERATIONS.iter().map(|operation| (operation.method, operation.path)).collect();
        assert_eq!(calls.len(), OPERATIONS.len());
        for operation in OPERATIONS.iter().filter(|operation| operation.method == "PUT" || operation.method == "PATCH")
        {
            assert!(operation.shows().is_some(), "{} is changed and never shown", operation.path);
        }
    }
}
