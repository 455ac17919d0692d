//! NEON, which every 64-bit Arm has. One of the few rooms that may hold `unsafe`.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    int32x4_t, vaddq_s32, vaddvq_s32, vdupq_n_s32, vget_high_s16, vget_low_s16, vld1_s8, vld1_u8, vmlal_s16,
    vmovl_s8, vmovl_u8, vreinterpretq_s16_u16,
};

use super::{GROUP, Kernel, gather_with, scalar, scores_with};

/// Codes a step.
const STEP: usize = 8;

pub(super) fn kernel() -> Option<Kernel> {
    // The portable loops over f32 become NEON by themselves: the target has it.
    let (dot, encode) = (scalar::KERNEL.dot, scalar::KERNEL.encode);
    std::arch::is_aarch64_feature_detected!("neon").then_some(Kernel {
        name: "neon",
        dot,
        scores,
        gather,
        encode,
    })
}

fn scores(query: &[i8], codes: &[u8], out: &mut [i32]) {
    #[target_feature(enable = "neon")]
    fn wide(query: &[i8], codes: &[u8], out: &mut [i32]) {
        scores_with(query, codes, out, |q, rows| four(q, rows), |q, row| one(q, row));
    }
    // SAFETY: `kernel` hands this function out only where the processor has NEON.
    unsafe { wide(query, codes, out) }
}

fn gather(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [i32]) {
    #[target_feature(enable = "neon")]
    fn wide(query: &[i8], codes: &[u8], ids: &[u32], out: &mut [i32]) {
        gather_with(query, codes, ids, out, |q, rows| four(q, rows), |q, row| one(q, row), |_| {});
    }
    // SAFETY: `kernel` hands this function out only where the processor has NEON.
    unsafe { wide(query, codes, ids, out) }
}

#[inline]
#[target_feature(enable = "neon")]
fn four(query: &[i8], [a, b, c, d]: [&[u8]; GROUP]) -> [i32; GROUP] {
    [one(query, a), one(query, b), one(query, c), one(query, d)]
}

#[inline]
#[target_feature(enable = "neon")]
fn one(query: &[i8], row: &[u8]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 2];
    for (query, row) in query.as_chunks::<STEP>().0.iter().zip(row.as_chunks::<STEP>().0) {
        sums = step(sums, query, row);
    }
    let [low, high] = sums;
    vaddvq_s32(vaddq_s32(low, high))
}

#[inline]
#[target_feature(enable = "neon")]
fn step([low, high]: [int32x4_t; 2], query: &[i8; STEP], row: &[u8; STEP]) -> [int32x4_t; 2] {
    // SAFETY: 8 readable bytes, and the instruction asks for no alignment.
    let query = vmovl_s8(unsafe { vld1_s8(query.as_ptr()) });
    // SAFETY: as above.
    let row = vreinterpretq_s16_u16(vmovl_u8(unsafe { vld1_u8(row.as_ptr()) }));
    [
        vmlal_s16(low, vget_low_s16(row), vget_low_s16(query)),
        vmlal_s16(high, vget_high_s16(row), vget_high_s16(query)),
    ]
}
