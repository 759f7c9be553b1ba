-- Who a registration is for, as the login said it: JSON of name, groups and attributes.
ALTER TABLE registrations ADD COLUMN person TEXT NOT NULL DEFAULT '{}';

-- What a device's posture was when it was last judged, by posture rule.
CREATE TABLE posture_results (
    device_id TEXT NOT NULL REFERENCES devices (id),
    rule_id TEXT NOT NULL,
    passed INTEGER NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    checked_at INTEGER NOT NULL,
    -- NULL: valid until the next result.
    expires_at INTEGER,
    PRIMARY KEY (device_id, rule_id)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;
