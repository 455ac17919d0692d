//! Distance kernels: the dot product, which for unit vectors is the cosine. Chosen once for the processor at hand.
//!
//! Vectors of f32 are compared by [`Kernel::dot`], codes of eight bits by [`Kernel::scores`] and [`Kernel::gather`].
//! Every kernel gives the same result to the last bit: integer sums have no rounding, and the order of the f32
//! additions is part of the contract. So a search answers alike on every machine, and the portable one is the oracle.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use std::sync::OnceLock;

/// Codes are stored in rows of whole blocks of this many bytes: a cache line, and the widest register. Kernels of codes
/// are for lengths that are a multiple of it.
pub const BLOCK: usize = 64;

/// Codes are stored as unsigned bytes around this value.
pub(crate) const ZERO: i32 = 128;
/// Largest distance of a code from [`ZERO`].
pub(crate) const LARGEST: f32 = 127.0;

pub(crate) use scalar::step;

/// What a gather gives for a row number that does not exist: no row scores less.
pub const NO_ROW: i32 = i32::MIN;

/// Codes of a query, codes of all rows, row numbers, and a place for the result of each. The length of the query's codes is
/// that of a row.
pub type Gather = fn(&[i8], &[u8], &[u32], &mut [i32]);

/// The distance functions of one instruction set.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// Name of the instruction set.
    pub name: &'static str,
    /// Dot product of two vectors of one length; where the lengths differ, the surplus is ignored.
    pub dot: fn(&[f32], &[f32]) -> f32,
    /// Dot products of a query with consecutive rows of `query.len()` codes, one per place of the output.
    pub scores: fn(&[i8], &[u8], &mut [i32]),
    /// Dot products of a query with the rows that are numbered, [`NO_ROW`] for a number past the end.
    pub gather: Gather,
    /// Writes the codes of a vector for a scale, and gives the sum of the squares of what they lost. The codes have at
    /// least as many places as the vector has numbers; further ones are left as they are.
    pub encode: fn(&[f32], f32, &mut [u8]) -> f32,
}

impl Kernel {
    /// The fastest kernel that this processor runs.
    pub fn detect() -> &'static Self {
        static CHOSEN: OnceLock<Kernel> = OnceLock::new();
        CHOSEN.get_or_init(|| Self::all().next().unwrap_or(scalar::KERNEL))
    }

    /// Every kernel that this processor runs, the fastest first.
    pub fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let native = [avx512::kernel(), avx2::kernel()];
        #[cfg(target_arch = "aarch64")]
        let native = [neon::kernel()];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let native = [None];
        native.into_iter().flatten().chain([scalar::KERNEL])
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// [`Kernel::dot`] of the processor at hand.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    (Kernel::detect().dot)(a, b)
}

/// The codes of row `id`, or `None` past the end.
fn row(codes: &[u8], id: u32, stride: usize) -> Option<&[u8]> {
    let start = (id as usize).checked_mul(stride)?;
    codes.get(start..start.checked_add(stride)?)
}

/// Rows that a kernel compares at a time, so that their sums do not wait for each other.
const GROUP: usize = 4;

/// The loop of every `scores`: groups of rows, then what is left, one by one.
#[inline(always)]
fn scores_with(
    query: &[i8],
    codes: &[u8],
    out: &mut [i32],
    four: impl Fn(&[i8], [&[u8]; GROUP]) -> [i32; GROUP],
    one: impl Fn(&[i8], &[u8]) -> i32,
) {
    let stride = query.len();
    if stride == 0 {
        return out.fill(0);
    }
    let mut groups = codes.chunks_exact(stride * GROUP);
    let mut places = out.chunks_exact_mut(GROUP);
    let mut done = 0;
    for (place, group) in places.by_ref().zip(groups.by_ref()) {
        let rows = std::array::from_fn(|row| &group[row * stride..(row + 1) * stride]);
        place.copy_from_slice(&four(query, rows));
        done += GROUP;
    }
    for (place, row) in out[done..].iter_mut().zip(codes[done * stride..].chunks_exact(stride)) {
        *place = one(query, row);
    }
}

/// The loop of every `gather`: while one group is compared, the next is fetched.
#[inline(always)]
fn gather_with(
    query: &[i8],
    codes: &[u8],
    ids: &[u32],
    out: &mut [i32],
    four: impl Fn(&[i8], [&[u8]; GROUP]) -> [i32; GROUP],
    one: impl Fn(&[i8], &[u8]) -> i32,
    fetch: impl Fn(&[u8]),
) {
    let stride = query.len();
    for &id in ids.iter().take(GROUP) {
        row(codes, id, stride).map(&fetch);
    }
    for (number, (group, places)) in ids.chunks(GROUP).zip(out.chunks_mut(GROUP)).enumerate() {
        for &id in ids.iter().skip((number + 1) * GROUP).take(GROUP) {
            row(codes, id, stride).map(&fetch);
        }
        if let &[a, b, c, d] = group
            && let (Some(a), Some(b), Some(c), Some(d)) =
                (row(codes, a, stride), row(codes, b, stride), row(codes, c, stride), row(codes, d, stride))
            && places.len() == GROUP
        {
            places.copy_from_slice(&four(query, [a, b, c, d]));
        } else {
            for (place, &id) in places.iter_mut().zip(group) {
                *place = row(codes, id, stride).map_or(NO_ROW, |row| one(query, row));
            }
        }
    }
}

#[cfg(test)]
mod tests;
