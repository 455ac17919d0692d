//! The bytes of an opened snapshot, wherever they live.

use std::ops::Deref;

use bytemuck::AnyBitPattern;
use memmap2::Mmap;
use rkyv::util::AlignedVec;

/// The bytes of a whole file: mapped from disk, or held in memory at the alignment that a map would have.
#[derive(Debug)]
pub enum Bytes {
    /// A read-only map.
    Mapped(Mmap),
    /// A copy in memory.
    Owned(AlignedVec<4096>),
}

impl Bytes {
    /// A copy of `bytes` at page alignment.
    pub fn copied(bytes: &[u8]) -> Self {
        let mut owned = AlignedVec::with_capacity(bytes.len());
        owned.extend_from_slice(bytes);
        Self::Owned(owned)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// `bytes` seen as an array of `T`, or `None` where their length or their alignment does not allow it.
pub(crate) fn array<T: AnyBitPattern>(bytes: &[u8]) -> Option<&[T]> {
    bytemuck::try_cast_slice(bytes).ok()
}
