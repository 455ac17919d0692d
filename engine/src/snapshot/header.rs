//! The fixed header and the section table: encoding, decoding, and every check that needs nothing else.
//!
//! `engine/FORMAT.md` describes these bytes; a test compares its offset tables with the constants below.

use crate::error::OpenError;
use crate::originals::Precision;
use crate::snapshot::id::SnapshotId;

/// First bytes of a snapshot. Bytes that a text-mode copy would change (CR LF, ^Z, a high bit) tell such damage.
pub const MAGIC: [u8; 8] = [0x89, b'K', b'R', b'T', 0x0D, 0x0A, 0x1A, 0x0A];
/// The format that this build writes.
pub const FORMAT: u32 = 1;
/// The oldest format that this build reads.
pub const OLDEST_FORMAT: u32 = 1;

/// Offset of the magic bytes.
pub const MAGIC_AT: usize = 0;
/// Offset of the format number, u32.
pub const FORMAT_AT: usize = MAGIC_AT + MAGIC.len();
/// Offset of the number of sections, u32.
pub const SECTION_COUNT_AT: usize = FORMAT_AT + size_of::<u32>();
/// Offset of the file's length, u64.
pub const FILE_LENGTH_AT: usize = SECTION_COUNT_AT + size_of::<u32>();
/// Offset of the snapshot id, 32 bytes.
pub const ID_AT: usize = FILE_LENGTH_AT + size_of::<u64>();
/// Offset of the digest of header and table (taken with this field zero), 32 bytes.
pub const TABLE_DIGEST_AT: usize = ID_AT + 32;
/// Length of the header; the bytes after the last field are zero.
pub const HEADER_SIZE: usize = 128;
/// Length of one entry of the section table.
pub const ENTRY_SIZE: usize = 64;
/// Most sections that a snapshot may have.
pub const MAX_SECTIONS: u32 = 64;
/// Alignment of small sections.
pub const SMALL_ALIGNMENT: u32 = 64;
/// Alignment of bulk sections: a page.
pub const BULK_ALIGNMENT: u32 = 4096;

const _: () = assert!(TABLE_DIGEST_AT + 32 <= HEADER_SIZE);
const _: () = assert!(HEADER_SIZE.is_multiple_of(ENTRY_SIZE));

/// Entry flag: a reader that does not know the section's kind may skip it.
pub const FLAG_OPTIONAL: u32 = 1;

macro_rules! sections {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $alignment:ident;)*) => {
        /// Kinds of section, in the order in which they stand in the file: what a first answer needs comes first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Section { $($(#[$doc])* $variant = $number,)* }

        impl Section {
            /// Every kind, in file order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Place in the file relative to the other kinds.
            fn position(self) -> usize {
                Self::ALL.iter().position(|&section| section == self).unwrap_or(usize::MAX)
            }

            /// Name in errors and listings.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Alignment of its first byte in the file.
            pub const fn alignment(self) -> u32 {
                match self { $(Self::$variant => $alignment,)* }
            }

            fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

sections! {
    /// Identity, counts, facet dictionary (rkyv).
    Meta = 1, "meta", SMALL_ALIGNMENT;
    /// How the snapshot came to be (rkyv); not part of the id.
    Provenance = 2, "provenance", SMALL_ALIGNMENT;
    /// Medical terms and their synonyms (rkyv).
    Terms = 3, "terms", SMALL_ALIGNMENT;
    /// What clients are called (rkyv); snapshots of sources that do not list them have none.
    Clients = 15, "clients", SMALL_ALIGNMENT;
    /// Row numbers of each facet value.
    Facets = 4, "facets", SMALL_ALIGNMENT;
    /// The day of each row; snapshots of earlier builds have none.
    Days = 13, "days", SMALL_ALIGNMENT;
    /// Row and byte range of each passage.
    Passages = 5, "passages", SMALL_ALIGNMENT;
    /// Row numbers in the order of their ids.
    RowOrder = 6, "row order", SMALL_ALIGNMENT;
    /// Where each row ends in the rows section.
    RowEnds = 7, "row ends", SMALL_ALIGNMENT;
    /// The data-quality report of the run that built the snapshot (JSON text).
    Report = 8, "report", SMALL_ALIGNMENT;
    /// Neighbours of each passage (flat arrays); snapshots of few rows, and those of earlier builds, have none.
    Graph = 12, "graph", BULK_ALIGNMENT;
    /// Words of the rows (flat postings); snapshots of earlier builds have none.
    Lexical = 14, "lexical", BULK_ALIGNMENT;
    /// Vectors in eight bits a number; snapshots of earlier builds have none.
    Codes = 11, "codes", BULK_ALIGNMENT;
    /// Rows, one rkyv archive each.
    Rows = 9, "rows", BULK_ALIGNMENT;
    /// One unit vector a passage, f32 or, in layout 2, f16.
    Vectors = 10, "vectors", BULK_ALIGNMENT;
}

impl Section {
    /// Whether a snapshot may lack it, and a reader that does not know it may pass it over.
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, Self::Clients | Self::Graph | Self::Codes | Self::Days | Self::Lexical)
    }

    /// Whether this build reads that layout of the section.
    fn has_version(self, version: u32) -> bool {
        match self {
            Self::Vectors => Precision::of_version(version).is_some(),
            _ => version == 1,
        }
    }
}

