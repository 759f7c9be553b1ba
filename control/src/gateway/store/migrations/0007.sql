-- Authorities whose client certificates count at enrolment.
CREATE TABLE access_certificates (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- DER.
    certificate BLOB NOT NULL,
    -- SHA-256 of its DER.
    fingerprint TEXT NOT NULL UNIQUE,
    -- JSON array.
    associated_hostnames TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

PRAGMA user_version = 7;
