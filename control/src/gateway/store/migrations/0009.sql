-- Registrations made with a service token end with it.
ALTER TABLE organisation ADD COLUMN revoke_with_token INTEGER NOT NULL DEFAULT 0;
-- The administrator's emergency switch, for devices that ask for it.
ALTER TABLE organisation ADD COLUMN emergency_disconnect INTEGER NOT NULL DEFAULT 0;

PRAGMA user_version = 9;
