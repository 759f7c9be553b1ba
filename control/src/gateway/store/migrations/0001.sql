-- Times are Unix milliseconds; ids are text; keys and hashes are blobs.

CREATE TABLE organisation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL,
    account_id TEXT NOT NULL,
    default_allow_non_identity INTEGER NOT NULL DEFAULT 0,
    default_allow_user INTEGER NOT NULL DEFAULT 1,
    policy_version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE service_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    client_id TEXT NOT NULL UNIQUE,
    secret_hash BLOB NOT NULL,
    secret_version INTEGER NOT NULL DEFAULT 1,
    previous_hash BLOB,
    previous_expires_at INTEGER,
    duration TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT;

CREATE TABLE apps (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- `include`, `require` and `exclude` are the vendor's JSON.
CREATE TABLE app_policies (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    decision TEXT NOT NULL,
    precedence INTEGER NOT NULL,
    include TEXT NOT NULL,
    require TEXT NOT NULL,
    exclude TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE identity_providers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    issuer TEXT NOT NULL,
    client_id TEXT NOT NULL,
    client_secret TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE gateway_rules (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    action TEXT NOT NULL,
    precedence INTEGER NOT NULL,
    traffic TEXT NOT NULL,
    identity TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- `items` is a JSON array of addresses and prefixes.
CREATE TABLE gateway_lists (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    items TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- A device owns its inner address for ever; `peer` names it to the engine.
CREATE TABLE devices (
    peer INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    public_key BLOB NOT NULL,
    address INTEGER NOT NULL UNIQUE,
    name TEXT NOT NULL,
    os TEXT NOT NULL,
    os_version TEXT NOT NULL,
    client_version TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT;

-- A deleted registration stays as a tombstone, so that its device is told "deleted" and not "unknown".
CREATE TABLE registrations (
    id TEXT PRIMARY KEY,
    device_id TEXT NOT NULL REFERENCES devices (id),
    email TEXT NOT NULL COLLATE NOCASE,
    token_id TEXT,
    tunnel_type TEXT NOT NULL DEFAULT 'wireguard',
    tunnel_key BLOB NOT NULL,
    bearer_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    revoked_at INTEGER,
    deleted_at INTEGER
) STRICT;
CREATE INDEX registrations_of_device ON registrations (device_id);

-- The highest order to swap of each device: a lower one never commits, also not after a restart.
CREATE TABLE swap_orders (
    device_id TEXT PRIMARY KEY REFERENCES devices (id),
    swap_seq INTEGER NOT NULL,
    registration_id TEXT NOT NULL REFERENCES registrations (id),
    tunnel_key BLOB NOT NULL UNIQUE,
    ordered_at INTEGER NOT NULL,
    committed_at INTEGER
) STRICT;

-- The greatest TAI64N seen from each initiator's static key.
CREATE TABLE handshakes (
    tunnel_key BLOB PRIMARY KEY,
    timestamp BLOB NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    device_id TEXT,
    swap_seq INTEGER,
    registration_id TEXT,
    email TEXT,
    detail TEXT
) STRICT;
-- A swap is one swap, however often a restart makes the engine report it.
CREATE UNIQUE INDEX audit_swaps ON audit (device_id, swap_seq) WHERE kind = 'swap';

PRAGMA user_version = 1;
