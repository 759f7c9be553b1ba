use std::fmt;
use std::str::FromStr;

/// Whose code seals and opens. The results are the same to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// `aws-lc-rs`: everywhere.
    Library,
    /// Our own code for x86-64 with AVX-512 F, BW, DQ, VL, IFMA and VBMI2 (Intel from Ice Lake, AMD from Zen 4).
    Avx512,
}

impl Backend {
    /// Every backend there is, available here or not.
    pub const ALL: [Self; 2] = [Self::Library, Self::Avx512];

    /// The fastest backend that works here.
    pub fn best() -> Self {
        if Self::Avx512.is_available() { Self::Avx512 } else { Self::Library }
    }

    /// Whether this backend is compiled in and this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Library => true,
            #[cfg(all(feature = "avx512", target_arch = "x86_64"))]
            Self::Avx512 => crate::avx512::is_available(),
            #[cfg(not(all(feature = "avx512", target_arch = "x86_64")))]
            Self::Avx512 => false,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Library => "library",
            Self::Avx512 => "avx512",
        })
    }
}

/// A configured name that is no backend's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown AEAD backend `{got}`: expected `library` or `avx512`")]
pub struct UnknownBackend {
    /// The name that was given.
    pub got: String,
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        match Self::ALL.into_iter().find(|backend| backend.to_string() == name) {
            Some(backend) => Ok(backend),
            None => Err(UnknownBackend { got: name.to_owned() }),
        }
    }
}
