//! Vectors in eight bits a number, with a bound on what each lost: the first pass of every search.
//!
//! A vector `x` is stored as codes `c` with `x ≈ scale · (c - 128)`, one scale for the whole snapshot, so that sums of
//! products compare as integers. What a row loses is kept as the length of its error, which bounds by how much its
//! score can be off (Cauchy and Schwarz): so an exact search can pass over a row without reading its vector.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::kernel::{BLOCK, Kernel, LARGEST, ZERO, step};
use crate::originals::Originals;

/// Rows that the scale is chosen on.
const SAMPLED_ROWS: usize = 512;
/// Lengths of unit vectors lie within 1 ± 0.001, see [`crate::vector`]; the rest is for the rounding of the bounds.
const LONGEST: f64 = 1.0011;

/// First bytes of the codes section.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct CodesHeader {
    /// What a step of a code is worth.
    pub(crate) scale: f32,
    /// Bytes a row: the dimensions, rounded up to whole blocks.
    pub(crate) stride: u32,
    /// Zero; the codes begin at a multiple of 64.
    pub(crate) zero: [u32; 14],
}

/// Bytes a row for vectors of this many dimensions.
pub(crate) fn stride_of(dimensions: usize) -> usize {
    dimensions.next_multiple_of(BLOCK)
}

/// Length of the codes section.
pub(crate) fn section_length(passages: u64, dimensions: u32) -> u64 {
    let stride = stride_of(dimensions as usize) as u64;
    size_of::<CodesHeader>() as u64 + passages * (stride + size_of::<f32>() as u64)
}

/// The codes of a snapshot, read in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes<'a> {
    pub(crate) scale: f32,
    pub(crate) stride: usize,
    /// One row of `stride` codes a passage.
    pub(crate) rows: &'a [u8],
    /// Length of each row's error, rounded up.
    pub(crate) errors: &'a [f32],
}

impl<'a> Codes<'a> {
    /// Takes a section apart; `None` where its sizes contradict the counts, or its scale is no positive number.
    pub(crate) fn parse(section: &'a [u8], passages: usize, dimensions: usize) -> Option<Self> {
        let (header, rest) = section.split_at_checked(size_of::<CodesHeader>())?;
        let header: &CodesHeader = bytemuck::try_from_bytes(header).ok()?;
        let stride = stride_of(dimensions);
        let (rows, errors) = rest.split_at_checked(passages.checked_mul(stride)?)?;
        let errors: &[f32] = bytemuck::try_cast_slice(errors).ok()?;
        let sound = header.stride as usize == stride
            && header.scale.is_finite()
            && header.scale > 0.0
            && header.zero == [0; 14]
            && errors.len() == passages;
        sound.then_some(Self { scale: header.scale, stride, rows, errors })
    }

    /// The codes of passage `number`, or nothing past the end.
    pub(crate) fn row(&self, number: u32) -> &'a [u8] {
        let start = number as usize * self.stride;
        self.rows.get(start..start + self.stride).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.errors.len()
    }
}

/// Codes being built, or built.
#[derive(Debug)]
pub(crate) struct Encoder {
    scale: f32,
    dimensions: usize,
}

impl Encoder {
    /// Chooses the scale that loses least on a sample of `vectors`, rows of `dimensions` finite numbers. A scale that
    /// clips a few large numbers may keep more of all the others.
    pub(crate) fn fit(vectors: Originals<'_>, dimensions: usize) -> Self {
        let rows = vectors.len() / dimensions.max(1);
        let every = rows.div_ceil(SAMPLED_ROWS).max(1);
        let row = |number| Originals::place(number, dimensions);
        let sample: Vec<_> = (0..rows).step_by(every).map(|number| vectors.owned(row(number))).collect();
        let largest_of = |room: &mut Vec<f32>, number| {
            vectors.numbers(row(number), room).iter().fold(0.0f32, |largest, x| largest.max(x.abs()))
        };
        let largest = (0..rows).into_par_iter().map_init(Vec::new, largest_of).reduce(|| 0.0, f32::max);
        let (kernel, mut codes) = (Kernel::detect(), vec![0; dimensions]);
        let mut lost = |scale: f32| -> f64 {
            sample.iter().map(|row| f64::from((kernel.encode)(row, scale, &mut codes))).sum()
        };
        let full = if largest > 0.0 { largest / LARGEST } else { 1.0 };
        let mut best = (lost(full), full);
        let mut scale = full;
        for _ in 0..24 {
            scale *= 0.9;
            let candidate = (lost(scale), scale);
            if candidate.0 >= best.0 {
                break;
            }
            best = candidate;
        }
        Self { scale: best.1, dimensions }
    }

