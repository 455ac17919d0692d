//! A snapshot file that is not here: known by its front, and checked as its bytes pass by.

use super::header::{ENTRY_SIZE, Entry, HEADER_SIZE, Header, MAX_SECTIONS, table_end};
use super::id::SnapshotId;
use crate::error::OpenError;

/// What the first bytes of a snapshot file say, before the rest is there.
#[derive(Clone, Debug)]
pub struct Front {
    /// The snapshot's id.
    pub id: SnapshotId,
    /// Length of the whole file.
    pub file_length: u64,
    entries: Vec<Entry>,
}

impl Front {
    /// Bytes that suffice, whatever the number of sections.
    pub const LONGEST: u64 = (HEADER_SIZE + MAX_SECTIONS as usize * ENTRY_SIZE) as u64;

    /// Reads the first [`Front::LONGEST`] bytes, or all there are, of a file of `file_length` bytes.
    ///
    /// # Errors
    /// Bytes that are no front of a snapshot file of this length.
    pub fn of(front: &[u8], file_length: u64) -> Result<Self, OpenError> {
        let Header { id, file_length, entries } = Header::decode_front(front, file_length)?;
        Ok(Self { id, file_length, entries })
    }

    /// Checks the bytes behind this front.
    pub fn into_passing(self) -> Passing {
        let at = table_end(self.entries.len());
        Passing {
            entries: self.entries,
            file_length: self.file_length,
            next: 0,
            at: 0,
            front: at,
            hasher: blake3::Hasher::new(),
        }
    }
}

/// Holds the bytes of a snapshot file, as they pass by from the first to the last, against the digests of its front: what passes
/// whole has the content that its id names.
#[derive(Debug)]
pub struct Passing {
    entries: Vec<Entry>,
    file_length: u64,
    /// The section that is passing, or passes next.
    next: usize,
    /// Bytes that have passed.
    at: u64,
    /// Where header and table end, which were checked already.
    front: u64,
    hasher: blake3::Hasher,
}

impl Passing {
    /// The next bytes of the file, the first ones first.
    ///
    /// # Errors
    /// Bytes that do not belong there.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), OpenError> {
        let past = bytes.len().min(self.front.saturating_sub(self.at) as usize);
        self.at += past as u64;
        bytes = &bytes[past..];
        while !bytes.is_empty() {
            let entry = self.entries.get(self.next);
            let (begins, ends) = entry.map_or((self.file_length, self.file_length), |entry| {
                (entry.offset, entry.offset + entry.length)
            });
            if self.at < begins {
                let between = bytes.len().min((begins - self.at) as usize);
                if let Some(at) = bytes[..between].iter().position(|byte| *byte != 0) {
                    return Err(corrupt(
                        "padding",
                        self.at + at as u64,
                        "a byte between two sections is not zero",
                    ));
                }
                self.at += between as u64;
                bytes = &bytes[between..];
                continue;
            }
            if entry.is_none() {
                return Err(corrupt("header", self.at, "bytes behind the last section"));
            }
            let within = bytes.len().min((ends - self.at) as usize);
            self.hasher.update(&bytes[..within]);
            self.at += within as u64;
            bytes = &bytes[within..];
            self.close_sections()?;
        }
        Ok(())
    }

    /// Nothing comes any more.
    ///
    /// # Errors
    /// A file that ends too early.
    pub fn finish(mut self) -> Result<(), OpenError> {
        self.close_sections()?;
        match self.at == self.file_length {
            true => Ok(()),
            false => Err(corrupt("header", self.at, "the file ends before its last section does")),
        }
    }

    /// Holds every section that has passed whole against its digest.
    fn close_sections(&mut self) -> Result<(), OpenError> {
        while let Some(entry) = self.entries.get(self.next)
            && self.at == entry.offset + entry.length
        {
            if self.hasher.finalize() != blake3::Hash::from_bytes(entry.digest) {
                let name = entry.section().map_or("(unknown)", super::header::Section::name);
                return Err(corrupt(name, entry.offset, "its bytes do not match its digest"));
            }
            self.hasher.reset();
            self.next += 1;
        }
        Ok(())
    }
}

fn corrupt(section: &'static str, offset: u64, detail: &str) -> OpenError {
    OpenError::Corrupt { section, offset, detail: detail.to_owned() }
}
