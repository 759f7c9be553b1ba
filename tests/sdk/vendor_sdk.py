"""Drives a gateway with the vendor's published SDK, as an administrator's script would.

    vendor_sdk.py STAGE URL ACCOUNT TOKEN_FILE CERTIFICATE AUTHORITY STATE

STAGE is `configure` (everything before a device exists) or `devices` (one is connected). AUTHORITY is a CA's certificate. STATE is a file in which the
stages leave ids for each other and for the test; every failed expectation ends with a traceback.
"""

import json
import ssl
import sys
from datetime import datetime, timedelta, timezone

import cloudflare
import httpx
from cloudflare import Cloudflare

stage, url, account, token_file, certificate, authority, state_file = sys.argv[1:]


def connect(token):
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    client = httpx.Client(verify=context, timeout=30)
    return Cloudflare(api_token=token, base_url=f"{url}/client/v4", http_client=client, max_retries=0)


def same(got, expected, what):
    if got != expected:
        raise SystemExit(f"{what}: expected {expected!r}, got {got!r}")


def refused(kind, part, call):
    try:
        call()
    except kind as error:
        if part not in str(error.body):
            raise SystemExit(f"expected a refusal that names {part!r}, got {error.body}")
        return
    raise SystemExit(f"expected {kind.__name__} naming {part!r}, got an answer")


with open(token_file) as file:
    client = connect(file.read().strip())
access, gateway, devices = client.zero_trust.access, client.zero_trust.gateway, client.zero_trust.devices
team = "mycompany.cloudflareaccess.com"
before_login = f'identity.email in {{"non_identity@{team}"}}'


def service_tokens(state):
    tokens = access.service_tokens
    made = tokens.create(account_id=account, name="CI/CD token", duration="8760h")
    same((len(made.client_id), made.client_id[32:]), (39, ".access"), "client_id")
    same((made.duration, int(made.client_secret_version), made.name), ("8760h", 1, "CI/CD token"), "the new token")
    other = tokens.create(account_id=account, name="to be deleted")
    listed = list(tokens.list(account_id=account, per_page=1))
    same({token.id for token in listed}, {made.id, other.id}, "all pages of service tokens")
    same([token.id for token in tokens.list(account_id=account, search="ci/cd")], [made.id], "the search")
    shown = tokens.get(made.id, account_id=account)
    same(shown.client_id, made.client_id, "client_id")
    if "client_secret" in (shown.model_extra or {}):
        raise SystemExit("a secret is shown twice")
    renamed = tokens.update(made.id, account_id=account, name="CI token", enabled=True)
    same(renamed.name, "CI token", "the name")
    until = (datetime.now(timezone.utc) + timedelta(hours=1)).isoformat()
    rotated = tokens.rotate(made.id, account_id=account, previous_client_secret_expires_at=until)
    if rotated.client_secret == made.client_secret or int(rotated.client_secret_version) != 2:
        raise SystemExit("a rotation gave no new secret")
    tokens.refresh(made.id, account_id=account)
    tokens.delete(other.id, account_id=account)
    refused(cloudflare.NotFoundError, "service token", lambda: tokens.get(other.id, account_id=account))
    refused(cloudflare.BadRequestError, "`duration`",
            lambda: tokens.create(account_id=account, name="x", duration="a year"))
    state.update(token_id=made.id, client_id=made.client_id, first_secret=made.client_secret,
                 client_secret=rotated.client_secret)