    /// An encoder with the scale that a snapshot states.
    pub(crate) fn with_scale(scale: f32, dimensions: usize) -> Self {
        Self { scale, dimensions }
    }

    /// Writes the codes of `vector` and gives the length of its error, rounded up.
    pub(crate) fn encode(&self, vector: &[f32], codes: &mut [u8]) -> f32 {
        let squares = (Kernel::detect().encode)(vector, self.scale, codes);
        if let Some(padding) = codes.get_mut(vector.len()..) {
            padding.fill(ZERO as u8);
        }
        padded_error(squares)
    }

    /// The whole section for `vectors`.
    pub(crate) fn section(&self, vectors: Originals<'_>) -> Vec<u8> {
        let stride = stride_of(self.dimensions);
        let rows = vectors.len() / self.dimensions;
        let header = CodesHeader { scale: self.scale, stride: stride as u32, zero: [0; 14] };
        let mut section = vec![0u8; section_length(rows as u64, self.dimensions as u32) as usize];
        let (front, rest) = section.split_at_mut(size_of::<CodesHeader>());
        front.copy_from_slice(bytemuck::bytes_of(&header));
        let (codes, errors) = rest.split_at_mut(rows * stride);
        codes
            .par_chunks_exact_mut(stride)
            .zip(errors.par_chunks_exact_mut(size_of::<f32>()))
            .enumerate()
            .for_each_init(Vec::new, |room, (number, (codes, error))| {
                let vector = vectors.numbers(Originals::place(number, self.dimensions), room);
                error.copy_from_slice(&self.encode(vector, codes).to_le_bytes());
            });
        section
    }
}

/// An upper bound of the length of an error, from the sum of its squares as it was added up in f32: up to 16,384 numbers
/// round by a thousandth at most, and each difference by less than the constant has room for.
fn padded_error(squares: f32) -> f32 {
    squares.sqrt() * 1.001 + 2e-7
}

/// A query in codes, ready to be compared with those of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct CodedQuery {
    /// Signed codes, padded with zeros to the stride.
    pub(crate) codes: Vec<i8>,
    /// What the offset of the stored codes adds to each sum.
    offset: i32,
    /// What a unit of a sum is worth.
    factor: f32,
    /// Length of the query's error.
    error: f64,
}

impl CodedQuery {
    /// Codes of `query`, a unit vector, for rows of `codes`. Allocates only where an earlier query was shorter.
    pub(crate) fn set(&mut self, query: &[f32], codes: &Codes<'_>) {
        let largest = query.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = if largest > 0.0 { largest / LARGEST } else { 1.0 };
        let inverse = 1.0 / scale;
        self.codes.clear();
        let (mut sum, mut squares) = (0i32, 0.0f32);
        for &x in query {
            let step = step(x, inverse);
            sum += step as i32;
            let error = x - step * scale;
            squares += error * error;
            self.codes.push(step as i8);
        }
        self.codes.resize(codes.stride, 0);
        self.offset = sum * ZERO;
        self.factor = scale * codes.scale;
        self.error = f64::from(padded_error(squares));
    }

    /// Codes that stand for a row of the snapshot itself, for comparing rows with each other.
    pub(crate) fn set_row(&mut self, row: &[u8]) {
        self.codes.clear();
        self.codes.extend(row.iter().map(|&code| (code ^ ZERO as u8) as i8));
        self.offset = self.codes.iter().map(|&code| i32::from(code)).sum::<i32>() * ZERO;
    }

    /// The dot product of the codes, freed of the offset. The order of two rows is that of their sums.
    #[inline(always)]
    pub(crate) fn freed(&self, sum: i32) -> i32 {
        sum.saturating_sub(self.offset)
    }

    /// The score that a sum stands for.
    #[inline(always)]
    pub(crate) fn score(&self, sum: i32) -> f32 {
        // Sums are far from overflow; both conversions round by less than the bound has room for.
        sum.wrapping_sub(self.offset) as f32 * self.factor
    }

