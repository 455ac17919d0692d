//! The snapshot file: written once, mapped read-only, every offset checked before it is used.

pub mod build;
pub(crate) mod bytes;
mod column;
mod digest;
pub mod front;
pub mod header;
pub mod id;
pub(crate) mod map;
pub mod verify;

use rkyv::rancor;
use rkyv::{Archive, Deserialize, Serialize};

use crate::codes::{self, Codes};
use crate::error::OpenError;
use crate::filter::FacetValue;
use crate::graph::Graph;
use crate::identity::Identity;
use crate::lexical::Lexical;
use crate::originals::{Originals, Precision};
use crate::row::{ArchivedRow, ClientName, Provenance, Row, Term};
pub use bytes::Bytes;
use bytes::array;
use digest::check_digest;
use header::{Entry, Header, Section};
use id::SnapshotId;

/// Each row's archive begins at a multiple of this, as rkyv wants it.
pub(crate) const ROW_ALIGNMENT: u64 = 16;

/// What must be known before anything else can be read: the counts that give every other section its size.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) identity: Identity,
    pub(crate) builder: String,
    pub(crate) rows: u32,
    pub(crate) passages: u32,
    pub(crate) facet_values: Vec<FacetValue>,
}

/// A passage as the file describes it: row, first byte and byte after the last in that row's content.
pub(crate) type PassageEntry = [u32; 3];

/// An opened snapshot: header, table and small sections checked; everything else is checked where it is read.
#[derive(Debug)]
pub(crate) struct Snapshot {
    bytes: Bytes,
    header: Header,
    meta: Meta,
    provenance: Provenance,
    terms: Vec<Term>,
    clients: Vec<ClientName>,
}

impl Snapshot {
    /// Checks the front of the file. Costs the same whatever the number of rows.
    pub(crate) fn open(bytes: Bytes) -> Result<Self, OpenError> {
        let header = Header::decode(&bytes)?;
        let meta: Meta = small(&bytes, &header, Section::Meta)?;
        let provenance = small(&bytes, &header, Section::Provenance)?;
        let terms = small(&bytes, &header, Section::Terms)?;
        let clients = match header.length_of(Section::Clients) {
            Some(_) => small(&bytes, &header, Section::Clients)?,
            None => Vec::new(),
        };
        let snapshot = Self { bytes, header, meta, provenance, terms, clients };
        snapshot.check_sizes()?;
        Ok(snapshot)
    }

    /// Section lengths follow from the counts in the meta section, or the file contradicts itself.
    fn check_sizes(&self) -> Result<(), OpenError> {
        let dimensions = self.meta.identity.dimensions;
        if dimensions == 0 || dimensions > Identity::MAX_DIMENSIONS {
            return Err(self.corrupt(Section::Meta, 0, format!("{dimensions} dimensions")));
        }
        let (rows, passages) = (u64::from(self.meta.rows), u64::from(self.meta.passages));
        for (section, expected) in [
            (Section::RowOrder, rows * size_of::<u32>() as u64),
            (Section::RowEnds, rows * size_of::<u64>() as u64),
            (Section::Passages, passages * size_of::<PassageEntry>() as u64),
            (Section::Vectors, passages * u64::from(dimensions) * self.precision().bytes() as u64),
        ] {
            let found = self.header.entry(section)?.length;
            if found != expected {
                let detail = format!("{found} bytes, but the counts need {expected}");
                return Err(self.corrupt(section, 0, detail));
            }
        }
        if let Some(found) = self.header.length_of(Section::Codes) {
            let expected = codes::section_length(passages, dimensions);
            if found != expected {
                let detail = format!("{found} bytes, but the counts need {expected}");
                return Err(self.corrupt(Section::Codes, 0, detail));
            }
        }
        if let Some(days) = self.days()?
            && days.len() as u64 != rows
        {
            return Err(self.corrupt(Section::Days, 0, format!("{} days of {rows} rows", days.len())));
        }
        self.codes()?;
        self.graph()?;
        self.lexical()?;
        self.header.entry(Section::Rows)?;
        self.header.entry(Section::Report)?;
        let facets = self.header.entry(Section::Facets)?.length / size_of::<u32>() as u64;
        for value in &self.meta.facet_values {
            let end = u64::from(value.start) + u64::from(value.length);
            if end > facets {
                let detail = format!("a facet value ends at entry {end} of {facets}");
                return Err(self.corrupt(Section::Facets, 0, detail));
            }
        }
        Ok(())
    }

    pub(crate) fn id(&self) -> SnapshotId {
        self.header.id
    }

