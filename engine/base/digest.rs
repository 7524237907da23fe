//! Identifiers: the digest of content and the fingerprint of a recipe. They are never mixed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// A text that isn't the 64 lower-case hexadecimal digits of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not 64 lower-case hexadecimal digits")]
pub struct NotHex(pub String);

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps the 32 bytes of a BLAKE3 hash.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// All 64 hexadecimal digits.
            pub fn hex(&self) -> String {
                blake3::Hash::from_bytes(self.0).to_hex().to_string()
            }

            /// The first 12 hexadecimal digits, for people.
            pub fn short(&self) -> String {
                self.hex()[..12].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = NotHex;

            fn from_str(text: &str) -> Result<Self, NotHex> {
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(NotHex(text.to_owned()));
                }
                blake3::Hash::from_hex(text)
                    .map(|hash| Self(*hash.as_bytes()))
                    .map_err(|_| NotHex(text.to_owned()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

id_type! {
    /// The BLAKE3 digest of bytes: of a blob's bytes, or of a tree's encoding.
    Digest
}

id_type! {
    /// The name of a result: the BLAKE3 hash of the recipe that leads to it.
    Fingerprint
}

impl Digest {
    /// The digest of a blob's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_named_by_plain_blake3() {
        // The published BLAKE3 test vector of the empty input, so that `b3sum FILE` gives a blob's name.
        assert_eq!(
            Digest::of(b"").hex(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
    }

    #[test]
    fn only_canonical_hex_is_read() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.hex().parse(), Ok(digest));
        assert!(digest.hex().to_uppercase().parse::<Digest>().is_err());
        assert!("".parse::<Digest>().is_err());
        assert!(format!("{digest}0").parse::<Digest>().is_err());
    }
}