/// One line of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Kind number; [`Section`] names those that this build knows.
    pub kind: u32,
    /// Version of the section's own layout.
    pub version: u32,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the section.
    pub length: u64,
    /// Alignment of `offset`.
    pub alignment: u32,
    /// [`FLAG_OPTIONAL`] or zero.
    pub flags: u32,
    /// BLAKE3 of the section's bytes.
    pub digest: [u8; 32],
}

/// A decoded and checked header with its table.
#[derive(Clone, Debug)]
pub struct Header {
    /// The snapshot's id.
    pub id: SnapshotId,
    /// Length of the whole file.
    pub file_length: u64,
    /// The section table, ascending by offset.
    pub entries: Vec<Entry>,
}

/// Rounds up to a multiple of `alignment`, or `None` past the end of the number line.
fn align_up(offset: u64, alignment: u32) -> Option<u64> {
    offset.checked_next_multiple_of(u64::from(alignment))
}

/// Where the sections may begin when there are `count` of them.
pub(super) fn table_end(count: usize) -> u64 {
    (HEADER_SIZE + count * ENTRY_SIZE) as u64
}

/// The id of a snapshot with this table: everything that says what a section holds, the provenance left out.
pub(crate) fn identify(entries: &[Entry]) -> SnapshotId {
    let mut hasher = blake3::Hasher::new_derive_key("karute snapshot id, format 1");
    for entry in entries.iter().filter(|entry| entry.kind != Section::Provenance as u32) {
        hasher.update(&entry.kind.to_le_bytes());
        hasher.update(&entry.version.to_le_bytes());
        hasher.update(&entry.length.to_le_bytes());
        hasher.update(&entry.digest);
    }
    SnapshotId(*hasher.finalize().as_bytes())
}

impl Header {
    /// Lays sections out in the given order. `None` when the file would be longer than a u64 can say.
    pub(crate) fn lay_out(sections: &[(Section, u64, [u8; 32])], precision: Precision) -> Option<Self> {
        let mut end = table_end(sections.len());
        let mut entries = Vec::with_capacity(sections.len());
        for &(section, length, digest) in sections {
            let alignment = section.alignment();
            let offset = align_up(end, alignment)?;
            end = offset.checked_add(length)?;
            entries.push(Entry {
                kind: section as u32,
                version: if section == Section::Vectors { precision.version() } else { 1 },
                offset,
                length,
                alignment,
                flags: if section.is_optional() { FLAG_OPTIONAL } else { 0 },
                digest,
            });
        }
        Some(Self { id: identify(&entries), file_length: end, entries })
    }

