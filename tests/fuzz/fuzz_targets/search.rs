//! Search on a file whose sections hold any bytes but whose digests are all valid: what a hostile author would sign.
//! The input says which bytes of a sound snapshot are overwritten with what.
#![no_main]

use std::sync::OnceLock;

use karute_engine::{Draft, GraphSettings, Identity, Index, Passage, Precision, Provenance, Row};
use libfuzzer_sys::fuzz_target;

#[path = "../exercise.rs"]
mod exercise;
#[path = "../../support/forge.rs"]
#[allow(dead_code)]
mod forge;

fn sound(precision: Precision) -> &'static forge::Forge {
    static SOUND: [OnceLock<forge::Forge>; 2] = [const { OnceLock::new() }; 2];
    SOUND[precision as usize].get_or_init(|| {
        let mut draft = Draft::new(Identity::new("fuzz", "four", 4));
        draft.set_precision(precision).expect("an empty draft");
        draft.set_graph(Some(GraphSettings { degree: 3, ..GraphSettings::default() }));
        for number in 0..8 {
            let row = Row {
                id: format!("r{number}"),
                client_id: format!("CL-{}", number % 3),
                domain: "nursing".into(),
                content: "体温は36.5℃。".into(),
                tags: vec!["熱".into()],
                ..Row::default()
            };
            draft.push(&row, &[Passage::whole(&row, &[0.5, -0.5, 0.5, 0.5])]).expect("a sound row");
        }
        forge::Forge::open(&draft.finish(Provenance::default()).expect("a draft").to_bytes())
    })
}

fuzz_target!(|bytes: &[u8]| {
    // An odd length asks for vectors in half precision.
    let mut forged = sound(Precision::ALL[bytes.len() % 2]).clone();
    let count = forged.sections.len();
    // Each edit is five bytes: section, position (two), what to do, value.
    for edit in bytes.as_chunks::<5>().0.iter().take(32) {
        let section = &mut forged.sections[edit[0] as usize % count].bytes;
        let at = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % (section.len() + 1);
        match edit[3] % 4 {
            0 => section.truncate(at),
            1 => section.insert(at, edit[4]),
            _ => {
                if let Some(byte) = section.get_mut(at) {
                    *byte = edit[4];
                }
            }
        }
    }
    if let Ok(index) = Index::from_slice(&forged.sign()) {
        exercise::exercise(&index);
    }
});
