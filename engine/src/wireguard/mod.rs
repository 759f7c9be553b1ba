//! WireGuard on boringtun: one `Tunn` per generation, behind [`Session`].
