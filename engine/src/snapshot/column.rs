//! Values of a draft on their way into a section, in memory or in a file without a name.

use std::io;
use std::path::Path;

use super::bytes::{Bytes, array};
use super::map::Spool;
use crate::originals::{Originals, Precision};

/// A section's content in the type in which it was built, so that sealing copies nothing.
#[derive(Debug)]
pub(super) enum Payload {
    Bytes(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    /// Whatever it is, in a mapped file.
    Mapped(Bytes),
}

impl Payload {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::U16(numbers) => bytemuck::must_cast_slice(numbers),
            Self::F32(numbers) => bytemuck::must_cast_slice(numbers),
            Self::U32(numbers) => bytemuck::must_cast_slice(numbers),
            Self::U64(numbers) => bytemuck::must_cast_slice(numbers),
            Self::Mapped(bytes) => bytes,
        }
    }
}

/// Values of a draft, one behind the other, in memory or in a file without a name.
#[derive(Debug)]
pub(super) enum Column<T> {
    Memory(Vec<T>),
    File(Spool),
}

/// A [`Column`] that grows no more.
pub(super) enum Finished<T> {
    Memory(Vec<T>),
    Mapped(Bytes),
}

impl<T: bytemuck::Pod> Column<T> {
    /// An empty column, in a file of `directory` if there is one.
    pub(super) fn create(directory: Option<&Path>) -> io::Result<Self> {
        directory.map_or(Ok(Self::Memory(Vec::new())), |directory| Spool::create(directory).map(Self::File))
    }

    pub(super) fn push(&mut self, values: &[T]) -> io::Result<()> {
        match self {
            Self::Memory(all) => {
                all.extend_from_slice(values);
                Ok(())
            }
            Self::File(spool) => spool.push(bytemuck::cast_slice(values)),
        }
    }

    pub(super) fn finish(self) -> io::Result<Finished<T>> {
        Ok(match self {
            Self::Memory(all) => Finished::Memory(all),
            Self::File(spool) => Finished::Mapped(spool.finish()?),
        })
    }
}

impl<T: bytemuck::Pod> Finished<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::Memory(all) => all,
            Self::Mapped(bytes) => array(bytes).unwrap_or_default(),
        }
    }
}

impl Finished<u8> {
    pub(super) fn into_payload(self) -> Payload {
        match self {
            Self::Memory(all) => Payload::Bytes(all),
            Self::Mapped(bytes) => Payload::Mapped(bytes),
        }
    }
}

/// The vectors of a draft, in the precision in which the snapshot will keep them.
#[derive(Debug)]
pub(super) enum VectorColumn {
    F32(Column<f32>),
    /// The bits of each number.
    F16(Column<u16>),
}

/// A [`VectorColumn`] that grows no more.
pub(super) enum FinishedVectors {
    F32(Finished<f32>),
    F16(Finished<u16>),
}

impl VectorColumn {
    pub(super) fn create(directory: Option<&Path>, precision: Precision) -> io::Result<Self> {
        Ok(match precision {
            Precision::F32 => Self::F32(Column::create(directory)?),
            Precision::F16 => Self::F16(Column::create(directory)?),
        })
    }

    pub(super) fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::F16(_) => Precision::F16,
        }
    }

    pub(super) fn push(&mut self, vector: &[f32]) -> io::Result<()> {
        match self {
            Self::F32(column) => column.push(vector),
            Self::F16(column) => {
                let bits: Vec<u16> = vector.iter().map(|&x| half::f16::from_f32(x).to_bits()).collect();
                column.push(&bits)
            }
        }
    }

    pub(super) fn finish(self) -> io::Result<FinishedVectors> {
        Ok(match self {
            Self::F32(column) => FinishedVectors::F32(column.finish()?),
            Self::F16(column) => FinishedVectors::F16(column.finish()?),
        })
    }
}

impl FinishedVectors {
    pub(super) fn as_originals(&self) -> Originals<'_> {
        match self {
            Self::F32(all) => Originals::F32(all.as_slice()),
            Self::F16(all) => Originals::F16(all.as_slice()),
        }
    }

    pub(super) fn into_payload(self) -> Payload {
        match self {
            Self::F32(Finished::Memory(all)) => Payload::F32(all),
            Self::F16(Finished::Memory(all)) => Payload::U16(all),
            Self::F32(Finished::Mapped(bytes)) | Self::F16(Finished::Mapped(bytes)) => Payload::Mapped(bytes),
        }
    }
}