    /// Header and table as they stand at the front of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; HEADER_SIZE];
        bytes[MAGIC_AT..FORMAT_AT].copy_from_slice(&MAGIC);
        bytes[FORMAT_AT..SECTION_COUNT_AT].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[SECTION_COUNT_AT..FILE_LENGTH_AT].copy_from_slice(&(self.entries.len() as u32).to_le_bytes());
        bytes[FILE_LENGTH_AT..ID_AT].copy_from_slice(&self.file_length.to_le_bytes());
        bytes[ID_AT..TABLE_DIGEST_AT].copy_from_slice(self.id.as_bytes());
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.kind.to_le_bytes());
            bytes.extend_from_slice(&entry.version.to_le_bytes());
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
            bytes.extend_from_slice(&entry.length.to_le_bytes());
            bytes.extend_from_slice(&entry.alignment.to_le_bytes());
            bytes.extend_from_slice(&entry.flags.to_le_bytes());
            bytes.extend_from_slice(&entry.digest);
        }
        let digest = blake3::hash(&bytes);
        bytes[TABLE_DIGEST_AT..TABLE_DIGEST_AT + 32].copy_from_slice(digest.as_bytes());
        bytes
    }

    /// Decodes and checks the front of a file whose bytes are all of `file`.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, OpenError> {
        Self::decode_front(file, file.len() as u64)
    }

    /// Decodes and checks the front of a file of `length` bytes of which `file` are the first.
    pub(super) fn decode_front(file: &[u8], length: u64) -> Result<Self, OpenError> {
        let fixed = Fields(file.get(..HEADER_SIZE).ok_or_else(|| not_a_snapshot(file))?);
        if fixed.0[..MAGIC.len()] != MAGIC {
            return Err(not_a_snapshot(file));
        }
        let found = fixed.u32(FORMAT_AT);
        if !(OLDEST_FORMAT..=FORMAT).contains(&found) {
            return Err(OpenError::Version { found, oldest: OLDEST_FORMAT, newest: FORMAT });
        }
        let count = fixed.u32(SECTION_COUNT_AT);
        if count > MAX_SECTIONS {
            return Err(corrupt_header(
                SECTION_COUNT_AT,
                format!("{count} sections, at most {MAX_SECTIONS}"),
            ));
        }
        let file_length = fixed.u64(FILE_LENGTH_AT);
        if file_length != length {
            let detail = format!("the header says {file_length} bytes, the file has {length}");
            return Err(corrupt_header(FILE_LENGTH_AT, detail));
        }
        let front = file
            .get(..HEADER_SIZE + count as usize * ENTRY_SIZE)
            .ok_or_else(|| corrupt_header(SECTION_COUNT_AT, format!("no room for {count} sections")))?;
        check_table_digest(front, &fixed)?;
        if let Some(at) = (TABLE_DIGEST_AT + 32..HEADER_SIZE).find(|&at| front[at] != 0) {
            return Err(corrupt_header(at, "a byte that no version uses is not zero".into()));
        }

        let entries: Vec<Entry> = front[HEADER_SIZE..].chunks_exact(ENTRY_SIZE).map(Entry::decode).collect();
        check_layout(&entries, file_length)?;
        let id = SnapshotId(fixed.digest(ID_AT));
        if id != identify(&entries) {
            return Err(corrupt_header(ID_AT, format!("it names {id}, its sections {}", identify(&entries))));
        }
        Ok(Self { id, file_length, entries })
    }

    /// The entry of `section`, which `decode` has made sure is there.
    pub(crate) fn entry(&self, section: Section) -> Result<&Entry, OpenError> {
        self.entries.iter().find(|entry| entry.kind == section as u32).ok_or_else(|| OpenError::Corrupt {
            section: "section table",
            offset: HEADER_SIZE as u64,
            detail: format!("there is no {} section", section.name()),
        })
    }

    /// The length of a section that may be missing.
    pub(crate) fn length_of(&self, section: Section) -> Option<u64> {
        self.entries.iter().find(|entry| entry.kind == section as u32).map(|entry| entry.length)
    }
}

impl Entry {
    fn decode(bytes: &[u8]) -> Self {
        let fields = Fields(bytes);
        Self {
            kind: fields.u32(0),
            version: fields.u32(4),
            offset: fields.u64(8),
            length: fields.u64(16),
            alignment: fields.u32(24),
            flags: fields.u32(28),
            digest: fields.digest(32),
        }
    }