    pub(crate) fn file_length(&self) -> u64 {
        self.header.file_length
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.header.entries
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    pub(crate) fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    pub(crate) fn terms(&self) -> &[Term] {
        &self.terms
    }

    pub(crate) fn clients(&self) -> &[ClientName] {
        &self.clients
    }

    /// The table's line for a section.
    pub(crate) fn entry(&self, section: Section) -> Result<&Entry, OpenError> {
        self.header.entry(section)
    }

    /// The bytes of a section.
    pub(crate) fn section(&self, section: Section) -> Result<&[u8], OpenError> {
        self.bytes_of(self.header.entry(section)?)
    }

    /// The bytes of a line of the table, whether its kind is known or not.
    pub(crate) fn bytes_of(&self, entry: &Entry) -> Result<&[u8], OpenError> {
        slice(&self.bytes, entry).ok_or_else(|| OpenError::Corrupt {
            section: entry.section().map_or("(unknown)", Section::name),
            offset: entry.offset,
            detail: "it reaches past the end of the file".into(),
        })
    }

    /// The bytes between sections are zero, or somebody hides something there.
    pub(crate) fn check_padding(&self) -> Result<(), OpenError> {
        let mut end = header::table_end(self.entries().len());
        for entry in self.entries() {
            let between = self.bytes.get(end as usize..entry.offset as usize).unwrap_or_default();
            if let Some(at) = between.iter().position(|&byte| byte != 0) {
                return Err(OpenError::Corrupt {
                    section: "padding",
                    offset: end + at as u64,
                    detail: "a byte between two sections is not zero".into(),
                });
            }
            end = entry.offset + entry.length;
        }
        Ok(())
    }

    /// In how many bits the vectors are kept.
    pub(crate) fn precision(&self) -> Precision {
        // `Header::decode` has refused every version that has no precision.
        let entry = self.header.entry(Section::Vectors).ok();
        entry.and_then(|entry| Precision::of_version(entry.version)).unwrap_or_default()
    }

    /// The vectors of all passages.
    pub(crate) fn vectors(&self) -> Result<Originals<'_>, OpenError> {
        Originals::parse(self.section(Section::Vectors)?, self.precision()).ok_or_else(|| {
            self.corrupt(Section::Vectors, 0, "its length is no whole number of numbers".into())
        })
    }

    /// The codes of all passages, where the snapshot has them.
    pub(crate) fn codes(&self) -> Result<Option<Codes<'_>>, OpenError> {
        if self.header.length_of(Section::Codes).is_none() {
            return Ok(None);
        }
        let (passages, dimensions) = (self.meta.passages as usize, self.meta.identity.dimensions as usize);
        let codes = Codes::parse(self.section(Section::Codes)?, passages, dimensions);
        let detail = || "its header contradicts the counts, or its scale is no positive number".into();
        codes.map(Some).ok_or_else(|| self.corrupt(Section::Codes, 0, detail()))
    }

    /// The stored day of each row, where the snapshot has them.
    pub(crate) fn days(&self) -> Result<Option<&[u32]>, OpenError> {
        self.header.length_of(Section::Days).map(|_| self.array(Section::Days)).transpose()
    }

    /// The graph, where the snapshot has one.
    pub(crate) fn graph(&self) -> Result<Option<Graph<'_>>, OpenError> {
        if self.header.length_of(Section::Graph).is_none() {
            return Ok(None);
        }
        let graph = Graph::parse(self.section(Section::Graph)?, self.meta.passages);
        let detail = || "its header contradicts its length or the counts".into();
        graph.map(Some).ok_or_else(|| self.corrupt(Section::Graph, 0, detail()))
    }

    /// The words of the rows, where the snapshot has them.
    pub(crate) fn lexical(&self) -> Result<Option<Lexical<'_>>, OpenError> {
        if self.header.length_of(Section::Lexical).is_none() {
            return Ok(None);
        }
        let lexical = Lexical::parse(self.section(Section::Lexical)?, self.meta.rows);
        let detail = || "its header contradicts its length or the counts".into();
        lexical.map(Some).ok_or_else(|| self.corrupt(Section::Lexical, 0, detail()))
    }

    /// A section that is an array of numbers or of fixed structures.
    pub(crate) fn array<T: bytemuck::AnyBitPattern>(&self, section: Section) -> Result<&[T], OpenError> {
        array(self.section(section)?)
            .ok_or_else(|| self.corrupt(section, 0, "its length is no whole number of entries".into()))
    }

    /// The rkyv archive of row `number`, ready to be checked.
    fn row_bytes(&self, number: u32) -> Result<&[u8], OpenError> {
        let ends: &[u64] = self.array(Section::RowEnds)?;
        let rows = self.section(Section::Rows)?;
        let at = number as usize;
        let fault = |detail| self.corrupt(Section::RowEnds, u64::from(number) * 8, detail);
        let Some(&end) = ends.get(at) else {
            return Err(fault(format!("row {number} of {} was asked for", ends.len())));
        };
        let start = match at.checked_sub(1).and_then(|before| ends.get(before)) {
            Some(before) => before.checked_next_multiple_of(ROW_ALIGNMENT),
            None => Some(0),
        };
        start
            .and_then(|start| rows.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?))
            .ok_or_else(|| fault(format!("row {number} claims to end at byte {end} of {}", rows.len())))
    }

    /// Row `number` in place, checked.
    pub(crate) fn archived_row(&self, number: u32) -> Result<&ArchivedRow, OpenError> {
        rkyv::access::<ArchivedRow, rancor::Error>(self.row_bytes(number)?)
            .map_err(|error| self.unreadable(number, &error))
    }

    /// Row `number`, checked and read.
    pub(crate) fn row(&self, number: u32) -> Result<Row, OpenError> {
        rkyv::from_bytes::<Row, rancor::Error>(self.row_bytes(number)?)
            .map_err(|error| self.unreadable(number, &error))
    }

    fn unreadable(&self, number: u32, error: &rancor::Error) -> OpenError {
        self.corrupt(
            Section::Rows,
            0,
            format!("row {number} is unreadable ({error}): sync again to rebuild it"),
        )
    }

    /// The builder's quality report.
    pub(crate) fn report(&self) -> Result<&str, OpenError> {
        let bytes = self.section(Section::Report)?;
        check_digest(bytes, self.header.entry(Section::Report)?)?;
        std::str::from_utf8(bytes).map_err(|error| {
            self.corrupt(Section::Report, error.valid_up_to() as u64, "it is not UTF-8 text".into())
        })
    }

    /// An error about `section`, at `offset` bytes into it.
    pub(crate) fn corrupt(&self, section: Section, offset: u64, detail: String) -> OpenError {
        let start = self.header.entry(section).map_or(0, |entry| entry.offset);
        OpenError::Corrupt { section: section.name(), offset: start.saturating_add(offset), detail }
    }
}

