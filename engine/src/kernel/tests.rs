//! Every kernel against the portable one, and that one against plain sums.

use super::{BLOCK, Kernel, NO_ROW, scalar};
use proptest::prelude::*;

/// The oracle: summed one by one in double precision.
fn naive(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Bytes that look random and cost nothing to make.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

fn floats(seed: u64, length: usize) -> Vec<f32> {
    bytes(seed, length).into_iter().map(|byte| (f32::from(byte) - 127.3) / 61.7).collect()
}

proptest! {
    #[test]
    fn the_dot_product_stays_within_its_rounding_bound(
        pairs in prop::collection::vec((-10.0f32..10.0, -10.0f32..10.0), 0..300)
    ) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let magnitude: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a * b).abs()).sum();
        let bound = f64::from(f32::EPSILON) * (a.len() as f64 + 1.0) * magnitude + 1e-30;
        prop_assert!((f64::from(scalar::dot(&a, &b)) - naive(&a, &b)).abs() <= bound);
    }

    #[test]
    fn every_kernel_scores_rows_as_the_portable_one_at_any_alignment(
        seed: u64, blocks in 0usize..50, rows in 0usize..19, shift in 0usize..64,
        ids in prop::collection::vec(0u32..24, 0..40),
    ) {
        let stride = blocks * BLOCK;
        let (codes, query) = (bytes(seed, shift + rows * stride), bytes(seed ^ 77, shift + stride));
        let codes = &codes[shift..];
        let query: Vec<i8> = query[shift..].iter().map(|&byte| byte as i8).collect();
        let (mut expected, mut expected_of) = (vec![0; rows], vec![0; ids.len()]);
        (scalar::KERNEL.scores)(&query, codes, &mut expected);
        (scalar::KERNEL.gather)(&query, codes, &ids, &mut expected_of);
        for (&id, &score) in ids.iter().zip(&expected_of) {
            let there = expected.get(id as usize).copied();
            prop_assert_eq!(score, if stride == 0 { 0 } else { there.unwrap_or(NO_ROW) });
        }
        for kernel in Kernel::all() {
            let (mut found, mut found_of) = (vec![1; rows], vec![1; ids.len()]);
            (kernel.scores)(&query, codes, &mut found);
            (kernel.gather)(&query, codes, &ids, &mut found_of);
            prop_assert_eq!(&found, &expected, "{:?}", kernel);
            prop_assert_eq!(&found_of, &expected_of, "{:?}", kernel);
        }
    }
}

#[test]
fn every_kernel_gives_the_same_dot_product_to_the_last_bit_at_all_lengths() {
    let (a, b) = (floats(3, 4_120), floats(5, 4_120));
    for length in 1..=4_100 {
        for shift in [0, 1, 7] {
            let (a, b) = (&a[shift..shift + length], &b[shift + 3..shift + 3 + length]);
            let expected = scalar::dot(a, b);
            for kernel in Kernel::all() {
                assert_eq!((kernel.dot)(a, b).to_bits(), expected.to_bits(), "{kernel:?}, {length}");
                let (mut codes, mut expected) = (vec![9; length + 1], vec![9; length + 1]);
                let lost = (scalar::KERNEL.encode)(a, 0.013, &mut expected);
                assert_eq!(
                    (kernel.encode)(a, 0.013, &mut codes).to_bits(),
                    lost.to_bits(),
                    "{kernel:?}, {length}"
                );
                assert_eq!(codes, expected, "{kernel:?}, {length}");
            }
        }
    }
}

#[test]
fn extreme_values_neither_saturate_nor_overflow() {
    let stride = 16_384;
    for (code, q) in [(255u8, 127i8), (255, -128), (0, -128), (255, -1)] {
        let (codes, query) = (vec![code; stride * 5], vec![q; stride]);
        let expected = i32::from(code) * i32::from(q) * stride as i32;
        for kernel in Kernel::all() {
            let mut found = [0; 5];
            (kernel.scores)(&query, &codes, &mut found);
            assert_eq!(found, [expected; 5], "{kernel:?}");
        }
    }
    for extreme in [f32::MAX, f32::MIN_POSITIVE / 2.0, f32::INFINITY, f32::NAN, -0.0] {
        let (a, b) = (vec![extreme; 37], vec![2.0f32; 37]);
        let expected = scalar::dot(&a, &b);
        for kernel in Kernel::all() {
            let found = (kernel.dot)(&a, &b);
            let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{kernel:?}: {extreme} gives {found}, not {expected}");
        }
    }
}

#[test]
fn vectors_shorter_than_a_block_are_summed_whole_and_a_surplus_is_ignored() {
    assert_eq!(super::dot(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 32.0);
    assert_eq!(super::dot(&[], &[]), 0.0);
    let long = vec![1.0; 40];
    assert_eq!(super::dot(&long, &long[..20]), 20.0);
}
