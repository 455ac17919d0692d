//! The vectors that a snapshot keeps, in full precision or in half: what decides once the codes have narrowed a search.

use std::borrow::Cow;
use std::ops::Range;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use crate::snapshot::bytes::array;

/// In how many bits a snapshot keeps each number of a vector. A search is exact over what is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits (IEEE 754 binary32): vectors as they came.
    #[default]
    F32,
    /// 16 bits (IEEE 754 binary16): half the room; each number is rounded to 11 significant bits, ties to even, which
    /// changes the cosine of two unit vectors by less than 0.001.
    F16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 2] = [Self::F32, Self::F16];

    /// Name in settings and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }

    /// Bytes that a number takes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F16 => size_of::<u16>(),
        }
    }

    /// Version of the layout of the vectors section.
    pub(crate) const fn version(self) -> u32 {
        match self {
            Self::F32 => 1,
            Self::F16 => 2,
        }
    }

    pub(crate) fn of_version(version: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.version() == version)
    }

    /// `vector` as it will be read again from a snapshot that keeps it.
    pub fn rounded(self, vector: &[f32]) -> Cow<'_, [f32]> {
        match self {
            Self::F32 => Cow::Borrowed(vector),
            Self::F16 => Cow::Owned(vector.iter().map(|&x| half::f16::from_f32(x).to_f32()).collect()),
        }
    }
}

/// Vectors one behind the other, read in place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Originals<'a> {
    F32(&'a [f32]),
    /// The bits of each number.
    F16(&'a [u16]),
}

impl<'a> Originals<'a> {
    /// Takes a section; `None` where its length is no whole number of numbers.
    pub(crate) fn parse(section: &'a [u8], precision: Precision) -> Option<Self> {
        match precision {
            Precision::F32 => array(section).map(Self::F32),
            Precision::F16 => array(section).map(Self::F16),
        }
    }

    pub(crate) fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::F16(_) => Precision::F16,
        }
    }

    /// Where the numbers of vector `number` stand.
    pub(crate) fn place(number: usize, dimensions: usize) -> Range<usize> {
        number * dimensions..(number + 1) * dimensions
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F16(bits) => bits.len(),
        }
    }

    /// Some of the numbers, in `room` where they are not kept as f32; none past the end.
    pub(crate) fn numbers<'b>(&self, range: Range<usize>, room: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Self::F32(numbers) => numbers.get(range).unwrap_or_default(),
            Self::F16(bits) => {
                let bits = bits.get(range).unwrap_or_default();
                room.resize(bits.len(), 0.0);
                bits.reinterpret_cast::<half::f16>().convert_to_f32_slice(room);
                room
            }
        }
    }

    /// As [`Originals::numbers`], for who keeps them.
    pub(crate) fn owned(&self, range: Range<usize>) -> Cow<'a, [f32]> {
        match self {
            Self::F32(numbers) => Cow::Borrowed(numbers.get(range).unwrap_or_default()),
            Self::F16(_) => {
                let mut room = Vec::new();
                self.numbers(range, &mut room);
                Cow::Owned(room)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_rounding_twice_changes_nothing(
            vector in prop::collection::vec(-1.0f32..1.0, 1..70),
        ) {
            for precision in Precision::ALL {
                let rounded = precision.rounded(&vector);
                prop_assert_eq!(precision.rounded(&rounded), rounded.clone());
                let bits: Vec<u16> = vector.iter().map(|&x| half::f16::from_f32(x).to_bits()).collect();
                let originals = match precision {
                    Precision::F32 => Originals::F32(&vector),
                    Precision::F16 => Originals::F16(&bits),
                };
                prop_assert_eq!(originals.len(), vector.len());
                prop_assert_eq!(originals.precision(), precision);
                prop_assert_eq!(originals.owned(0..vector.len()), rounded);
                prop_assert!(originals.owned(1..vector.len() + 1).is_empty());
            }
        }
    }
}
