-- Who may enrol: policies that stand by themselves, groups of rules, and what the application says of logins.

-- A reusable policy is made apart from the application and takes part while it is attached.
ALTER TABLE app_policies ADD COLUMN reusable INTEGER NOT NULL DEFAULT 0;
ALTER TABLE app_policies ADD COLUMN attached INTEGER NOT NULL DEFAULT 1;
ALTER TABLE app_policies ADD COLUMN session_duration TEXT;

-- JSON: allowed_idps, auto_redirect_to_identity, app_launcher_visible, session_duration.
ALTER TABLE apps ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';

-- `include`, `require` and `exclude` are the vendor's JSON.
CREATE TABLE access_groups (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    include TEXT NOT NULL,
    require TEXT NOT NULL,
    exclude TEXT NOT NULL,
    is_default INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- JSON array of the groups of a local account.
ALTER TABLE users ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';

-- JSON: scopes, claims, names of claims, addresses given by hand.
ALTER TABLE identity_providers ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';

PRAGMA user_version = 4;