def enrolment(state):
    [app] = [app for app in access.applications.list(account_id=account) if app.type == "warp"]
    same(app.domain, f"{team}/warp", "the application's domain")
    same(access.applications.get(app.id, account_id=account).id, app.id, "the application")
    renamed = access.applications.update(app.id, account_id=account, type="warp", domain=app.domain, name="Enrolment")
    same(renamed.name, "Enrolment", "the application's name")
    refused(cloudflare.APIStatusError, app.id,
            lambda: access.applications.create(account_id=account, type="warp", domain=app.domain, name="another"))
    policies = access.applications.policies
    include = [{"service_token": {"token_id": state["token_id"]}}]
    policy = policies.create(app.id, account_id=account, name="devices", decision="non_identity", include=include)
    same(policy.decision, "non_identity", "the decision")
    policies.update(policy.id, app_id=app.id, account_id=account, name="machines", decision="non_identity",
                    include=include)
    same(policies.get(policy.id, app_id=app.id, account_id=account).name, "machines", "the policy's name")
    staff = policies.create(app.id, account_id=account, name="staff", decision="allow",
                            include=[{"email_domain": {"domain": "mycompany.example"}}])
    same({one.id for one in policies.list(app.id, account_id=account, per_page=1)}, {policy.id, staff.id}, "policies")
    policies.delete(staff.id, app_id=app.id, account_id=account)
    refused(cloudflare.ConflictError, "machines",
            lambda: access.service_tokens.delete(state["token_id"], account_id=account))


def shared_rules(state):
    policy = access.policies.create(account_id=account, name="contractors", decision="allow",
                                    include=[{"email": {"email": "carol@contractor.example"}}])
    access.policies.update(policy.id, account_id=account, name="contractors", decision="deny",
                           include=[{"email": {"email": "carol@contractor.example"}}])
    same(access.policies.get(policy.id, account_id=account).decision, "deny", "the reusable policy")
    same([one.id for one in access.policies.list(account_id=account)], [policy.id], "reusable policies")
    access.policies.delete(policy.id, account_id=account)
    group = access.groups.create(account_id=account, name="staff", include=[{"email_domain": {"domain": "a.example"}}])
    access.groups.update(group.id, account_id=account, name="all staff",
                         include=[{"email_domain": {"domain": "a.example"}}])
    same(access.groups.get(group.id, account_id=account).name, "all staff", "the group")
    same([one.id for one in access.groups.list(account_id=account)], [group.id], "groups")
    access.groups.delete(group.id, account_id=account)
    providers = client.zero_trust.identity_providers
    config = {"client_id": "vestibule", "client_secret": "an idp's secret of its own", "scopes": ["openid", "email"],
              "auth_url": "https://idp.a.example/auth", "token_url": "https://idp.a.example/token",
              "certs_url": "https://idp.a.example/jwks"}
    provider = providers.create(account_id=account, name="Corporate", type="oidc", config=config)
    same(providers.get(provider.id, account_id=account).name, "Corporate", "the provider")
    same([one.id for one in providers.list(account_id=account)], [provider.id], "providers")
    renamed = providers.update(provider.id, account_id=account, name="Corporate directory", type="oidc", config=config)
    same((renamed.id, renamed.name), (provider.id, "Corporate directory"), "the provider after an update")
    providers.delete(provider.id, account_id=account)
    same(list(providers.list(account_id=account)), [], "providers")


def organization(state):
    organizations = client.zero_trust.organizations
    inactivity = {"enabled": True, "inactivity_threshold_days": 90, "action": "disable"}
    changed = organizations.update(account_id=account, auth_domain=team, service_token_inactivity=inactivity)
    same(changed.service_token_inactivity.inactivity_threshold_days, 90, "the days after which a token is disabled")
    shown = organizations.list(account_id=account)
    same((shown.auth_domain, shown.service_token_inactivity.enabled), (team, True), "the organisation")
    refused(cloudflare.BadRequestError, "auth_domain",
            lambda: organizations.update(account_id=account, auth_domain="another.cloudflareaccess.com"))