/// The bytes that `entry` covers, or `None` past the end.
fn slice<'a>(file: &'a [u8], entry: &Entry) -> Option<&'a [u8]> {
    let start = usize::try_from(entry.offset).ok()?;
    let length = usize::try_from(entry.length).ok()?;
    file.get(start..start.checked_add(length)?)
}

/// Reads a small section whole: digest first, then the archive's own validation.
fn small<T>(file: &[u8], header: &Header, section: Section) -> Result<T, OpenError>
where
    T: Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, rancor::Error>>
        + Deserialize<T, rkyv::api::high::HighDeserializer<rancor::Error>>,
{
    let entry = header.entry(section)?;
    let corrupt =
        |detail: String| OpenError::Corrupt { section: section.name(), offset: entry.offset, detail };
    let bytes = slice(file, entry).ok_or_else(|| corrupt("it reaches past the end of the file".into()))?;
    check_digest(bytes, entry)?;
    rkyv::from_bytes::<T, rancor::Error>(bytes).map_err(|error| corrupt(format!("unreadable: {error}")))
}

#[cfg(test)]
mod tests {
    use super::ArchivedMeta;
    use crate::filter::ArchivedFacetValue;
    use crate::identity::ArchivedIdentity;
    use crate::row::{ArchivedClientName, ArchivedOrigin, ArchivedProvenance, ArchivedRow, ArchivedTerm};
    use std::mem::offset_of;

    /// The lines of FORMAT.md for the fields of a record.
    macro_rules! fields {
        ($name:literal, $record:ty, $($field:ident)*) => {
            [$(format!("| {} | {} | {} |", offset_of!($record, $field), $name, stringify!($field))),*]
        };
    }

    #[test]
    fn the_format_document_has_every_field_of_every_record_where_it_is() {
        let document = include_str!("../../FORMAT.md");
        let lines = [
            &fields!("Row", ArchivedRow, id domain source_type source_table source_id client_id title content structured_data
                metadata tags keywords date created_at updated_at origin)[..],
            &fields!("Origin", ArchivedOrigin, spreadsheet sheet row_number cell_digest),
            &fields!("Term", ArchivedTerm, id canonical synonyms category),
            &fields!("ClientName", ArchivedClientName, id name name_kana),
            &fields!("Provenance", ArchivedProvenance, source place source_version rows_read rows_quarantined parent builder
                built_at forced),
            &fields!("Meta", ArchivedMeta, identity builder rows passages facet_values),
            &fields!("Identity", ArchivedIdentity, provider model dimensions task normalisation text_prefix),
            &fields!("FacetValue", ArchivedFacetValue, facet value start length),
        ]
        .concat();
        let missing: Vec<&String> = lines.iter().filter(|line| !document.contains(*line)).collect();
        assert!(missing.is_empty(), "FORMAT.md lacks {missing:#?}");
        for (record, size) in [
            ("Row", size_of::<ArchivedRow>()),
            ("Term", size_of::<ArchivedTerm>()),
            ("ClientName", size_of::<ArchivedClientName>()),
            ("Provenance", size_of::<ArchivedProvenance>()),
            ("Meta", size_of::<ArchivedMeta>()),
            ("FacetValue", size_of::<ArchivedFacetValue>()),
        ] {
            assert!(document.contains(&format!("`{record}` has {size} bytes")), "{record} has {size}");
        }
    }
}
