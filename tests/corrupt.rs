//! Fear: a damaged or hostile file that is believed. Every damage must end in a typed error or be provably harmless,
//! and nothing may panic, before anything was verified as well as behind it.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use karute_engine::{
    ClientName, Draft, Embedding, Facet, Filter, Front, GraphSettings, Identity, Index, OpenError, Passage,
    Plan, Precision, Provenance, Query, Row, Term, diff,
};
use karute_tests::forge::{ENTRY, Forge, HEADER, sign_table};
use karute_tests::snapshots::sealed;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const DIMENSIONS: u32 = 24;
const ROWS: usize = 60;

fn identity() -> Identity {
    Identity::new("test", "random", DIMENSIONS)
}

/// A snapshot with something in every section.
fn sound() -> Vec<u8> {
    sound_in(Precision::F32)
}

/// As [`sound`], its vectors in `precision`.
fn sound_in(precision: Precision) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut draft = Draft::new(identity());
    draft.set_precision(precision).expect("an empty draft");
    draft.set_graph(Some(GraphSettings { degree: 4, ..GraphSettings::default() }));
    for number in 0..ROWS {
        let row = Row {
            id: format!("KB_{:03}", (number * 37) % ROWS),
            domain: ["nursing", "calls"][number % 2].into(),
            source_type: "care_record".into(),
            client_id: format!("CL-{}", number % 5),
            title: "訪問記録".into(),
            content: format!("体温は36.{}℃。食欲あり。", number % 10),
            tags: vec!["熱".into()],
            ..Row::default()
        };
        let vector: Vec<f32> = (0..DIMENSIONS).map(|_| random.random_range(-1.0..1.0)).collect();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        let vector: Vec<f32> = vector.iter().map(|x| x / norm).collect();
        draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
    }
    draft.set_terms(vec![Term {
        canonical: "発熱".into(),
        synonyms: vec!["熱発".into()],
        ..Term::default()
    }]);
    draft.set_clients(vec![ClientName {
        id: "CL-1".into(),
        name: "江口 照男".into(),
        ..ClientName::default()
    }]);
    draft
        .finish(Provenance { source: "book.xlsx".into(), ..Provenance::default() })
        .expect("a draft")
        .to_bytes()
}

/// Does with an opened index everything that can be done, and verifies it last. What each call returns does not matter
/// here; that it returns does.
fn exercise(index: &Index) -> Result<(), OpenError> {
    let dimensions = index.identity().dimensions as usize;
    let question = Embedding::new(index.identity().clone(), vec![0.5; dimensions.min(1 << 16)]);
    let _ = index.keyword_search(&karute_engine::lexical::tokens::counted("体温と食欲"), 5, None);
    let day = |text: &str| text.parse().expect("a day");
    let filters = [
        Filter::everything(),
        Filter::everything().days(day("2020-01-01"), day("2027-01-01")).ids(["KB_001", "KB_059", ""]),
        Filter::everything().only(Facet::Client, ["CL-1"]).only(Facet::Domain, ["nursing", "calls"]),
    ];
    let plans = [Plan::Auto, Plan::Exact, Plan::Graph { ef_search: 8 }];
    for (filter, plan) in filters.iter().flat_map(|filter| plans.map(|plan| (filter, plan))) {
        if let Ok(hits) = index.search(&Query::new(&question).top(5).within(filter).plan(plan)) {
            for hit in hits {
                assert!(hit.row < index.len());
                let _ = index.passage_range(hit.passage);
            }
        }
    }
    for number in (0..index.len().min(100)).chain([index.len(), u32::MAX]) {
        let _ = (index.row(number), index.passages_of(number), index.passage_range(number));
    }
    let _ = (index.report(), index.terms(), index.provenance(), index.sections());
    let _ = index.rows_by_id().map(|rows| rows.take(100).filter(Result::is_ok).count());
    let _ = diff(index, index);
    index.verify().map(drop)
}

fn judge(bytes: &[u8]) -> Result<(), OpenError> {
    Index::from_slice(bytes).and_then(|index| exercise(&index))
}

