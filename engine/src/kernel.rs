//! Distance kernels: the dot product, which for unit vectors is the cosine.

/// Independent sums that the loop keeps, so that the compiler can use whole vector registers.
const LANES: usize = 16;

/// Dot product of two vectors of one length, the same to the last bit on every machine and for every caller.
///
/// The sum is taken in [`LANES`] interleaved partial sums, then pairwise: the order of the additions is part of the
/// contract, because equal rows must score equally everywhere. Where the lengths differ, the surplus is ignored.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += a * b;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::dot;
    use proptest::prelude::*;

    /// The oracle: summed one by one in double precision.
    fn naive(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    proptest! {
        #[test]
        fn the_dot_product_stays_within_its_rounding_bound(
            pairs in prop::collection::vec((-10.0f32..10.0, -10.0f32..10.0), 0..300)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let magnitude: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a * b).abs()).sum();
            let bound = f64::from(f32::EPSILON) * (a.len() as f64 + 1.0) * magnitude + 1e-30;
            prop_assert!((f64::from(dot(&a, &b)) - naive(&a, &b)).abs() <= bound);
        }
    }

    #[test]
    fn vectors_shorter_than_a_block_are_summed_whole() {
        assert_eq!(dot(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 32.0);
        assert_eq!(dot(&[], &[]), 0.0);
    }
}
