-- Device profiles. `settings` is JSON; a setting that it does not name has its default.
CREATE TABLE device_profiles (
    id TEXT PRIMARY KEY,
    is_default INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    description TEXT NOT NULL DEFAULT '',
    match TEXT NOT NULL DEFAULT '',
    precedence INTEGER NOT NULL UNIQUE,
    enabled INTEGER NOT NULL DEFAULT 1,
    settings TEXT NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX device_profiles_default ON device_profiles (is_default) WHERE is_default = 1;
-- Always there, always last: no other may have its precedence.
INSERT INTO device_profiles (id, is_default, name, precedence, created_at, updated_at)
    SELECT lower(hex(randomblob(16))), 1, 'Default', 9223372036854775807, unixepoch() * 1000, unixepoch() * 1000;

-- What holds for all devices: JSON, as above.
ALTER TABLE organisation ADD COLUMN device_settings TEXT NOT NULL DEFAULT '{}';

-- `input` and `match` are the vendor's JSON; the times are as the administrator wrote them.
CREATE TABLE posture_rules (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    description TEXT NOT NULL,
    type TEXT NOT NULL,
    input TEXT NOT NULL,
    match TEXT NOT NULL,
    schedule TEXT NOT NULL,
    expiration TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- What each device last said of its system: JSON.
CREATE TABLE posture_reports (
    device_id TEXT PRIMARY KEY REFERENCES devices (id),
    report TEXT NOT NULL,
    reported_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 5;
