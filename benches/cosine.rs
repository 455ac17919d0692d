//! The distance that hnsw_rs is measured with.

use hnsw_rs::anndists::dist::Distance;

/// One minus the cosine of unit vectors, in a loop that a compiler turns into vector instructions.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cosine;

impl Distance<f32> for Cosine {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0f32; 16];
        for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
            for lane in 0..16 {
                sums[lane] += a[lane] * b[lane];
            }
        }
        let done = a.len() / 16 * 16;
        let rest: f32 = a[done..].iter().zip(&b[done..]).map(|(a, b)| a * b).sum();
        (1.0 - sums.iter().sum::<f32>() - rest).max(0.0)
    }
}
