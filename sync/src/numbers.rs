//! The cells that a vector stands in: JSON arrays of numbers, or one packed cell.
//!
//! A packed cell is `f32:` or `f16:` followed by base64 (RFC 4648, with padding) of little-endian numbers. A vector of
//! 3072 numbers takes 16,388 characters as `f32:` and 8,196 as `f16:`, where JSON takes about 69,000 and three cells.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use half::f16;

/// A cell that holds no list of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoNumbers;

/// How numbers are packed into one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Four bytes a number, exactly as computed.
    F32,
    /// Two bytes a number: about three decimal digits, enough for ranking.
    #[default]
    F16,
}

impl Packing {
    /// What its cells begin with.
    const fn prefix(self) -> &'static str {
        match self {
            Self::F32 => "f32:",
            Self::F16 => "f16:",
        }
    }

    /// `numbers` as the text of one cell.
    pub fn pack(self, numbers: &[f32]) -> String {
        let bytes: Vec<u8> = match self {
            Self::F32 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Self::F16 => numbers.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect(),
        };
        let mut cell = self.prefix().to_owned();
        STANDARD.encode_string(bytes, &mut cell);
        cell
    }

    fn of(cell: &str) -> Option<(Self, &str)> {
        [Self::F32, Self::F16]
            .into_iter()
            .find_map(|packing| Some((packing, cell.strip_prefix(packing.prefix())?)))
    }
}

/// Whether `cell` looks like the beginning of a vector rather than like a word.
pub(crate) fn looks_like_numbers(cell: &str) -> bool {
    cell.starts_with('[') || Packing::of(cell).is_some()
}

/// Appends the numbers of `cell` to `numbers`.
///
/// # Errors
/// A cell that is neither a JSON array of numbers nor packed; what was read of it before stays in `numbers`.
pub fn read(cell: &str, numbers: &mut Vec<f32>) -> Result<(), NoNumbers> {
    match Packing::of(cell) {
        None => json(cell, numbers),
        Some((packing, text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| NoNumbers)?;
            match packing {
                Packing::F32 => {
                    let (whole, rest) = bytes.as_chunks();
                    numbers.extend(whole.iter().map(|bytes| f32::from_le_bytes(*bytes)));
                    if rest.is_empty() { Ok(()) } else { Err(NoNumbers) }
                }
                Packing::F16 => {
                    let (whole, rest) = bytes.as_chunks();
                    numbers.extend(whole.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()));
                    if rest.is_empty() { Ok(()) } else { Err(NoNumbers) }
                }
            }
        }
    }
}

/// A JSON array of numbers. The numbers are split at the commas here and read by `fast-float2`, which is several times as
/// fast as a whole JSON parser; what it takes beyond JSON (`inf`, a leading plus) is caught by the check of the vector or
/// does no harm.
fn json(cell: &str, numbers: &mut Vec<f32>) -> Result<(), NoNumbers> {
    let inner = cell.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or(NoNumbers)?;
    if inner.trim().is_empty() {
        return Ok(());
    }
    let mut rest = inner.as_bytes();
    loop {
        rest = rest.trim_ascii_start();
        // Python wrote each number at the full precision of a double, so it is read as one.
        let (number, read) = fast_float2::parse_partial::<f64, _>(rest).map_err(|_| NoNumbers)?;
        numbers.push(number as f32);
        rest = rest[read..].trim_ascii_start();
        match rest.split_first() {
            None => return Ok(()),
            Some((b',', behind)) => rest = behind,
            Some(_) => return Err(NoNumbers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(cell: &str) -> Result<Vec<f32>, NoNumbers> {
        let mut found = Vec::new();
        read(cell, &mut found).map(|()| found)
    }

    #[test]
    fn what_is_no_list_of_numbers_is_refused() {
        for cell in
            ["", "x", "[1,2", "1,2]", "[1,,2]", "[1,]", "[,1]", "[1 2]", "[a]", "[[1]]", "[null]", "[\"1\"]"]
        {
            assert_eq!(numbers(cell), Err(NoNumbers), "{cell}");
        }
        for cell in ["f32:", "f16:"] {
            assert_eq!(numbers(cell), Ok(Vec::new()));
        }
        for cell in ["f32:x", "f32:AAAA", "f16:AA==", "f16:AAA", "f64:AAAAAAAAAAA="] {
            assert_eq!(numbers(cell), Err(NoNumbers), "{cell}");
        }
        assert_eq!(numbers("[]"), Ok(Vec::new()));
        assert_eq!(numbers(" [ 1 , -2.5e-1,3 ] "), Ok(vec![1.0, -0.25, 3.0]));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again(vector in proptest::collection::vec(-1.0f32..1.0, 0..100)) {
            prop_assert_eq!(numbers(&Packing::F32.pack(&vector)), Ok(vector.clone()));
            let half: Vec<f32> = vector.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
            prop_assert_eq!(numbers(&Packing::F16.pack(&vector)), Ok(half));
        }

        #[test]
        fn json_is_read_as_a_json_parser_reads_it(vector in proptest::collection::vec(any::<f32>(), 0..50)) {
            let finite: Vec<f32> = vector.into_iter().filter(|x| x.is_finite()).collect();
            let doubles: Vec<f64> = finite.iter().map(|&x| f64::from(x)).collect();
            let cell = serde_json::to_string(&doubles).expect("JSON");
            prop_assert_eq!(numbers(&cell), Ok(finite));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = numbers(&text);
            let _ = numbers(&format!("[{text}]"));
            let _ = numbers(&format!("f16:{text}"));
        }
    }
}
