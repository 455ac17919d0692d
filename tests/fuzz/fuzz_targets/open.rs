//! Any bytes given to `Index::open`, then to everything that an opened index does.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = karute_engine::Index::from_slice(bytes) {
        exercise::exercise(&index);
    }
});
