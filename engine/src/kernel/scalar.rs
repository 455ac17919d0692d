//! The portable kernel: what every other one must agree with, bit for bit.

use super::{Kernel, LARGEST, ZERO, gather_with, scores_with};

pub(super) const KERNEL: Kernel = Kernel { name: "scalar", dot, scores, gather, encode };

/// Independent sums that the loop keeps, so that a compiler can use whole vector registers.
const LANES: usize = 16;

/// The sum is taken in [`LANES`] interleaved partial sums, then pairwise. Each product is rounded before it is added:
/// a fused multiply-add would round otherwise.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    // Of two lengths, the rest of the shorter one lies against a block of the longer.
    let done = a_blocks.len().min(b_blocks.len()) * LANES;
    let (a_rest, b_rest) = if a.len() == b.len() { (a_rest, b_rest) } else { (&a[done..], &b[done..]) };
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += a * b;
    }
    total(sums)
}

#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// Adding and taking away this number rounds an f32 to the nearest integer, ties to even, wherever it is small.
const ROUNDER: f32 = 12_582_912.0;

/// The step nearest to `x`, at most [`LARGEST`] either way.
#[inline(always)]
pub(crate) fn step(x: f32, inverse: f32) -> f32 {
    raised(x, inverse) - ROUNDER
}

/// [`step`] plus [`ROUNDER`]: an integer in the low bits of the number.
#[inline(always)]
fn raised(x: f32, inverse: f32) -> f32 {
    (x * inverse).clamp(-LARGEST, LARGEST) + ROUNDER
}

/// The code and the error of `x`. The code is taken from the bits, since a conversion to an integer costs far more.
#[inline(always)]
fn coded(x: f32, scale: f32, inverse: f32) -> (u8, f32) {
    let raised = raised(x, inverse);
    (raised.to_bits() as u8 ^ ZERO as u8, x - (raised - ROUNDER) * scale)
}

/// Writes the code of each number and gives the sum of the squared errors, in the order of [`dot`].
#[inline(always)]
pub(super) fn encode(vector: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
    let inverse = 1.0 / scale;
    let mut sums = [0.0f32; LANES];
    let (blocks, rest) = vector.as_chunks::<LANES>();
    let (places, _) = codes.as_chunks_mut::<LANES>();
    for (block, places) in blocks.iter().zip(places) {
        for lane in 0..LANES {
            let (code, error) = coded(block[lane], scale, inverse);
            sums[lane] += error * error;
            places[lane] = code;
        }
    }
    let done = blocks.len() * LANES;
    for (lane, (&x, place)) in rest.iter().zip(codes.iter_mut().skip(done)).enumerate() {
        let (code, error) = coded(x, scale, inverse);
        sums[lane] += error * error;
        *place = code;
    }
    total(sums)
}

#[inline(always)]
fn one(query: &[i8], row: &[u8]) -> i32 {
    query.iter().zip(row).map(|(&q, &code)| i32::from(q) * i32::from(code)).sum()
}

fn four(query: &[i8], rows: [&[u8]; 4]) -> [i32; 4] {
    rows.map(|row| one(query, row))
}

fn scores(query: &[i8], codes: &[u8], out: &mut [i32]) {
    scores_with(query, codes, out, four, one);
}

fn gather(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [i32]) {
    gather_with(query, codes, ids, out, four, one, |_| {});
}