#[test]
fn the_sound_snapshot_and_one_put_together_again_are_sound() {
    for precision in Precision::ALL {
        let sound = sound_in(precision);
        judge(&sound).expect("sound");
        assert_eq!(Forge::open(&sound).sign(), sound, "the forge follows the format document");
    }
}

#[test]
fn each_altered_byte_of_header_table_and_metadata_is_detected() {
    let sound = sound();
    let index = Index::from_slice(&sound).expect("sound");
    let metadata = index.sections().iter().take(3).map(|entry| entry.offset..entry.offset + entry.length);
    let table = 0..(HEADER + index.sections().len() * ENTRY) as u64;
    for at in std::iter::once(table).chain(metadata).flatten() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = sound.clone();
            damaged[at as usize] ^= change;
            assert!(Index::from_slice(&damaged).is_err(), "byte {at} xor {change:#x} was believed at open");
        }
    }
}

/// Flips and cuts, seeded; the deep run asks for more of them.
fn count(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn random_damage_is_detected_wherever_it_lies() {
    let sound = sound_in(Precision::F16);
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..count("KARUTE_TEST_FLIPS", 20_000) {
        let at = random.random_range(0..sound.len());
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << random.random_range(0..8);
        // The bytes between sections, too.
        assert!(judge(&damaged).is_err(), "byte {at} was changed and nobody noticed");
    }
    for _ in 0..count("KARUTE_TEST_CUTS", 2_000) {
        let mut damaged = sound.clone();
        if random.random_bool(0.5) {
            damaged.truncate(random.random_range(0..sound.len()));
        } else {
            let more = random.random_range(1..10_000);
            damaged.extend((0..more).map(|_| random.random::<u8>()));
        }
        assert!(Index::from_slice(&damaged).is_err(), "a file of {} bytes was believed", damaged.len());
    }
}

const META: u32 = 1;
const PROVENANCE: u32 = 2;
const TERMS: u32 = 3;
const FACETS: u32 = 4;
const PASSAGES: u32 = 5;
const ROW_ORDER: u32 = 6;
const ROW_ENDS: u32 = 7;
const REPORT: u32 = 8;
const ROWS_SECTION: u32 = 9;
const VECTORS: u32 = 10;
const CODES: u32 = 11;
const GRAPH: u32 = 12;
const LEXICAL: u32 = 14;
const DAYS: u32 = 13;
/// Bytes of the headers of the codes and of the graph section.
const CODES_HEADER: usize = 64;
const GRAPH_HEADER: usize = 256;

/// Valid checksums, wrong meaning: each of these is signed as its author would sign it.
#[test]
fn a_signed_lie_is_detected() {
    let f32_bytes = |value: f32| value.to_le_bytes();
    type Lie<'a> = (&'a str, &'a dyn Fn(&mut Forge));
    let lies: &[Lie<'_>] = &[
        ("a passage of row n", &|f| f.put_u32(PASSAGES, 0, ROWS as u32)),
        ("a passage of row 2^32-1", &|f| f.put_u32(PASSAGES, 12, u32::MAX)),
        ("a passage that begins behind its end", &|f| f.put_u32(PASSAGES, 4, 9_999)),
        ("a passage that ends outside", &|f| f.put_u32(PASSAGES, 8, u32::MAX)),
        ("a passage that cuts a character", &|f| f.put_u32(PASSAGES, 8, 1)),
        ("passages out of order", &|f| {
            f.put_u32(PASSAGES, 0, 5);
        }),
        ("row ends that go back", &|f| f.put_u64(ROW_ENDS, 8, 0)),
        ("a row end past the section", &|f| f.put_u64(ROW_ENDS, 16, 1 << 40)),
        ("a row end at 2^64-1", &|f| f.put_u64(ROW_ENDS, 8, u64::MAX)),
        ("row ends of zero", &|f| f.bytes(ROW_ENDS).fill(0)),
        ("row order naming row n", &|f| f.put_u32(ROW_ORDER, 0, ROWS as u32)),
        ("row order naming a row twice", &|f| {
            let again = f.bytes(ROW_ORDER)[..4].to_vec();
            f.bytes(ROW_ORDER)[4..8].copy_from_slice(&again);
        }),
        ("row order reversed", &|f| f.bytes(ROW_ORDER).as_chunks_mut::<4>().0.reverse()),
        ("a facet of row n", &|f| f.put_u32(FACETS, 0, ROWS as u32)),
        ("a facet of a row that lacks it", &|f| {
            let first = u32::from_le_bytes(std::array::from_fn(|i| f.bytes(FACETS)[i]));
            f.put_u32(FACETS, 0, first ^ 1);
        }),
        ("a NaN in a vector", &|f| f.bytes(VECTORS)[..4].copy_from_slice(&f32_bytes(f32::NAN))),
        ("an infinity in a vector", &|f| f.bytes(VECTORS)[..4].copy_from_slice(&f32_bytes(f32::INFINITY))),
        ("a vector of length five", &|f| f.bytes(VECTORS)[..4].copy_from_slice(&f32_bytes(5.0))),
        ("a vector of zeros", &|f| f.bytes(VECTORS)[..DIMENSIONS as usize * 4].fill(0)),
        ("vectors that end early", &|f| f.bytes(VECTORS).truncate(40)),
        ("vectors of no whole number", &|f| {
            f.bytes(VECTORS).pop();
        }),
        ("a day that the row does not have", &|f| f.put_u32(DAYS, 0, 20_261_125)),
        ("days of fewer rows", &|f| f.bytes(DAYS).truncate(8)),
        ("a scale of zero", &|f| f.bytes(CODES)[..4].fill(0)),
        ("a scale that is no number", &|f| f.bytes(CODES)[..4].copy_from_slice(&f32_bytes(f32::NAN))),
        ("another scale", &|f| f.bytes(CODES)[..4].copy_from_slice(&f32_bytes(0.5))),
        ("another stride", &|f| f.put_u32(CODES, 4, 128)),
        ("codes of another vector", &|f| f.bytes(CODES)[CODES_HEADER] ^= 1),
        ("an error that is understated", &|f| {
            let at = f.bytes(CODES).len() - 4;
            f.bytes(CODES)[at..].fill(0);
        }),
        ("codes that end early", &|f| {
            f.bytes(CODES).pop();
        }),
        ("words of another number of rows", &|f| f.put_u32(LEXICAL, 4, ROWS as u32 + 1)),
        ("2^32-1 tokens", &|f| f.put_u32(LEXICAL, 0, u32::MAX)),
        ("2^32-1 postings", &|f| f.put_u32(LEXICAL, 8, u32::MAX)),
        ("a k1 of zero", &|f| f.bytes(LEXICAL)[12..16].fill(0)),
        ("a k1 that is no number", &|f| f.bytes(LEXICAL)[12..16].copy_from_slice(&f32_bytes(f32::NAN))),
        ("a token twice", &|f| {
            let first = f.bytes(LEXICAL)[64..72].to_vec();
            f.bytes(LEXICAL)[72..80].copy_from_slice(&first);
        }),
        ("postings that end before they begin", &|f| {
            let tokens = u32::from_le_bytes(f.bytes(LEXICAL)[..4].try_into().expect("four bytes")) as usize;
            f.put_u32(LEXICAL, 64 + tokens * 8, u32::MAX);
        }),
        ("a word of a row that is not there", &|f| {
            let tokens = u32::from_le_bytes(f.bytes(LEXICAL)[..4].try_into().expect("four bytes")) as usize;
            f.put_u32(LEXICAL, 64 + tokens * 12, ROWS as u32);
        }),
        ("neighbour n", &|f| f.put_u32(GRAPH, GRAPH_HEADER, ROWS as u32)),
        ("neighbour 2^31", &|f| f.put_u32(GRAPH, GRAPH_HEADER + 4, 1 << 31)),
        ("a node that is its own neighbour", &|f| f.put_u32(GRAPH, GRAPH_HEADER, 0)),
        ("a node without neighbours before others", &|f| f.put_u32(GRAPH, GRAPH_HEADER, u32::MAX)),
        ("a graph without edges", &|f| f.bytes(GRAPH)[GRAPH_HEADER..][..ROWS * 4 * 4].fill(0xff)),
        ("a graph of fewer nodes", &|f| f.put_u32(GRAPH, 0, ROWS as u32 - 1)),
        ("a graph of another degree", &|f| f.put_u32(GRAPH, 4, 8)),
        ("a degree of 2^32-1", &|f| f.put_u32(GRAPH, 4, u32::MAX)),
        ("an upper degree of 2^32-1", &|f| f.put_u32(GRAPH, 8, u32::MAX)),
        ("a graph of 2^32-1 layers", &|f| f.put_u32(GRAPH, 12, u32::MAX)),
        ("an entry that does not exist", &|f| f.put_u32(GRAPH, 16, u32::MAX)),
        ("a curve of too many points", &|f| f.put_u32(GRAPH, 32, 17)),
        ("a layer of 2^32-1 nodes", &|f| f.put_u32(GRAPH, 192, u32::MAX)),
        ("a slot that stands for another node", &|f| {
            let at = f.bytes(GRAPH).len() - 4 * 18;
            f.put_u32(GRAPH, at, u32::MAX - 1);
        }),
        ("a passage too many", &|f| f.bytes(PASSAGES).extend([0; 12])),
        ("half a passage", &|f| f.bytes(PASSAGES).truncate(18)),
        ("a row order that is short", &|f| f.bytes(ROW_ORDER).truncate(8)),
        ("row ends that are short", &|f| f.bytes(ROW_ENDS).truncate(8)),
        ("rows of zeros", &|f| f.bytes(ROWS_SECTION).fill(0)),
        ("rows of ones", &|f| f.bytes(ROWS_SECTION).fill(0xff)),
        ("no rows", &|f| f.bytes(ROWS_SECTION).clear()),
        ("two rows of one length swapped", &|f| {
            let end = |f: &mut Forge, row: usize| {
                u64::from_le_bytes(std::array::from_fn(|i| f.bytes(ROW_ENDS)[row * 8 + i])) as usize
            };
            let (first, second) = (end(f, 0), end(f, 1));
            let start = first.next_multiple_of(16);
            assert_eq!(first, second - start, "rows of one length");
            let (a, b) = f.bytes(ROWS_SECTION)[..second].split_at_mut(start);
            a[..first].swap_with_slice(b);
        }),
        ("a report that is no text", &|f| *f.bytes(REPORT) = vec![0xff, 0xfe]),
        ("no provenance", &|f| f.bytes(PROVENANCE).clear()),
        ("a provenance of ones", &|f| f.bytes(PROVENANCE).fill(0xff)),
        ("terms of ones", &|f| f.bytes(TERMS).fill(0xff)),
        ("terms cut short", &|f| f.bytes(TERMS).truncate(5)),
        ("no meta", &|f| f.bytes(META).clear()),
        ("meta and provenance exchanged", &|f| {
            let meta = std::mem::take(f.bytes(META));
            let provenance = std::mem::replace(f.bytes(PROVENANCE), meta);
            *f.bytes(META) = provenance;
        }),
        ("a section left out", &|f| {
            f.sections.retain(|section| section.kind != PASSAGES);
        }),
        ("a section twice", &|f| {
            let again = f.section(VECTORS).clone();
            f.sections.push(again);
        }),
        ("two sections exchanged", &|f| f.sections.swap(4, 5)),
        ("a section of an unknown kind that must not be skipped", &|f| {
            let unknown = karute_tests::forge::Section { kind: 77, flags: 0, ..f.sections[3].clone() };
            f.sections.push(unknown);
        }),
        ("vectors of another precision", &|f| f.section(VECTORS).version ^= 3),
        ("vectors of a later layout", &|f| f.section(VECTORS).version = 3),
        ("a section of a later layout", &|f| f.section(ROWS_SECTION).version = 2),
        ("another alignment", &|f| f.section(VECTORS).alignment = 64),
        ("no sections at all", &|f| f.sections.clear()),
    ];
    assert!(lies.len() >= 30);
    for precision in Precision::ALL {
        let sound = sound_in(precision);
        for (lie, tell) in lies {
            let mut forge = Forge::open(&sound);
            tell(&mut forge);
            let judged = judge(&forge.sign());
            assert!(judged.is_err(), "{lie}: believed in {precision:?}");
        }
    }
}

#[test]
fn a_signed_table_that_contradicts_itself_is_refused_at_open() {
    let sound = sound();
    let sections = Forge::open(&sound).sections.len();
    for entry in 0..sections {
        let at = HEADER + entry * ENTRY;
        for (field, width) in [(0, 4), (4, 4), (8, 8), (16, 8), (24, 4), (28, 4)] {
            for value in [0u64, 1, 63, 4096, 1 << 31, u64::from(u32::MAX), 1 << 40, u64::MAX] {
                let mut damaged = sound.clone();
                damaged[at + field..at + field + width].copy_from_slice(&value.to_le_bytes()[..width]);
                if damaged == sound {
                    continue;
                }
                sign_table(&mut damaged, sections);
                assert!(judge(&damaged).is_err(), "entry {entry}, field {field} = {value}");
            }
        }
    }
    for (at, value) in [(12, 0u32), (12, 65), (12, u32::MAX), (8, 0), (8, 2), (88, 1), (124, 1 << 31)] {
        let mut damaged = sound.clone();
        damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
        sign_table(&mut damaged, sections);
        assert!(judge(&damaged).is_err(), "header field at {at} = {value}");
    }
}

/// Every number in the metadata, made as large as can be: inflated dimensions, counts and facet ranges among them.
#[test]
fn signed_metadata_with_any_number_inflated_never_misleads() {
    let sound = sound();
    let length = Forge::open(&sound).section(META).bytes.len();
    let mut refused = 0;
    for at in (0..length - 3).step_by(4) {
        for value in [u32::MAX, 1 << 31, 1 << 16, 0] {
            let mut forge = Forge::open(&sound);
            forge.put_u32(META, at, value);
            refused += usize::from(judge(&forge.sign()).is_err());
        }
    }
    // The rest changed a letter of a name, which is another snapshot, not a damaged one.
    assert!(refused > length / 4, "{refused} of {length}");
}

#[test]
fn what_opens_says_the_same_as_what_was_sealed() {
    let sealed = sealed(&["a", "b"], "2026-01-01T00:00:00Z");
    let index = Index::from_slice(&sealed.to_bytes()).expect("a snapshot");
    assert_eq!(index.id(), sealed.id());
    exercise(&index).expect("sound");
}

/// Whether a file passes, cut into pieces of `stride` bytes.
fn passes(file: &[u8], length: usize, stride: usize) -> Result<(), OpenError> {
    let front = &file[..file.len().min(Front::LONGEST as usize)];
    let mut passing = Front::of(front, length as u64)?.into_passing();
    file.chunks(stride).try_for_each(|piece| passing.feed(piece))?;
    passing.finish()
}

#[test]
fn what_passes_by_is_sound_to_its_last_byte_wherever_it_is_cut() {
    let sound = sound();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for stride in [1, 7, 64, 4_096, 1 << 20] {
        passes(&sound, sound.len(), stride).expect("sound");
    }
    for number in 0..2_000 {
        let (at, stride) = (random.random_range(0..sound.len()), random.random_range(1..9_000));
        let mut flipped = sound.clone();
        flipped[at] ^= 1 << (number % 8);
        assert!(passes(&flipped, sound.len(), stride).is_err(), "byte {at} in pieces of {stride}");
        assert!(passes(&sound[..at], sound.len(), stride).is_err(), "it ends at {at}");
    }
    let longer = [&sound[..], &[0]].concat();
    assert!(passes(&longer, sound.len(), 100).is_err() && passes(&longer, longer.len(), 100).is_err());
}
