//! Which rows a search may see.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use rkyv::{Archive, Deserialize, Serialize};

use crate::day::Day;
use crate::error::OpenError;
use crate::row::{ArchivedRow, Row};
use crate::snapshot::Snapshot;
use crate::snapshot::header::Section;

/// A property of rows that filters can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Facet {
    /// [`Row::domain`].
    Domain,
    /// [`Row::source_type`].
    SourceType,
    /// [`Row::client_id`].
    Client,
    /// Each of [`Row::tags`].
    Tag,
}

impl Facet {
    /// Every facet.
    pub(crate) const ALL: [Self; 4] = [Self::Domain, Self::SourceType, Self::Client, Self::Tag];

    /// The values that an archived row has of this facet; an empty text is no value.
    pub(crate) fn archived(self, row: &ArchivedRow) -> impl Iterator<Item = &str> {
        let one = match self {
            Self::Domain => Some(&row.domain),
            Self::SourceType => Some(&row.source_type),
            Self::Client => Some(&row.client_id),
            Self::Tag => None,
        };
        let tags = if self == Self::Tag { row.tags.as_slice() } else { &[] };
        one.into_iter().chain(tags).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The values that `row` has; an empty text is no value.
    fn values(row: &Row) -> impl Iterator<Item = (Facet, &str)> {
        [(Self::Domain, &row.domain), (Self::SourceType, &row.source_type), (Self::Client, &row.client_id)]
            .into_iter()
            .chain(row.tags.iter().map(|tag| (Self::Tag, tag)))
            .filter(|(_, value)| !value.is_empty())
            .map(|(facet, value)| (facet, value.as_str()))
    }
}

/// Rows that may be found. Without conditions every row may; with several, a row must meet all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    conditions: BTreeMap<Facet, Vec<String>>,
    days: Option<(Day, Day)>,
    ids: Option<Vec<String>>,
}

impl Filter {
    /// Every row.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Narrows to rows whose `facet` equals one of `values`, byte for byte. The empty text stands for rows that have no
    /// value of it. No values: no row.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, facet: Facet, values: impl IntoIterator<Item = S>) -> Self {
        let mut values: Vec<String> = values.into_iter().map(Into::into).collect();
        if let Some(earlier) = self.conditions.get(&facet) {
            values.retain(|value| earlier.contains(value));
        }
        self.conditions.insert(facet, values);
        self
    }

    /// Narrows to rows whose date lies from `first` to `last`, both included; rows without a day are none of them.
    #[must_use]
    pub fn days(mut self, first: Day, last: Day) -> Self {
        let (from, to) = self.days.unwrap_or((first, last));
        self.days = Some((from.max(first), to.min(last)));
        self
    }

    /// Narrows to the rows with one of these ids; an id that no row has is passed over.
    #[must_use]
    pub fn ids<S: Into<String>>(mut self, ids: impl IntoIterator<Item = S>) -> Self {
        let mut ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        if let Some(earlier) = self.ids {
            ids.retain(|id| earlier.contains(id));
        }
        self.ids = Some(ids);
        self
    }

    /// Compiles to one bit a row, or `None` where every row may be found.
    pub(crate) fn compile(&self, snapshot: &Snapshot) -> Result<Option<RowSet>, OpenError> {
        let mut allowed: Option<RowSet> = None;
        for (&facet, values) in &self.conditions {
            let mut matching = RowSet::empty(snapshot.meta().rows);
            for value in values {
                match value.as_str() {
                    "" => matching.union(&rows_without(snapshot, facet)?),
                    value => matching.insert_all(rows_of(snapshot, facet, value)?),
                }
            }
            narrow(&mut allowed, matching);
        }
        if let Some(days) = self.days {
            narrow(&mut allowed, rows_within(snapshot, days)?);
        }
        if let Some(ids) = &self.ids {
            let mut matching = RowSet::empty(snapshot.meta().rows);
            for id in ids {
                if let Some(row) = row_with_id(snapshot, id)? {
                    matching.insert(row);
                }
            }
            narrow(&mut allowed, matching);
        }
        Ok(allowed)
    }
}

/// Keeps what both let through.
fn narrow(allowed: &mut Option<RowSet>, matching: RowSet) {
    *allowed = Some(match allowed.take() {
        Some(earlier) => earlier.intersect(&matching),
        None => matching,
    });
}

fn rows_within(snapshot: &Snapshot, (first, last): (Day, Day)) -> Result<RowSet, OpenError> {
    let mut matching = RowSet::empty(snapshot.meta().rows);
    let range = first.number()..=last.number();
    match snapshot.days()? {
        Some(days) => {
            for (row, _) in (0u32..).zip(days).filter(|(_, day)| range.contains(day)) {
                matching.insert(row);
            }
        }
        // A snapshot of an earlier build: the rows themselves know.
        None => {
            for row in 0..snapshot.meta().rows {
                if range.contains(&Day::stored(&snapshot.archived_row(row)?.date)) {
                    matching.insert(row);
                }
            }
        }
    }
    Ok(matching)
}

