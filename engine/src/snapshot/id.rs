//! The name of a snapshot: what is in it.

use std::fmt;
use std::str::FromStr;

/// BLAKE3 over the digests of a snapshot's sections, all but the provenance: equal content, equal id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(pub(crate) [u8; 32]);

impl SnapshotId {
    /// The id's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        let mut hex = self.to_string();
        hex.truncate(12);
        hex
    }
}

impl fmt::Display for SnapshotId {
    /// 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).to_hex().fmt(f)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotId({self})")
    }
}

/// A text is not a snapshot id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a snapshot id, which is 64 hexadecimal digits")]
pub struct NotAnId(String);

impl FromStr for SnapshotId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| NotAnId(text.chars().take(80).collect()))?;
        Ok(Self(*hash.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::SnapshotId;

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = SnapshotId(std::array::from_fn(|i| i as u8));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "000102030405");
    }

    #[test]
    fn a_text_that_is_no_id_is_refused() {
        for text in ["", "abc", &"g".repeat(64), &"0".repeat(63), &"0".repeat(65), "体温"] {
            assert!(text.parse::<SnapshotId>().is_err(), "{text:?}");
        }
    }
}