    /// The section's kind, where this build knows it.
    pub fn section(&self) -> Option<Section> {
        Section::from_number(self.kind)
    }
}

/// Little-endian fields of a slice that is known to be long enough for them.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|i| self.0[at + i])
    }
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }
    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
    fn digest(&self, at: usize) -> [u8; 32] {
        self.bytes(at)
    }
}

fn check_table_digest(front: &[u8], fixed: &Fields<'_>) -> Result<(), OpenError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&front[..TABLE_DIGEST_AT]);
    hasher.update(&[0u8; 32]);
    hasher.update(&front[TABLE_DIGEST_AT + 32..]);
    if hasher.finalize() == blake3::Hash::from_bytes(fixed.digest(TABLE_DIGEST_AT)) {
        return Ok(());
    }
    Err(corrupt_header(TABLE_DIGEST_AT, "header and section table do not match their digest".into()))
}

/// Layout leaves no freedom: each section begins at the first aligned byte after the one before it, and the last one
/// ends the file. So no two sections can overlap and none can reach outside.
fn check_layout(entries: &[Entry], file_length: u64) -> Result<(), OpenError> {
    let mut end = table_end(entries.len());
    let mut previous: Option<Section> = None;
    for (position, entry) in entries.iter().enumerate() {
        let fault = |detail: String| OpenError::Corrupt {
            section: "section table",
            offset: table_end(position),
            detail: format!("section of kind {}: {detail}", entry.kind),
        };
        if entry.flags & !FLAG_OPTIONAL != 0 {
            return Err(fault(format!("flags {:#x} are not known", entry.flags)));
        }
        match Section::from_number(entry.kind) {
            Some(section) => {
                if !section.has_version(entry.version) {
                    return Err(fault(format!("layout version {} is not known", entry.version)));
                }
                if entry.alignment != section.alignment() {
                    let expected = section.alignment();
                    return Err(fault(format!("alignment {}, expected {expected}", entry.alignment)));
                }
                if (entry.flags & FLAG_OPTIONAL != 0) != section.is_optional() {
                    return Err(fault(
                        "it is marked as one to skip, or not, where its kind says otherwise".into(),
                    ));
                }
                if previous.is_some_and(|previous| previous.position() >= section.position()) {
                    return Err(fault("out of order, or there twice".into()));
                }
                previous = Some(section);
            }
            None if entry.flags & FLAG_OPTIONAL != 0 => {}
            None => return Err(fault("unknown, and not marked as one to skip".into())),
        }
        if !entry.alignment.is_power_of_two() || entry.alignment > BULK_ALIGNMENT {
            return Err(fault(format!("alignment {} is not one of the format's", entry.alignment)));
        }
        if align_up(end, entry.alignment) != Some(entry.offset) {
            return Err(fault(format!("offset {} does not follow byte {end}", entry.offset)));
        }
        end = entry
            .offset
            .checked_add(entry.length)
            .filter(|&end| end <= file_length)
            .ok_or_else(|| fault(format!("{} bytes reach past the end of the file", entry.length)))?;
    }
    if end != file_length {
        return Err(corrupt_header(
            FILE_LENGTH_AT,
            format!("the sections end at byte {end} of {file_length}"),
        ));
    }
    Ok(())
}

fn corrupt_header(at: usize, detail: String) -> OpenError {
    OpenError::Corrupt { section: "header", offset: at as u64, detail }
}

