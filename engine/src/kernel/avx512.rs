//! AVX-512 with VNNI: 64 products of eight bits an instruction. One of the few rooms that may hold `unsafe`.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32,
    _mm512_setzero_si512,
};

use super::{BLOCK, GROUP, Kernel, gather_with, scalar, scores_with};

/// Lines of a row that are fetched ahead; the processor's own stream detection takes over behind them.
const LINES_AHEAD: usize = 12;

pub(super) fn kernel() -> Option<Kernel> {
    let there = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    there.then_some(Kernel { name: "avx512-vnni", dot, scores, gather, encode })
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[target_feature(enable = "avx512f")]
    fn wide(a: &[f32], b: &[f32]) -> f32 {
        scalar::dot(a, b)
    }
    // SAFETY: `kernel` hands this function out only where the processor has AVX-512F.
    unsafe { wide(a, b) }
}

fn encode(vector: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn wide(vector: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
        scalar::encode(vector, scale, codes)
    }
    // SAFETY: `kernel` hands this function out only where the processor has AVX-512.
    unsafe { wide(vector, scale, codes) }
}

fn scores(query: &[i8], codes: &[u8], out: &mut [i32]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn wide(query: &[i8], codes: &[u8], out: &mut [i32]) {
        scores_with(query, codes, out, |q, rows| four(q, rows), |q, row| one(q, row));
    }
    // SAFETY: `kernel` hands this function out only where the processor has these features.
    unsafe { wide(query, codes, out) }
}

fn gather(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [i32]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn wide(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [i32]) {
        gather_with(query, codes, ids, out, |q, rows| four(q, rows), |q, row| one(q, row), fetch);
    }
    // SAFETY: `kernel` hands this function out only where the processor has these features.
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
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn four(query: &[i8], [a, b, c, d]: [&[u8]; GROUP]) -> [i32; GROUP] {
    let (query, _) = query.as_chunks::<BLOCK>();
    let rows = [a.as_chunks().0, b.as_chunks().0, c.as_chunks().0, d.as_chunks().0];
    let mut sums = [_mm512_setzero_si512(); GROUP];
    let [a, b, c, d] = rows;
    for ((((query, a), b), c), d) in query.iter().zip(a).zip(b).zip(c).zip(d) {
        let query = load_query(query);
        sums[0] = _mm512_dpbusd_epi32(sums[0], load(a), query);
        sums[1] = _mm512_dpbusd_epi32(sums[1], load(b), query);
        sums[2] = _mm512_dpbusd_epi32(sums[2], load(c), query);
        sums[3] = _mm512_dpbusd_epi32(sums[3], load(d), query);
    }
    let [a, b, c, d] = sums;
    [
        _mm512_reduce_add_epi32(a),
        _mm512_reduce_add_epi32(b),
        _mm512_reduce_add_epi32(c),
        _mm512_reduce_add_epi32(d),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn one(query: &[i8], row: &[u8]) -> i32 {
    let mut sum = _mm512_setzero_si512();
    for (query, row) in query.as_chunks::<BLOCK>().0.iter().zip(row.as_chunks::<BLOCK>().0) {
        sum = _mm512_dpbusd_epi32(sum, load(row), load_query(query));
    }
    _mm512_reduce_add_epi32(sum)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; BLOCK]) -> __m512i {
    // SAFETY: 64 readable bytes, and the instruction asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_query(bytes: &[i8; BLOCK]) -> __m512i {
    // SAFETY: 64 readable bytes, and the instruction asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
