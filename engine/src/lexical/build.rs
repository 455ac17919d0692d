//! From rows to the lexical section.

use std::collections::HashMap;

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

/// The section of all occurrences; `None` if there are more than the format counts.
pub(crate) fn section(
    all: &[Occurrence],
    lengths: &[[u32; FIELDS]],
    settings: &LexicalSettings,
) -> Option<Vec<u8>> {
    let postings = u32::try_from(all.len()).ok()?;
    let mean_length = std::array::from_fn(|field| {
        let sum: u64 = lengths.iter().map(|lengths| u64::from(lengths[field])).sum();
        (sum as f64 / lengths.len().max(1) as f64) as f32
    });
    let count = |part: &[Occurrence]| part.chunk_by(|a, b| a.token == b.token).count();
    let tokens: usize = (0..PARTS).map(|part| count(&sorted(all, part))).sum();
    let header = LexicalHeader {
        tokens: u32::try_from(tokens).ok()?,
        rows: lengths.len() as u32,
        postings,
        k1: settings.k1,
        b: settings.b,
        weight: settings.weight,
        mean_length,
    };
    // Written where it belongs at once: beside the section itself only one part of the occurrences is in memory.
    let front = size_of::<LexicalHeader>();
    let mut bytes = vec![0; front + tokens * 12 + all.len() * 6];
    bytes[..front].copy_from_slice(bytemuck::bytes_of(&header));
    let (hashes, rest) = bytes[front..].split_at_mut(tokens * size_of::<u64>());
    let (ends, rest) = rest.split_at_mut(tokens * size_of::<u32>());
    let (rows, shares) = rest.split_at_mut(all.len() * size_of::<u32>());
    let (mut hashes, mut ends) = (hashes.as_chunks_mut().0.iter_mut(), ends.as_chunks_mut().0.iter_mut());
    let (mut rows, mut shares) = (rows.as_chunks_mut().0.iter_mut(), shares.as_chunks_mut().0.iter_mut());
    let mut end = 0u32;
    for part in 0..PARTS {
        for list in sorted(all, part).chunk_by(|a, b| a.token == b.token) {
            for (occurrence, (row, stored)) in list.iter().zip(rows.by_ref().zip(shares.by_ref())) {
                *row = occurrence.row.to_le_bytes();
                *stored = share(occurrence, &lengths[occurrence.row as usize], &mean_length, settings)
                    .to_le_bytes();
            }
            end += list.len() as u32;
            *hashes.next()? = list[0].token.to_le_bytes();
            *ends.next()? = end.to_le_bytes();
        }
    }
    Some(bytes)
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
