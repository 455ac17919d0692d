//! Karute's keyword search scores as tantivy does, where both count the same.

use std::collections::HashMap;

use karute_engine::lexical::tokens::{counted, tokens};
use karute_engine::{Draft, Identity, Index, LexicalSettings, Provenance, Row};
use karute_tantivy::{B, EXACT_LENGTH, K1, Tantivy};
use proptest::prelude::*;

const WORDS: [&str; 12] = [
    "体温",
    "血圧120/80",
    "バルーン",
    "交換",
    "発熱38.5℃",
    "pain",
    "insulin",
    "訪問",
    "の",
    "5mg",
    "浮腫",
    "symptoms",
];

/// One field, with tantivy's parameters.
fn index(texts: &[String]) -> Index {
    let mut draft = Draft::new(Identity::new("none", "none", 4));
    let settings = LexicalSettings { k1: K1, b: [B; 4], weight: [0.0, 1.0, 0.0, 0.0] };
    draft.set_lexical(settings);
    for (number, content) in texts.iter().enumerate() {
        draft
            .push(&Row { id: number.to_string(), content: content.clone(), ..Row::default() }, &[])
            .expect("a row");
    }
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_same_rows_with_the_same_scores(
        texts in prop::collection::vec(prop::collection::vec(0usize..WORDS.len(), 1..6), 2..60),
        asked in prop::collection::vec(0usize..WORDS.len(), 1..5),
    ) {
        let spoken = |words: &[usize]| words.iter().map(|&word| WORDS[word]).collect::<Vec<_>>().join("、");
        let texts: Vec<String> = texts.iter().map(|words| spoken(words)).collect();
        let own: Vec<Vec<u64>> = texts.iter().map(|text| tokens(text)).collect();
        prop_assume!(own.iter().all(|tokens| tokens.len() <= EXACT_LENGTH));
        let asked = counted(&spoken(&asked));
        let ours = index(&texts).keyword_search(&asked, texts.len(), None).expect("sound").expect("words");
        let theirs = Tantivy::of(&own).expect("an index").search(&asked, texts.len()).expect("a search");
        // Karute gives the share of the most that could be reached, tantivy the sum itself.
        let holding = |token: u64| own.iter().filter(|tokens| tokens.contains(&token)).count() as f32;
        let all = texts.len() as f32;
        let idf = |token: u64| (1.0 + (all - holding(token) + 0.5) / (holding(token) + 0.5)).ln();
        let most: f32 = asked.iter().map(|&(token, weight)| weight * idf(token)).sum();
        let scores: HashMap<u32, f32> = theirs.iter().copied().collect();
        prop_assert_eq!(ours.len(), scores.len());
        for hit in &ours {
            let score = hit.score * most * (K1 + 1.0);
            let other = scores.get(&hit.row).copied().unwrap_or(f32::NAN);
            // Shares are kept in sixteen bits.
            prop_assert!((score - other).abs() <= 2e-4 * other + 1e-4, "row {}: {score} and {other}", hit.row);
        }
        // The same order, but for scores that sixteen bits cannot tell apart.
        for (at, hit) in ours.iter().enumerate() {
            prop_assert!((scores[&hit.row] - theirs[at].1).abs() <= 4e-4 * theirs[at].1 + 2e-4, "place {at}");
        }
    }
}
