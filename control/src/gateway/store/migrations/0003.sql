-- Who changed what, and what it was.
ALTER TABLE audit ADD COLUMN actor_id TEXT;
ALTER TABLE audit ADD COLUMN actor_name TEXT;
ALTER TABLE audit ADD COLUMN resource_type TEXT;
ALTER TABLE audit ADD COLUMN resource_id TEXT;
ALTER TABLE audit ADD COLUMN before TEXT;
ALTER TABLE audit ADD COLUMN after TEXT;
ALTER TABLE audit ADD COLUMN status INTEGER;

-- API tokens. `policies` and `condition` are the vendor's JSON; the secret is kept as SHA-256.
CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL UNIQUE,
    policies TEXT NOT NULL,
    condition TEXT NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1,
    not_before INTEGER,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT;

-- Service tokens: how many there may be, and what becomes of those that nobody uses (JSON; NULL: nothing).
ALTER TABLE organisation ADD COLUMN service_token_limit INTEGER NOT NULL DEFAULT 50;
ALTER TABLE organisation ADD COLUMN service_token_inactivity TEXT;

PRAGMA user_version = 3;
