//! Lengths of vectors: what makes one fit to be searched.

use crate::error::VectorFault;

/// How far from 1 the length of a vector may be.
const UNIT_TOLERANCE: f64 = 1e-3;

/// Euclidean length in double precision, which no finite vector can overflow; never zero.
///
/// # Errors
/// A number that is not finite; a vector of zeros, or of no numbers.
pub fn norm(vector: &[f32]) -> Result<f64, VectorFault> {
    if let Some(position) = vector.iter().position(|x| !x.is_finite()) {
        return Err(VectorFault::NotFinite { position });
    }
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if norm == 0.0 { Err(VectorFault::Zero) } else { Ok(norm) }
}

/// Whether a Euclidean length is as good as 1.
pub fn is_unit(norm: f64) -> bool {
    (norm - 1.0).abs() <= UNIT_TOLERANCE
}

/// `vector`, whose length is `norm`, scaled to unit length.
pub fn scaled(vector: &[f32], norm: f64) -> Vec<f32> {
    let mut unit = Vec::new();
    scale_into(vector, norm, &mut unit);
    unit
}

/// As [`scaled`], into `unit`.
pub(crate) fn scale_into(vector: &[f32], norm: f64, unit: &mut Vec<f32>) {
    unit.clear();
    unit.extend(vector.iter().map(|&x| (f64::from(x) / norm) as f32));
}
