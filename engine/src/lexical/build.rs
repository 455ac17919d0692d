//! From rows to the lexical section.

use std::collections::HashMap;
use std::io;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::tokens::tokens;
use super::{FIELDS, LexicalHeader, LexicalSettings, WHOLE};
use crate::row::Row;

/// How often a token occurs in the fields of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Occurrence {
    token: u64,
    row: u32,
    counts: [u8; FIELDS],
}

/// Parts in which occurrences are sorted, so that only one of them is in memory at a time.
const PARTS: u64 = 16;

/// The occurrences of row `number`, and how many tokens each field has.
pub(crate) fn occurrences(number: u32, row: &Row) -> (Vec<Occurrence>, [u32; FIELDS]) {
    let mut counts: HashMap<u64, [u8; FIELDS]> = HashMap::new();
    let mut lengths = [0; FIELDS];
    let texts = [&row.title, &row.content, &row.tags.join("\n"), &row.keywords.join("\n")];
    for (field, text) in texts.into_iter().enumerate() {
        for token in tokens(text) {
            let count = &mut counts.entry(token).or_default()[field];
            *count = count.saturating_add(1);
            lengths[field] += 1;
        }
    }
    let mut found: Vec<Occurrence> =
        counts.into_iter().map(|(token, counts)| Occurrence { token, row: number, counts }).collect();
    found.sort_unstable_by_key(|occurrence| occurrence.token);
    (found, lengths)
}

/// Where the parts of the section go while it is built.
pub(crate) trait Sink {
    /// Row of a posting, and its share.
    fn posting(&mut self, row: u32, share: u16) -> io::Result<()>;
}

/// Gives every posting to `sink`, in the order of the section, and returns what stands before them: header, hashes, ends.
/// `None` if there are more than the format counts.
pub(crate) fn front(
    all: &[Occurrence],
    lengths: &[[u32; FIELDS]],
    settings: &LexicalSettings,
    sink: &mut dyn Sink,
) -> io::Result<Option<Vec<u8>>> {
    let Ok(postings) = u32::try_from(all.len()) else { return Ok(None) };
    let mean_length = std::array::from_fn(|field| {
        let sum: u64 = lengths.iter().map(|lengths| u64::from(lengths[field])).sum();
        (sum as f64 / lengths.len().max(1) as f64) as f32
    });
    let (mut tokens, mut ends, mut end) = (Vec::new(), Vec::<u32>::new(), 0u32);
    for part in 0..PARTS {
        for list in sorted(all, part).chunk_by(|a, b| a.token == b.token) {
            for occurrence in list {
                let lengths = &lengths[occurrence.row as usize];
                sink.posting(occurrence.row, share(occurrence, lengths, &mean_length, settings))?;
            }
            end += list.len() as u32;
            tokens.push(list[0].token);
            ends.push(end);
        }
    }
    let header = LexicalHeader {
        tokens: tokens.len() as u32,
        rows: lengths.len() as u32,
        postings,
        k1: settings.k1,
        b: settings.b,
        weight: settings.weight,
        mean_length,
    };
    let parts =
        [bytemuck::bytes_of(&header), bytemuck::must_cast_slice(&tokens), bytemuck::must_cast_slice(&ends)];
    Ok(Some(parts.concat()))
}

/// The occurrences of a sixteenth of all tokens, by token and row.
fn sorted(all: &[Occurrence], part: u64) -> Vec<Occurrence> {
    let mut own: Vec<Occurrence> =
        all.iter().filter(|occurrence| occurrence.token >> 60 == part).copied().collect();
    own.par_sort_unstable_by_key(|occurrence| (occurrence.token, occurrence.row));
    own
}

/// BM25F's saturated count: x / (k1 + x), where x adds the fields' counts by weight and length.
fn share(
    occurrence: &Occurrence,
    lengths: &[u32; FIELDS],
    mean_length: &[f32; FIELDS],
    settings: &LexicalSettings,
) -> u16 {
    let mut sum = 0.0f32;
    for field in 0..FIELDS {
        let longer = lengths[field] as f32 / mean_length[field].max(1e-6);
        let norm = 1.0 - settings.b[field] + settings.b[field] * longer;
        if occurrence.counts[field] > 0 {
            sum += settings.weight[field] * f32::from(occurrence.counts[field]) / norm.max(1e-6);
        }
    }
    (sum / (settings.k1 + sum) * WHOLE).round() as u16
}
