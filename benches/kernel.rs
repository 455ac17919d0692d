//! What one comparison costs with each instruction set that this processor has: vectors in full precision, a block of codes
//! in a row, and codes picked from all over, as a walk over a graph picks them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use karute_engine::kernel::{BLOCK, Kernel};

/// Codes that `scores` compares in a call, and `gather` in one.
const BLOCK_ROWS: usize = 256;
const PICKED: usize = 32;
/// Rows that it picks from: more than the nearest caches hold.
const ROWS: usize = 20_000;

fn bench(criterion: &mut Criterion) {
    for dimensions in [384, 768, 3072] {
        assert!(dimensions % BLOCK == 0, "a row is whole blocks");
        let mut group = criterion.benchmark_group(format!("{dimensions} dimensions"));
        let vectors: [Vec<f32>; 2] =
            [3, 7].map(|step| (0..dimensions).map(|at| ((at * step % 29) as f32 - 14.0) / 14.0).collect());
        let query: Vec<i8> = (0..dimensions).map(|at| (at * 11 % 255) as u8 as i8).collect();
        let codes: Vec<u8> = (0..dimensions * ROWS).map(|at| ((at * 2_654_435_761) >> 24) as u8).collect();
        let picked: Vec<u32> = (0..PICKED).map(|at| (at * 7_919 * 13 % ROWS) as u32).collect();
        let mut sums = vec![0; BLOCK_ROWS];
        for kernel in Kernel::all() {
            let name = |what: &str| format!("{what}, {}", kernel.name);
            group.throughput(Throughput::Bytes(dimensions as u64 * 4));
            group.bench_function(name("two vectors of f32"), |bencher| {
                bencher.iter(|| (kernel.dot)(black_box(&vectors[0]), black_box(&vectors[1])));
            });
            group.throughput(Throughput::Bytes((dimensions * BLOCK_ROWS) as u64));
            group.bench_function(name(&format!("{BLOCK_ROWS} rows of codes")), |bencher| {
                let block = &codes[..dimensions * BLOCK_ROWS];
                bencher.iter(|| (kernel.scores)(black_box(&query), black_box(block), &mut sums));
            });
            group.throughput(Throughput::Bytes((dimensions * PICKED) as u64));
            group.bench_function(name(&format!("{PICKED} rows picked from {ROWS}")), |bencher| {
                let sums = &mut sums[..PICKED];
                bencher.iter(|| (kernel.gather)(black_box(&query), &codes, black_box(&picked), sums));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
