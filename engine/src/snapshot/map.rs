//! Mapping a published file. One of the few rooms that may hold `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

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
    // above): the store never writes to a name that readers look at, and removing a file leaves its maps alive.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Bytes::Mapped(map))
}
