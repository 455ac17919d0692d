//! Server-sent events of any bytes, cut anywhere: wherever the cuts fall, the same events come out.

#![no_main]

use karute_sync::generate::sse::{Event, Parser};
use libfuzzer_sys::fuzz_target;

fn events(pieces: impl Iterator<Item = Vec<u8>>) -> Option<Vec<Event>> {
    let mut parser = Parser::default();
    let mut found = Vec::new();
    for piece in pieces {
        found.extend(parser.feed(&piece).ok()?);
    }
    found.extend(parser.finish());
    Some(found)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&stride, bytes)) = bytes.split_first() else { return };
    let cut = events(bytes.chunks(usize::from(stride).max(1)).map(<[u8]>::to_vec));
    assert_eq!(cut, events(std::iter::once(bytes.to_vec())));
});
