//! Keyword search: an inverted index over the rows' words, read from the map.
//!
//! Ranking is BM25F (Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted fields", CIKM 2004): the
//! counts of a token in title, content, tags and keywords are weighed by field and length, added, and only then saturated.
//! Each posting holds that saturated share, so a query adds up numbers and nothing else. The parameters are recorded in
//! the section.

pub(crate) mod build;
pub(crate) mod search;
pub mod tokens;

use bytemuck::{Pod, Zeroable};

/// Fields that are searched: title, content, tags, keywords.
pub const FIELDS: usize = 4;
/// What a posting of the whole share, 1, is stored as.
pub(crate) const WHOLE: f32 = 65_535.0;

/// Most that k1 or a weight may be: beyond it a share would be no number.
const MOST: f32 = 1_000.0;

/// How words are weighed. Chosen by evaluation on halves of three sets (see `benches/README.md`).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LexicalSettings {
    /// How soon further occurrences stop counting: Okapi's k1, more than 0.
    pub k1: f32,
    /// How far the length of each field counts against it: Okapi's b, 0 to 1.
    pub b: [f32; self::FIELDS],
    /// What an occurrence in each field is worth, 0 or more.
    pub weight: [f32; self::FIELDS],
}

impl Default for LexicalSettings {
    fn default() -> Self {
        Self { k1: 0.9, b: [0.75; FIELDS], weight: [2.5, 1.0, 1.0, 1.0] }
    }
}

impl LexicalSettings {
    /// What is out of range, or `None`.
    pub fn fault(&self) -> Option<String> {
        let sound = self.k1 > 0.0
            && self.k1 <= MOST
            && self.b.iter().all(|b| (0.0..=1.0).contains(b))
            && self.weight.iter().all(|weight| (0.0..=MOST).contains(weight))
            && self.weight.iter().any(|weight| *weight > 0.0);
        (!sound).then(|| {
            format!("k1 must be more than 0, each b 0 to 1, each weight 0 or more and one of them more; at most {MOST}")
        })
    }
}

/// The front of the section.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct LexicalHeader {
    pub(crate) tokens: u32,
    pub(crate) rows: u32,
    pub(crate) postings: u32,
    pub(crate) k1: f32,
    pub(crate) b: [f32; FIELDS],
    pub(crate) weight: [f32; FIELDS],
    /// Mean tokens of each field.
    pub(crate) mean_length: [f32; FIELDS],
}

const _: () = assert!(size_of::<LexicalHeader>() == 64);

/// The section in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexical<'a> {
    pub(crate) header: LexicalHeader,
    /// Hashes of tokens, ascending.
    pub(crate) tokens: &'a [u64],
    /// Where the postings of each token end.
    pub(crate) ends: &'a [u32],
    /// Row of each posting.
    pub(crate) rows: &'a [u32],
    /// Saturated share of each posting, as 65535ths.
    pub(crate) shares: &'a [u16],
}

impl<'a> Lexical<'a> {
    /// Reads the section; `None` if its length contradicts its header or the number of rows.
    pub(crate) fn parse(bytes: &'a [u8], rows: u32) -> Option<Self> {
        let (front, rest) = bytes.split_at_checked(size_of::<LexicalHeader>())?;
        let header: LexicalHeader = bytemuck::try_pod_read_unaligned(front).ok()?;
        let (tokens, postings) = (header.tokens as usize, header.postings as usize);
        let (hashes, rest) = rest.split_at_checked(tokens.checked_mul(size_of::<u64>())?)?;
        let (ends, rest) = rest.split_at_checked(tokens.checked_mul(size_of::<u32>())?)?;
        let (found, shares) = rest.split_at_checked(postings.checked_mul(size_of::<u32>())?)?;
        let whole = shares.len() == postings * size_of::<u16>() && header.rows == rows;
        let sound = header.k1.is_finite() && header.k1 > 0.0;
        (whole && sound).then_some(())?;
        Some(Self {
            header,
            tokens: bytemuck::try_cast_slice(hashes).ok()?,
            ends: bytemuck::try_cast_slice(ends).ok()?,
            rows: bytemuck::try_cast_slice(found).ok()?,
            shares: bytemuck::try_cast_slice(shares).ok()?,
        })
    }

    /// What it was built with.
    pub(crate) fn settings(&self) -> LexicalSettings {
        let LexicalHeader { k1, b, weight, .. } = self.header;
        LexicalSettings { k1, b, weight }
    }

    /// The rows and shares of a token; empty for one that no row has, or whose place is damaged.
    pub(crate) fn postings(&self, token: u64) -> (&'a [u32], &'a [u16]) {
        let Ok(at) = self.tokens.binary_search(&token) else { return (&[], &[]) };
        let end = self.ends.get(at).map_or(0, |&end| end as usize);
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |&end| end as usize);
        match (self.rows.get(start..end), self.shares.get(start..end)) {
            (Some(rows), Some(shares)) => (rows, shares),
            _ => (&[], &[]),
        }
    }

    /// What is wrong with the section, if anything: tokens ascend, their postings fill the section in order, and each list
    /// of rows ascends within the snapshot.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if !self.tokens.is_sorted_by(|a, b| a < b) {
            return Some("its tokens are out of order");
        }
        if self.ends.last().copied().unwrap_or(0) != self.header.postings {
            return Some("its postings do not fill it");
        }
        let mut start = 0;
        for &end in self.ends {
            let list = self.rows.get(start as usize..end as usize).unwrap_or_default();
            let sound = !list.is_empty()
                && list.is_sorted_by(|a, b| a < b)
                && list.last().is_some_and(|&row| row < self.header.rows);
            if !sound {
                return Some("a list of postings is empty, out of order, or names a row that is not there");
            }
            start = end;
        }
        None
    }
}
