//! Pairs of opposites: a text that says one where its record says only the other has turned it round.

/// Each pair is two lists of words; a word of one list is the opposite of every word of the other.
const PAIRS: [(&[&str], &[&str]); 24] = [
    (&["陽性"], &["陰性"]),
    (&["右"], &["左"]),
    (&["増加", "増え", "増量", "増し", "増やし"], &["減少", "減っ", "減量", "減り", "減らし"]),
    (&["上昇", "上がっ"], &["低下", "下がっ", "下降"]),
    (&["改善", "軽快", "良くなっ"], &["悪化", "増悪", "悪くなっ"]),
    (&["食前"], &["食後"]),
    (&["入院"], &["退院"]),
    (&["可能", "できる", "できます"], &["不可", "できない", "できません"]),
    (&["拡大"], &["縮小"]),
    (&["仰臥位"], &["側臥位"]),
    (&["頻脈"], &["徐脈"]),
    (&["下痢"], &["便秘"]),
    (&["left"], &["right"]),
    (
        &["increase", "raised", "doubled", "higher", "gained"],
        &["decrease", "reduced", "halved", "lower", "lost"],
    ),
    (&["improv", "better"], &["worse"]),
    (&["positive"], &["negative"]),
    (&["before"], &["after"]),
    (&["larger", "bigger"], &["smaller"]),
    (&["faster"], &["slower"]),
    (&["opened"], &["closed", "intact"]),
    (&["accepted", "agreed"], &["refused", "declined"]),
    (&["upper"], &["lower"]),
    (&["constipat"], &["diarrh"]),
    (&["admitted"], &["discharged"]),
];

/// Words of which a text names one and its record only others: meals, days of the week.
const CHOICES: [&[&str]; 4] = [
    &["朝食", "昼食", "夕食"],
    &["月曜", "火曜", "水曜", "木曜", "金曜", "土曜", "日曜"],
    &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
    &["breakfast", "lunch", "dinner"],
];

/// Whether `text` says one of a pair where `evidence` says only the other. Both are folded.
pub(super) fn turned(text: &str, evidence: &str) -> bool {
    let holds = |text: &str, words: &[&str]| words.iter().any(|word| has(text, word));
    let pairs = PAIRS.iter().flat_map(|(a, b)| [(a, b), (b, a)]);
    let mut turned = pairs.map(|(own, other)| {
        holds(text, own) && !holds(text, other) && holds(evidence, other) && !holds(evidence, own)
    });
    let chosen = |choice: &&[&str]| {
        let named: Vec<&&str> = choice.iter().filter(|word| has(evidence, word)).collect();
        !named.is_empty() && choice.iter().any(|word| has(text, word) && !named.contains(&word))
    };
    turned.any(|turned| turned) || CHOICES.iter().any(chosen)
}

/// Whether `text` holds `word`; an English one at the beginning of a word.
fn has(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !word.is_ascii()
            || !text[..at].chars().next_back().is_some_and(|before| before.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::turned;

    #[test]
    fn what_is_turned_round_is_found_and_what_says_both_is_not() {
        for (text, evidence, expected) in [
            ("右の膝が痛む", "左膝に痛み", true),
            ("右の膝が痛む", "右膝に痛み、左は問題なし", false),
            ("体重は増えています", "体重は減少", true),
            ("夕食後に飲みます", "朝食後に1錠", true),
            ("the left heel", "right heel", true),
            ("it got worse", "improved since", true),
            ("before breakfast", "before breakfast and after dinner", false),
        ] {
            assert_eq!(turned(text, evidence), expected, "{text} / {evidence}");
        }
    }
}
