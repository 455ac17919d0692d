//! Mapping a published file, and a file that nobody else can name. One of the few rooms that may hold `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use memmap2::Mmap;

use super::bytes::Bytes;

/// Maps `file` read-only.
///
/// The caller hands in a file that the store has sealed: written under a temporary name, synced, renamed into place,
/// mode 0400, and never opened for writing again. A file that someone truncates behind the store's back kills the
/// process with SIGBUS, as it would any program that maps files; no check here could prevent it.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::copied(&[]));
    }
    // SAFETY: the map is only sound while nobody changes the file. Store files are immutable by construction (see
    // above): the store never writes to a name that readers look at, and removing a file leaves its maps alive. A
    // spool has no name, and its one handle for writing is gone once it is mapped.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Bytes::Mapped(map))
}

/// Bytes on their way into a snapshot, kept in a file without a name rather than in memory.
#[derive(Debug)]
pub(crate) struct Spool {
    out: BufWriter<File>,
}

impl Spool {
    /// An empty spool on the file system of `directory`. The file has no name, so that its space is free again whatever
    /// becomes of this process.
    pub(crate) fn create(directory: &Path) -> io::Result<Self> {
        Ok(Self { out: BufWriter::with_capacity(1 << 20, tempfile::tempfile_in(directory)?) })
    }

    /// Adds bytes behind those that are there.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Where bytes are written behind those that are there.
    pub(crate) fn writer(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// All bytes, mapped.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        map(&self.out.into_inner().map_err(io::IntoInnerError::into_error)?)
    }
}