def certificates(state):
    own = access.certificates
    with open(certificate) as file:
        refused(cloudflare.BadRequestError, "`certificate`",
                lambda: own.create(account_id=account, name="no authority", certificate=file.read()))
    with open(authority) as file:
        made = own.create(account_id=account, name="Devices", certificate=file.read(), associated_hostnames=[team])
    same((made.name, made.associated_hostnames), ("Devices", [team]), "the authority")
    same([one.id for one in own.list(account_id=account)], [made.id], "authorities")
    refused(cloudflare.ConflictError, "associated_hostnames", lambda: own.delete(made.id, account_id=account))
    changed = own.update(made.id, account_id=account, name="Laptops", associated_hostnames=[])
    same((changed.id, changed.name), (made.id, "Laptops"), "the authority after an update")
    shown = own.get(made.id, account_id=account)
    if shown.expires_on <= datetime.now(timezone.utc) or not shown.fingerprint.startswith("SHA256 Fingerprint="):
        raise SystemExit(f"the authority by its id: {shown}")
    own.delete(made.id, account_id=account)
    same(list(own.list(account_id=account)), [], "authorities left")


def network_policies(state):
    made = gateway.lists.create(account_id=account, name="Active Directory servers", type="IP",
                                items=[{"value": "100.96.0.1"}])
    gateway.lists.update(made.id, account_id=account, name="Directory servers", items=[{"value": "100.96.0.1"}])
    gateway.lists.edit(made.id, account_id=account, append=[{"value": "100.96.200.0/24"}], remove=[])
    items = {item.value for item in gateway.lists.items.list(made.id, account_id=account)}
    same(items, {"100.96.0.1", "100.96.200.0/24"}, "the list's items")
    same([one.name for one in gateway.lists.list(account_id=account)], ["Directory servers"], "lists")
    same(gateway.lists.get(made.id, account_id=account).id, made.id, "the list")
    rule = gateway.rules.create(account_id=account, name="directory before login", action="allow", filters=["l4"],
                                enabled=True, traffic=f"net.dst.ip in ${made.id}", identity=before_login)
    same((rule.action, rule.filters, rule.version), ("allow", ["l4"], 1), "the rule")
    updated = gateway.rules.update(rule.id, account_id=account, name=rule.name, action="allow", filters=["l4"],
                                   enabled=True, traffic=rule.traffic, identity=rule.identity, description="step 4")
    same((updated.version, updated.description), (2, "step 4"), "the rule after an update")
    same(gateway.rules.get(rule.id, account_id=account).identity, before_login, "the rule's identity")
    if rule.id not in {one.id for one in gateway.rules.list(account_id=account)}:
        raise SystemExit("the rule is not listed")
    refused(cloudflare.ConflictError, "directory before login",
            lambda: gateway.lists.delete(made.id, account_id=account))
    refused(cloudflare.BadRequestError, "column",
            lambda: gateway.rules.create(account_id=account, name="x", action="allow", traffic="net.dst.port == x"))
    spare = gateway.lists.create(account_id=account, name="Spare", type="IP", items=[{"value": "192.0.2.7"}])
    gateway.lists.delete(spare.id, account_id=account)
    refused(cloudflare.NotFoundError, "list", lambda: gateway.lists.get(spare.id, account_id=account))
    spare = gateway.rules.create(account_id=account, name="spare", action="block", traffic="net.dst.port == 23")
    gateway.rules.delete(spare.id, account_id=account)
    state["rule_id"] = rule.id