/// The row with this id: found by halving the rows in the order of their ids.
pub(crate) fn row_with_id(snapshot: &Snapshot, id: &str) -> Result<Option<u32>, OpenError> {
    let order: &[u32] = snapshot.array(Section::RowOrder)?;
    let (mut low, mut high) = (0, order.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match snapshot.archived_row(order[middle])?.id.as_str().cmp(id) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Ok(Some(order[middle])),
        }
    }
    Ok(None)
}

/// Ascending row numbers that have this value of this facet.
pub(crate) fn rows_of<'a>(snapshot: &'a Snapshot, facet: Facet, value: &str) -> Result<&'a [u32], OpenError> {
    let dictionary = &snapshot.meta().facet_values;
    let Ok(at) =
        dictionary.binary_search_by(|known| (known.facet, known.value.as_str()).cmp(&(facet, value)))
    else {
        return Ok(&[]);
    };
    let FacetValue { start, length, .. } = dictionary[at];
    let rows: &[u32] = snapshot.array(Section::Facets)?;
    rows.get(start as usize..start as usize + length as usize).ok_or_else(|| {
        snapshot.corrupt(
            Section::Facets,
            0,
            format!("the rows of {facet:?} {value:?} lie outside the section"),
        )
    })
}

/// The rows that have no value of `facet`.
fn rows_without(snapshot: &Snapshot, facet: Facet) -> Result<RowSet, OpenError> {
    let rows = snapshot.meta().rows;
    let mut having = RowSet::empty(rows);
    for known in snapshot.meta().facet_values.iter().filter(|known| known.facet == facet) {
        having.insert_all(rows_of(snapshot, facet, &known.value)?);
    }
    let mut without = RowSet::empty(rows);
    (0..rows).filter(|row| !having.contains(*row)).for_each(|row| without.insert(row));
    Ok(without)
}

/// One bit a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowSet {
    words: Vec<u64>,
}

impl RowSet {
    fn empty(rows: u32) -> Self {
        Self { words: vec![0; (rows as usize).div_ceil(64)] }
    }

    /// Numbers past the end, which only a damaged file holds, are passed over: they name no row.
    fn insert(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut(row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// Inserts ascending rows, a word of bits at a time.
    fn insert_all(&mut self, rows: &[u32]) {
        let (mut at, mut bits) = (0, 0u64);
        for &row in rows {
            if row / 64 != at {
                if let Some(word) = self.words.get_mut(at as usize) {
                    *word |= bits;
                }
                (at, bits) = (row / 64, 0);
            }
            bits |= 1 << (row % 64);
        }
        if let Some(word) = self.words.get_mut(at as usize) {
            *word |= bits;
        }
    }

    fn union(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    fn intersect(mut self, other: &Self) -> Self {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
        self
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// At most `count` of the rows, spread evenly over all.
    pub(crate) fn sample(&self, count: usize) -> impl Iterator<Item = u32> {
        let words = self.words.len();
        let mut from = 0;
        (0..count).filter_map(move |number| {
            from = from.max(number * words / count.max(1));
            let at = from + self.words.get(from..)?.iter().position(|&word| word != 0)?;
            from = at + 1;
            Some(at as u32 * 64 + self.words[at].trailing_zeros())
        })
    }

    /// The rows, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        (0u32..).zip(&self.words).flat_map(|(number, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(number * 64 + bit)
            })
        })
    }

    pub(crate) fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

/// A line of the facet dictionary: where the rows of one value stand in the facets section.
#[derive(Clone, Debug, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub(crate) struct FacetValue {
    pub(crate) facet: Facet,
    pub(crate) value: String,
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// Collects facet values while rows are pushed.
#[derive(Debug, Default)]
pub(crate) struct FacetBuilder {
    rows: BTreeMap<(Facet, String), Vec<u32>>,
}

impl FacetBuilder {
    pub(crate) fn push(&mut self, number: u32, row: &Row) {
        for (facet, value) in Facet::values(row) {
            let rows = self.rows.entry((facet, value.to_owned())).or_default();
            if rows.last() != Some(&number) {
                rows.push(number);
            }
        }
    }

    /// The dictionary in order, and the section that it points into. `None` past the format's limit.
    pub(crate) fn finish(self) -> Option<(Vec<FacetValue>, Vec<u32>)> {
        let mut dictionary = Vec::with_capacity(self.rows.len());
        let mut section = Vec::new();
        for ((facet, value), rows) in self.rows {
            let (start, length) = (u32::try_from(section.len()).ok()?, u32::try_from(rows.len()).ok()?);
            dictionary.push(FacetValue { facet, value, start, length });
            section.extend(rows);
        }
        u32::try_from(section.len()).ok()?;
        Some((dictionary, section))
    }
}
