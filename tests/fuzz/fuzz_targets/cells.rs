//! What Google Sheets answers, and what stands in the cells of vectors, may be anything.
#![no_main]

use karute_sync::google::sheets::Cells;
use karute_sync::numbers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(areas) = Cells::new(data.to_vec().into(), 1).areas() {
        for cell in areas.iter().flatten().flatten() {
            let _ = numbers::read(&cell.0, &mut Vec::new());
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let mut numbers = Vec::new();
        if numbers::read(text, &mut numbers).is_ok() {
            // What was read packs and is read again, to the last bit.
            let mut again = Vec::new();
            assert!(numbers::read(&numbers::Packing::F32.pack(&numbers), &mut again).is_ok());
            assert!(numbers.iter().map(|x| x.to_bits()).eq(again.iter().map(|x| x.to_bits())));
        }
    }
});