def api_tokens(state):
    tokens = client.accounts.tokens
    groups = {group.name: group.id for group in tokens.permission_groups.list(account_id=account)}
    policy = {"effect": "allow", "permission_groups": [{"id": groups["Access: Service Tokens Write"]}],
              "resources": {f"com.cloudflare.api.account.{account}": "*"}}
    made = tokens.create(account_id=account, name="Terraform", policies=[policy])
    scoped = connect(made.value)
    same(scoped.accounts.tokens.verify(account_id=account).status, "active", "the API token")
    same(scoped.user.tokens.verify().id, made.id, "the API token, asked without its account")
    own = scoped.zero_trust.access.service_tokens.create(account_id=account, name="by Terraform")
    scoped.zero_trust.access.service_tokens.delete(own.id, account_id=account)
    refused(cloudflare.PermissionDeniedError, "Zero Trust Read",
            lambda: scoped.zero_trust.gateway.rules.list(account_id=account))
    if made.id not in {one.id for one in tokens.list(account_id=account, per_page=1)}:
        raise SystemExit("the API token is not listed")
    renamed = tokens.update(made.id, account_id=account, name="Terraform in CI", policies=[policy])
    same((renamed.id, renamed.name), (made.id, "Terraform in CI"), "the API token after an update")
    same(tokens.get(made.id, account_id=account).name, "Terraform in CI", "the API token by its id")
    rolled = tokens.value.update(made.id, account_id=account)
    refused(cloudflare.AuthenticationError, "Authentication error",
            lambda: scoped.accounts.tokens.verify(account_id=account))
    same(connect(rolled).accounts.tokens.verify(account_id=account).id, made.id, "the rolled API token")
    tokens.delete(made.id, account_id=account)
    refused(cloudflare.AuthenticationError, "Authentication error",
            lambda: connect(rolled).accounts.tokens.verify(account_id=account))


def profiles(state):
    profiles = devices.policies
    made = profiles.custom.create(account_id=account, name="Before login", precedence=10,
                                  match=f'identity.email == "non_identity@{team}"')
    changed = profiles.custom.edit(made.policy_id, account_id=account, switch_locked=True)
    same(changed.switch_locked, True, "the profile after an edit")
    same([one.policy_id for one in profiles.custom.list(account_id=account)], [made.policy_id], "profiles")
    same(profiles.custom.get(made.policy_id, account_id=account).name, "Before login", "the profile")
    same(profiles.default.get(account_id=account).default, True, "the Default profile")
    same(profiles.default.edit(account_id=account, auto_connect=600).auto_connect, 600, "the Default profile's setting")
    domains = [{"suffix": "corp.example", "dns_server": ["100.96.0.1"]}]
    for parts, where in [(profiles.custom, {"policy_id": made.policy_id}), (profiles.default, {})]:
        parts.includes.update(account_id=account, body=[{"address": "10.0.0.0/8"}], **where)
        got = parts.includes.get(account_id=account, **where)
        same([one.address for one in got], ["10.0.0.0/8"], "what is included")
        parts.excludes.update(account_id=account, body=[{"address": "192.0.2.0/24", "description": "office"}], **where)
        got = parts.excludes.get(account_id=account, **where)
        same([one.address for one in got], ["192.0.2.0/24"], "what is excluded")
        parts.fallback_domains.update(account_id=account, domains=domains, **where)
        got = parts.fallback_domains.get(account_id=account, **where)
        same([one.suffix for one in got], ["corp.example"], "the fallback domains")
    spare = profiles.custom.create(account_id=account, name="Spare", precedence=20, match='os.name == "windows"')
    profiles.custom.delete(spare.policy_id, account_id=account)
    same([one.policy_id for one in profiles.custom.list(account_id=account)], [made.policy_id], "profiles")
    devices.settings.update(account_id=account, disable_for_time=30)
    same(devices.settings.get(account_id=account).disable_for_time, 30, "the setting of all devices")
    devices.settings.edit(account_id=account, disable_for_time=60)
    same(devices.settings.get(account_id=account).disable_for_time, 60, "the setting of all devices")
    state["profile_id"] = made.policy_id


def posture(state):
    body = {"match": [{"platform": "linux"}], "schedule": "5m", "type": "os_version",
            "input": {"operating_system": "linux", "operator": ">=", "version": "3.0.0"}}
    rule = devices.posture.create(account_id=account, name="Any Linux", **body)
    devices.posture.update(rule.id, account_id=account, name="Any Linux of these years", **body)
    same([one.id for one in devices.posture.list(account_id=account)], [rule.id], "posture rules")
    same(devices.posture.get(rule.id, account_id=account).name, "Any Linux of these years", "the posture rule")
    devices.posture.delete(rule.id, account_id=account)
    same(list(devices.posture.list(account_id=account)), [], "posture rules")


