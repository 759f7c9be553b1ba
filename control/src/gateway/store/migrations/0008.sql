-- What the tunnel of an order travels over: `wireguard` or `masque`. For the latter `tunnel_key` is the SHA-256 of the
-- client's public key.
ALTER TABLE swap_orders ADD COLUMN protocol TEXT NOT NULL DEFAULT 'wireguard' CHECK (protocol IN ('wireguard', 'masque'));

PRAGMA user_version = 8;
