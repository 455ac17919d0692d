//! AVX2: codes are widened to sixteen bits, since its own product of eight bits saturates. One of the few rooms that
//! may hold `unsafe`.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_prefetch, _mm_shuffle_epi32,
    _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16,
    _mm256_extracti128_si256, _mm256_madd_epi16, _mm256_setzero_si256,
};

use super::{BLOCK, GROUP, Kernel, gather_with, scalar, scores_with};

/// Codes a step.
const STEP: usize = 16;
/// Lines of a row that are fetched ahead; the processor's own stream detection takes over behind them.
const LINES_AHEAD: usize = 12;

pub(super) fn kernel() -> Option<Kernel> {
    is_x86_feature_detected!("avx2").then_some(Kernel { name: "avx2", dot, scores, gather, encode })
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[target_feature(enable = "avx2")]
    fn wide(a: &[f32], b: &[f32]) -> f32 {
        scalar::dot(a, b)
    }
    // SAFETY: `kernel` hands this function out only where the processor has AVX2.
    unsafe { wide(a, b) }
}

fn encode(vector: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
    #[target_feature(enable = "avx2")]
    fn wide(vector: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
        scalar::encode(vector, scale, codes)
    }
    // SAFETY: `kernel` hands this function out only where the processor has AVX2.
    unsafe { wide(vector, scale, codes) }
}

fn scores(query: &[i8], codes: &[u8], out: &mut [i32]) {
    #[target_feature(enable = "avx2")]
    fn wide(query: &[i8], codes: &[u8], out: &mut [i32]) {
        scores_with(query, codes, out, |q, rows| four(q, rows), |q, row| one(q, row));
    }
    // SAFETY: `kernel` hands this function out only where the processor has AVX2.
    unsafe { wide(query, codes, out) }
}

fn gather(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [i32]) {
    #[target_feature(enable = "avx2")]
    fn wide(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [i32]) {
        gather_with(query, codes, ids, out, |q, rows| four(q, rows), |q, row| one(q, row), fetch);
    }
    // SAFETY: `kernel` hands this function out only where the processor has AVX2.
    unsafe { wide(query, codes, ids, out) }
}

#[inline(always)]
fn fetch(row: &[u8]) {
    for line in row.chunks(BLOCK).take(LINES_AHEAD) {
        // SAFETY: a prefetch has no effect that a program could see, whatever the address; this one is a slice's.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn four(query: &[i8], [a, b, c, d]: [&[u8]; GROUP]) -> [i32; GROUP] {
    let (query, _) = query.as_chunks::<STEP>();
    let rows = [a.as_chunks().0, b.as_chunks().0, c.as_chunks().0, d.as_chunks().0];
    let mut sums = [_mm256_setzero_si256(); GROUP];
    let [a, b, c, d] = rows;
    for ((((query, a), b), c), d) in query.iter().zip(a).zip(b).zip(c).zip(d) {
        let query = widened_query(query);
        for (sum, row) in sums.iter_mut().zip([a, b, c, d]) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(widened(row), query));
        }
    }
    let [a, b, c, d] = sums;
    [total(a), total(b), total(c), total(d)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn one(query: &[i8], row: &[u8]) -> i32 {
    let mut sum = _mm256_setzero_si256();
    for (query, row) in query.as_chunks::<STEP>().0.iter().zip(row.as_chunks::<STEP>().0) {
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(widened(row), widened_query(query)));
    }
    total(sum)
}

#[inline]
#[target_feature(enable = "avx2")]
fn total(sums: __m256i) -> i32 {
    let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let sums = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b00_00_11_10>(sums));
    _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_shuffle_epi32::<0b00_00_00_01>(sums)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn widened(bytes: &[u8; STEP]) -> __m256i {
    // SAFETY: 16 readable bytes, and the instruction asks for no alignment.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn widened_query(bytes: &[i8; STEP]) -> __m256i {
    // SAFETY: 16 readable bytes, and the instruction asks for no alignment.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}
