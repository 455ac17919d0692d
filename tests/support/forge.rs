//! Snapshots taken apart and put together again with valid digests, so that a test can sign a lie. Written from
//! `engine/FORMAT.md` alone, without the engine's own code.

use std::ops::Range;

/// Where the section table begins.
pub const HEADER: usize = 128;
/// Length of a table entry.
pub const ENTRY: usize = 64;

/// A section: its table entry's fields and its bytes.
#[derive(Clone, Debug)]
pub struct Section {
    /// Kind number.
    pub kind: u32,
    /// Layout version.
    pub version: u32,
    /// Alignment of the offset.
    pub alignment: u32,
    /// Flags.
    pub flags: u32,
    /// Content.
    pub bytes: Vec<u8>,
}

/// A snapshot in parts.
#[derive(Clone, Debug)]
pub struct Forge {
    /// The sections in file order.
    pub sections: Vec<Section>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

impl Forge {
    /// Takes a sound snapshot apart.
    pub fn open(file: &[u8]) -> Self {
        let count = u32_at(file, 12) as usize;
        let section = |number: usize| {
            let entry = &file[HEADER + number * ENTRY..][..ENTRY];
            let (offset, length) = (u64_at(entry, 8) as usize, u64_at(entry, 16) as usize);
            Section {
                kind: u32_at(entry, 0),
                version: u32_at(entry, 4),
                alignment: u32_at(entry, 24),
                flags: u32_at(entry, 28),
                bytes: file[offset..offset + length].to_vec(),
            }
        };
        Self { sections: (0..count).map(section).collect() }
    }

    /// The section of `kind`.
    pub fn section(&mut self, kind: u32) -> &mut Section {
        let at = self.sections.iter().position(|section| section.kind == kind);
        &mut self.sections[at.unwrap_or_default()]
    }

    /// The bytes of the section of `kind`.
    pub fn bytes(&mut self, kind: u32) -> &mut Vec<u8> {
        &mut self.section(kind).bytes
    }

    /// Overwrites a u32 in the section of `kind`.
    pub fn put_u32(&mut self, kind: u32, at: usize, value: u32) {
        self.bytes(kind)[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Overwrites a u64 in the section of `kind`.
    pub fn put_u64(&mut self, kind: u32, at: usize, value: u64) {
        self.bytes(kind)[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Puts the sections together, everything signed.
    pub fn sign(&self) -> Vec<u8> {
        let mut file = vec![0u8; HEADER + self.sections.len() * ENTRY];
        let mut entries = Vec::new();
        let mut id = blake3::Hasher::new_derive_key("karute snapshot id, format 1");
        for section in &self.sections {
            file.resize(file.len().next_multiple_of(section.alignment.clamp(1, 4096) as usize), 0);
            let (offset, length) = (file.len() as u64, section.bytes.len() as u64);
            file.extend_from_slice(&section.bytes);
            let digest = *blake3::hash(&section.bytes).as_bytes();
            let mut entry = Vec::with_capacity(ENTRY);
            entry.extend_from_slice(&section.kind.to_le_bytes());
            entry.extend_from_slice(&section.version.to_le_bytes());
            entry.extend_from_slice(&offset.to_le_bytes());
            entry.extend_from_slice(&length.to_le_bytes());
            entry.extend_from_slice(&section.alignment.to_le_bytes());
            entry.extend_from_slice(&section.flags.to_le_bytes());
            entry.extend_from_slice(&digest);
            if section.kind != 2 {
                id.update(&section.kind.to_le_bytes());
                id.update(&section.version.to_le_bytes());
                id.update(&length.to_le_bytes());
                id.update(&digest);
            }
            entries.push(entry);
        }
        file[..8].copy_from_slice(b"\x89KRT\r\n\x1a\n");
        file[8..12].copy_from_slice(&1u32.to_le_bytes());
        file[12..16].copy_from_slice(&(self.sections.len() as u32).to_le_bytes());
        let length = file.len() as u64;
        file[16..24].copy_from_slice(&length.to_le_bytes());
        file[24..56].copy_from_slice(id.finalize().as_bytes());
        file[HEADER..HEADER + entries.len() * ENTRY].copy_from_slice(&entries.concat());
        sign_table(&mut file, self.sections.len());
        file
    }
}

/// Signs header and table of a file whose table was changed by hand.
pub fn sign_table(file: &mut [u8], sections: usize) {
    let table: Range<usize> = 0..HEADER + sections * ENTRY;
    file[56..88].fill(0);
    let digest = blake3::hash(&file[table]);
    file[56..88].copy_from_slice(digest.as_bytes());
}