fn not_a_snapshot(file: &[u8]) -> OpenError {
    let detail = match file.len() {
        length if length < HEADER_SIZE => format!("{length} bytes are fewer than a header has"),
        _ => format!("it begins with {:02x?}", &file[..MAGIC.len()]),
    };
    OpenError::NotASnapshot { detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        let sections: Vec<_> = Section::ALL.iter().map(|&s| (s, 100 + s as u64, [s as u8; 32])).collect();
        Header::lay_out(&sections, Precision::F32).expect("small numbers")
    }

    /// The front of a file followed by as many zero bytes as its sections need.
    fn file(header: &Header) -> Vec<u8> {
        let mut bytes = header.encode();
        bytes.resize(header.file_length as usize, 0);
        bytes
    }

    #[test]
    fn a_header_decodes_to_what_was_encoded() {
        let header = sample();
        let decoded = Header::decode(&file(&header)).expect("a sound header");
        assert_eq!(decoded.entries, header.entries);
        assert_eq!(decoded.id, header.id);
    }

    #[test]
    fn every_changed_byte_of_header_and_table_is_refused() {
        let sound = file(&sample());
        for at in 0..HEADER_SIZE + Section::ALL.len() * ENTRY_SIZE {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            assert!(Header::decode(&damaged).is_err(), "byte {at} was changed and nobody noticed");
        }
    }

    #[test]
    fn a_signed_table_with_a_wrong_meaning_is_refused() {
        let overlap: fn(&mut Header) = |header| header.entries[1].offset = header.entries[0].offset;
        let overflow: fn(&mut Header) = |header| header.entries[9].length = u64::MAX - 10;
        let swapped: fn(&mut Header) = |header| header.entries.swap(2, 3);
        let doubled: fn(&mut Header) = |header| header.entries[5].kind = Section::Facets as u32;
        let unknown: fn(&mut Header) = |header| header.entries[0].kind = 999;
        let newer: fn(&mut Header) = |header| header.entries[4].version = 2;
        let unaligned: fn(&mut Header) = |header| header.entries[4].alignment = 0;
        for (name, damage) in [
            ("overlap", overlap),
            ("overflow", overflow),
            ("swapped", swapped),
            ("doubled", doubled),
            ("unknown", unknown),
            ("newer", newer),
            ("unaligned", unaligned),
        ] {
            let mut header = sample();
            damage(&mut header);
            header.id = identify(&header.entries);
            let mut bytes = header.encode();
            bytes.resize(sample().file_length as usize, 0);
            assert!(matches!(Header::decode(&bytes), Err(OpenError::Corrupt { .. })), "{name}");
        }
    }

    #[test]
    fn a_section_of_a_later_build_that_may_be_skipped_is_skipped() {
        let mut header = sample();
        let last = header.entries[header.entries.len() - 1];
        let shift = ENTRY_SIZE as u64;
        for entry in &mut header.entries {
            entry.offset = 0;
        }
        header.entries.push(Entry { kind: 900, flags: FLAG_OPTIONAL, alignment: 64, ..last });
        let mut end = table_end(header.entries.len());
        for entry in &mut header.entries {
            entry.offset = align_up(end, entry.alignment).expect("small");
            end = entry.offset + entry.length;
        }
        assert!(end > shift);
        header.file_length = end;
        header.id = identify(&header.entries);
        assert!(Header::decode(&file(&header)).is_ok());
    }

    #[test]
    fn another_format_is_named_with_its_remedy() {
        let mut bytes = file(&sample());
        bytes[FORMAT_AT] = 7;
        let error = Header::decode(&bytes).expect_err("format 7");
        assert!(matches!(error, OpenError::Version { found: 7, .. }));
        assert!(error.to_string().contains("karute sync"), "{error}");
    }

    #[test]
    fn the_format_document_and_the_constants_agree() {
        let document = include_str!("../../FORMAT.md");
        let stated = |field: &str| {
            let line = document.lines().find(|line| line.contains(&format!("| `{field}` |")));
            line.and_then(|line| line.split('|').nth(1)?.trim().parse::<usize>().ok())
        };
        for (field, at) in [
            ("magic", MAGIC_AT),
            ("format", FORMAT_AT),
            ("section_count", SECTION_COUNT_AT),
            ("file_length", FILE_LENGTH_AT),
            ("id", ID_AT),
            ("table_digest", TABLE_DIGEST_AT),
            ("zero", TABLE_DIGEST_AT + 32),
        ] {
            assert_eq!(stated(field), Some(at), "{field}");
        }
        for &section in Section::ALL {
            let row = format!("| {} | {} | {} |", section as u32, section.name(), section.alignment());
            assert!(document.contains(&row), "FORMAT.md lacks {row}");
        }
    }
}
