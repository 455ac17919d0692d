//! Digests of sections: BLAKE3 (O'Connor et al., 2020), whose tree lets several threads hash one section, and lets a piece
//! be looked at while it is still in the nearest cache.

use std::ops::Range;

use blake3::Hash;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use super::header::{Entry, Section};
use crate::error::OpenError;

/// From here on several threads hash faster than one.
const PARALLEL_FROM: usize = 1 << 20;
/// Bytes that are hashed and looked at in one go; a power of two, at least one chunk of the hash.
const PIECE: usize = 1 << 17;

/// Holds the `bytes` of `entry` against the digest that the table states.
pub(crate) fn check_digest(bytes: &[u8], entry: &Entry) -> Result<(), OpenError> {
    let mut hasher = blake3::Hasher::new();
    if bytes.len() < PARALLEL_FROM {
        hasher.update(bytes)
    } else {
        hasher.update_rayon(bytes)
    };
    compare(hasher.finalize(), entry)
}

/// As [`check_digest`], and shows `look` the range of each piece once. The first fault that it finds counts only where
/// the digest is right: a fault in damaged bytes is damage.
pub(crate) fn check_digest_and(
    bytes: &[u8],
    entry: &Entry,
    look: &(impl Fn(Range<usize>) -> Result<(), OpenError> + Sync),
) -> Result<(), OpenError> {
    let (digest, looked) = match bytes.len() {
        0..=PIECE => (blake3::hash(bytes), look(0..bytes.len())),
        length => {
            let (left, right, looked) = halves(bytes, 0..length, look);
            (merge_subtrees_root(&left, &right, Mode::Hash), looked)
        }
    };
    compare(digest, entry).and(looked)
}

type Looked = Result<(), OpenError>;

fn halves(
    bytes: &[u8],
    range: Range<usize>,
    look: &(impl Fn(Range<usize>) -> Looked + Sync),
) -> (ChainingValue, ChainingValue, Looked) {
    let middle = range.start + left_subtree_len(range.len() as u64) as usize;
    let ((left, first), (right, second)) =
        rayon::join(|| subtree(bytes, range.start..middle, look), || subtree(bytes, middle..range.end, look));
    (left, right, first.and(second))
}

fn subtree(
    bytes: &[u8],
    range: Range<usize>,
    look: &(impl Fn(Range<usize>) -> Looked + Sync),
) -> (ChainingValue, Looked) {
    if range.len() > PIECE {
        let (left, right, looked) = halves(bytes, range, look);
        return (merge_subtrees_non_root(&left, &right, Mode::Hash), looked);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(range.start as u64).update(&bytes[range.clone()]);
    (hasher.finalize_non_root(), look(range))
}

fn compare(found: Hash, entry: &Entry) -> Result<(), OpenError> {
    let expected = Hash::from_bytes(entry.digest);
    if found == expected {
        return Ok(());
    }
    Err(OpenError::Corrupt {
        section: entry.section().map_or("(unknown)", Section::name),
        offset: entry.offset,
        detail: format!("its digest is {found}, the table says {expected}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn bytes_of_any_length_have_the_digest_of_plain_blake3_and_each_is_shown_once() {
        let lengths =
            [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 7, 9 * PIECE - 1, 16 * PIECE];
        for length in lengths {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
            let entry = Entry {
                kind: Section::Vectors as u32,
                version: 1,
                offset: 0,
                length: length as u64,
                alignment: 64,
                flags: 0,
                digest: *blake3::hash(&bytes).as_bytes(),
            };
            let shown = Mutex::new(Vec::new());
            let look = |range: Range<usize>| {
                shown.lock().expect("no panic").push(range);
                Ok(())
            };
            check_digest_and(&bytes, &entry, &look).expect("its own digest");
            let mut shown = shown.into_inner().expect("no panic");
            shown.sort_by_key(|range| range.start);
            assert_eq!(shown.first().map(|range| range.start), Some(0));
            assert_eq!(shown.last().map(|range| range.end), Some(length));
            assert!(shown.is_sorted_by(|a, b| a.end == b.start), "{length}");
            let fault = |_| Err(OpenError::Corrupt { section: "x", offset: 7, detail: "seen".into() });
            let told =
                |entry: &Entry| check_digest_and(&bytes, entry, &fault).expect_err("a fault").to_string();
            assert!(told(&entry).contains("seen"));
            assert!(told(&Entry { digest: [7; 32], ..entry }).contains("digest"), "{length}");
        }
    }
}
