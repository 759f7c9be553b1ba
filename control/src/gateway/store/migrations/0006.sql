ALTER TABLE gateway_rules ADD COLUMN device_posture TEXT NOT NULL DEFAULT '';
-- The vendor's `rule_settings`, JSON.
ALTER TABLE gateway_rules ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
-- The policy version that a change made, so that a change is read without all else.
ALTER TABLE gateway_rules ADD COLUMN changed_in INTEGER NOT NULL DEFAULT 0;
CREATE INDEX gateway_rules_changed ON gateway_rules (changed_in);
CREATE INDEX gateway_rules_precedence ON gateway_rules (precedence);

ALTER TABLE gateway_lists ADD COLUMN type TEXT NOT NULL DEFAULT 'IP';
ALTER TABLE gateway_lists ADD COLUMN changed_in INTEGER NOT NULL DEFAULT 0;
CREATE INDEX gateway_lists_changed ON gateway_lists (changed_in);

-- Rules and lists that were deleted while the gateway runs.
CREATE TABLE gateway_removed (
    id TEXT PRIMARY KEY,
    changed_in INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX gateway_removed_changed ON gateway_removed (changed_in);

PRAGMA user_version = 6;
