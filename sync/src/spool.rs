//! Vectors on their way from a source to a snapshot: kept in a file without a name, so that memory holds none of them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file of vectors of one length.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    dimensions: usize,
    count: u64,
}

/// Where a vector lies in a [`Spool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u64);

impl Spool {
    /// An empty spool on the file system of `directory`.
    pub(crate) fn create(directory: &Path, dimensions: usize) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(directory)?, dimensions, count: 0 })
    }

    /// Adds a vector.
    pub(crate) fn push(&mut self, vector: &[f32]) -> io::Result<Slot> {
        if vector.len() != self.dimensions {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a vector of another length"));
        }
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.file.write_all(&bytes)?;
        self.count += 1;
        Ok(Slot(self.count - 1))
    }

    /// Reads a vector.
    pub(crate) fn read(&self, Slot(slot): Slot) -> io::Result<Vec<f32>> {
        let length = self.dimensions * size_of::<f32>();
        let mut bytes = vec![0u8; length];
        self.file.read_exact_at(&mut bytes, slot * length as u64)?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}