def look_at_devices(state):
    [device] = list(devices.devices.list(account_id=account, per_page=1))
    same((device.active_registrations, device.last_seen_user.email), (1, f"non_identity@{team}"), "the device")
    same(devices.devices.get(device.id, account_id=account).name, device.name, "the device by its id")
    none = devices.devices.list(account_id=account, last_seen_user={"email": "nobody@mycompany.example"})
    same(list(none), [], "devices of nobody")
    [registration] = list(devices.registrations.list(account_id=account, per_page=1, device={"id": device.id}))
    same((registration.device.id, registration.tunnel_type), (device.id, "wireguard"), "the registration")
    shown = devices.registrations.get(registration.id, account_id=account)
    same(shown.user.email, f"non_identity@{team}", "the registration's user")
    devices.registrations.revoke(account_id=account, id=[registration.id])
    same([one.id for one in devices.registrations.list(account_id=account)], [], "registrations in force")
    same([one.id for one in devices.registrations.list(account_id=account, status="revoked")], [registration.id],
         "revoked registrations")
    devices.registrations.unrevoke(account_id=account, id=[registration.id])
    same([one.id for one in devices.registrations.list(account_id=account)], [registration.id], "those in force again")
    devices.registrations.bulk_delete(account_id=account, id=[registration.id])
    same([one.id for one in devices.registrations.list(account_id=account)], [], "registrations left")
    same([one.id for one in devices.registrations.list(account_id=account, status="revoked")], [], "revoked ones left")
    state["device_id"] = device.id


def end_devices(state):
    [registration] = list(devices.registrations.list(account_id=account))
    same(registration.device.id, state["device_id"], "the device that enrolled anew")
    devices.devices.revoke(state["device_id"], account_id=account)
    same([one.id for one in devices.registrations.list(account_id=account, status="revoked")], [registration.id],
         "what was revoked with its device")
    devices.devices.delete(state["device_id"], account_id=account)
    same([one.id for one in devices.registrations.list(account_id=account)], [], "registrations left")
    same([one.id for one in devices.registrations.list(account_id=account, status="revoked")], [], "revoked ones left")
    same(list(devices.devices.list(account_id=account)), [], "devices with a registration in force")
    [left] = list(devices.devices.list(account_id=account, active_registrations="exclude"))
    same(left.id, state["device_id"], "the device without a registration")
    entries = list(client.audit_logs.list(account_id=account, per_page=10))
    kinds = {(entry.action.type, entry.resource.type) for entry in entries}
    today = datetime.now(timezone.utc).date()
    span = {"account_id": account, "since": today - timedelta(days=1), "before": today + timedelta(days=2)}
    newer = list(client.accounts.logs.audit.list(**span, limit=10))
    same(len({entry.id for entry in newer}), len(newer), "entries of the newer audit log, each once")
    for wanted in [("create", "service_token"), ("delete", "registration")]:
        if wanted not in {(entry.action.type, entry.resource.type) for entry in newer}:
            raise SystemExit(f"the newer audit log has no {wanted}")
    tokens = list(client.accounts.logs.audit.list(**span, extra_query={"resource_type": "service_token"}))
    same({entry.resource.type for entry in tokens}, {"service_token"}, "the entries about service tokens")
    for wanted in [("create", "service_token"), ("create", "gateway_rule"), ("delete", "registration")]:
        if wanted not in kinds:
            raise SystemExit(f"the audit log has no {wanted}: {kinds}")


STAGES = {
    "configure": [service_tokens, enrolment, shared_rules, organization, certificates, network_policies, api_tokens, profiles, posture],
    "devices": [look_at_devices],
    "end": [end_devices],
}

try:
    with open(state_file) as file:
        state = json.load(file)
except FileNotFoundError:
    state = {}
for step in STAGES[stage]:
    step(state)
    print(f"{stage}: {step.__name__}", flush=True)
with open(state_file, "w") as file:
    json.dump(state, file)