    /// By how much the score of a row whose error has length `error` may be off, the rounding of the f32 dot product
    /// and of [`CodedQuery::score`] included: `slack + slope · error`.
    pub(crate) fn bound(&self, dimensions: usize) -> Bound {
        // q·x - q̂·x̂ = q·e + e_q·x̂, and |x̂| <= |x| + |e|. Each lane of the kernel adds dimensions / 16 products.
        let rounding = (dimensions as f64 / 16.0 + 16.0) * f64::from(f32::EPSILON) * LONGEST * LONGEST;
        Bound {
            slack: (self.error * LONGEST + rounding + 1e-6) as f32 * (1.0 + 1e-6),
            slope: (LONGEST + self.error) as f32,
        }
    }
}

/// How far the score of a row's codes may lie from its true one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    slack: f32,
    slope: f32,
}

impl Bound {
    #[inline(always)]
    pub(crate) fn of(self, error: f32) -> f32 {
        self.slack + self.slope * error
    }
}

/// Whether the codes of one row are those of `vector`: what the builder wrote, to the last byte.
pub(crate) fn is_row_of(codes: &Codes<'_>, number: u32, vector: &[f32], scratch: &mut Vec<u8>) -> bool {
    scratch.resize(codes.stride, 0);
    let error = Encoder::with_scale(codes.scale, vector.len()).encode(vector, scratch);
    codes.row(number) == scratch.as_slice()
        && codes.errors.get(number as usize).is_some_and(|stated| stated.to_bits() == error.to_bits())
}

/// A unit vector, or what is wrong with it; used by tests of the codes.
#[cfg(test)]
fn unit(vector: &[f32]) -> Vec<f32> {
    crate::vector::norm(vector).map(|norm| crate::vector::scaled(vector, norm)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::dot;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_score_of_codes_is_farther_off_than_its_bound(
            rows in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 70), 2..20),
            spike in 0usize..70, height in 0.0f32..40.0,
        ) {
            let mut vectors = Vec::new();
            for mut row in rows {
                row[spike] *= height;
                row[(spike + 1) % 70] += 0.01;
                vectors.extend(unit(&row));
            }
            let section = Encoder::fit(Originals::F32(&vectors), 70).section(Originals::F32(&vectors));
            let codes = Codes::parse(&section, vectors.len() / 70, 70).expect("a sound section");
            let mut query = CodedQuery::default();
            let mut scratch = Vec::new();
            for asked in vectors.chunks_exact(70) {
                query.set(asked, &codes);
                let bound = query.bound(70);
                let mut sums = vec![0; codes.len()];
                (Kernel::detect().scores)(&query.codes, codes.rows, &mut sums);
                for (number, vector) in vectors.chunks_exact(70).enumerate() {
                    let (found, truth) = (query.score(sums[number]), dot(asked, vector));
                    let allowed = bound.of(codes.errors[number]);
                    prop_assert!((found - truth).abs() <= allowed, "{found} for {truth}, bound {allowed}");
                    prop_assert!(is_row_of(&codes, number as u32, vector, &mut scratch));
                }
            }
        }
    }

    #[test]
    fn a_section_of_other_sizes_or_without_a_scale_is_refused() {
        let vectors = Originals::F32(&[1.0, 0.0, 0.0, 1.0]);
        let section = Encoder::fit(vectors, 2).section(vectors);
        assert!(Codes::parse(&section, 2, 2).is_some());
        assert!(Codes::parse(&section, 3, 2).is_none());
        assert!(Codes::parse(&section, 1, 2).is_none());
        assert!(Codes::parse(&section[..section.len() - 4], 2, 2).is_none());
        for scale in [0.0f32, -1.0, f32::NAN, f32::INFINITY] {
            let mut lie = section.clone();
            lie[..4].copy_from_slice(&scale.to_le_bytes());
            assert!(Codes::parse(&lie, 2, 2).is_none(), "{scale}");
        }
    }

    #[test]
    fn a_row_is_its_own_nearest_in_codes() {
        let vectors: Vec<f32> = [[1.0f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.6, 0.8]].concat();
        let vectors = Originals::F32(&vectors);
        let section = Encoder::fit(vectors, 3).section(vectors);
        let codes = Codes::parse(&section, 3, 3).expect("a sound section");
        let (mut query, mut sums) = (CodedQuery::default(), [0; 3]);
        query.set_row(codes.row(1));
        (Kernel::detect().gather)(&query.codes, codes.rows, &[0, 1, 2], &mut sums);
        assert_eq!(query.freed(sums[0]), 0);
        assert!(sums[1] > sums[2] && sums[2] > sums[0]);
    }
}
