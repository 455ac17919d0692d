//! Does a text affirm what a record denies, or deny what it affirms? Both are cut into clauses; each clause of the text is held
//! against the clauses of the record that speak of the same.

use karute_engine::words::{Feature, Script, features, normalise};

/// Ways to deny in Japanese.
const DENIALS: [&str; 26] = [
    "なし",
    "ない",
    "なく",
    "ません",
    "なかった",
    "無し",
    "無く",
    "せず",
    "れず",
    "られず",
    "わず",
    "かず",
    "めず",
    "しず",
    "きず",
    "いず",
    "陰性",
    "未実施",
    "不要",
    "中止",
    "やめ",
    "禁止",
    "消失",
    "拒否",
    "見合わせ",
    "不可",
];

/// Words that hold such a piece and deny nothing, or that ask for something to be done.
const NO_DENIALS: [&str; 17] = [
    "なければなりません",
    "なければならない",
    "しなければ",
    "かもしれません",
    "かもしれない",
    "すみません",
    "少ない",
    "少なく",
    "少なかった",
    "危ない",
    "おこなっ",
    "おこない",
    "行ない",
    "行なっ",
    "なくな",
    "必ず",
    "まず",
];

/// Ways to deny in English, as words.
const ENGLISH: [&str; 21] = [
    "no",
    "not",
    "never",
    "without",
    "none",
    "nor",
    "neither",
    "cannot",
    "denies",
    "denied",
    "deny",
    "absent",
    "negative",
    "stopped",
    "discontinued",
    "refused",
    "declined",
    "nobody",
    "nothing",
    "hasnt",
    "free",
];

/// The least share of a clause that a clause of the record must hold to speak of the same.
const SAME: f32 = 0.5;
/// Clauses that hold nearly as much as the best speak of the same too.
const NEARLY: f32 = 0.85;

/// A clause: what it speaks of, and whether it denies.
struct Clause {
    pieces: Vec<Feature>,
    denies: bool,
}

/// Whether some clause of `text` says the opposite of what all clauses of `records` that speak of the same say.
pub(super) fn contradicts(text: &str, records: &[String]) -> bool {
    let said: Vec<Clause> = records.iter().flat_map(|record| clauses(record)).collect();
    clauses(text).iter().any(|clause| {
        let shares: Vec<f32> = said.iter().map(|other| share(clause, other)).collect();
        let best = shares.iter().copied().fold(0.0, f32::max);
        let same: Vec<&Clause> = said
            .iter()
            .zip(&shares)
            .filter(|(_, share)| **share >= best * NEARLY)
            .map(|(other, _)| other)
            .collect();
        best >= SAME && !same.is_empty() && same.iter().all(|other| other.denies != clause.denies)
    })
}

/// The share of `clause` that `other` holds.
fn share(clause: &Clause, other: &Clause) -> f32 {
    let (mut all, mut found) = (0.0, 0.0);
    for piece in &clause.pieces {
        all += piece.weight;
        let there = other.pieces.binary_search_by_key(&piece.hash, |own| own.hash).is_ok();
        found += if there { piece.weight } else { 0.0 };
    }
    if all > 0.0 { found / all } else { 0.0 }
}

fn clauses(text: &str) -> Vec<Clause> {
    let pieces =
        text.split(['、', '。', '，', ',', ';', '；', '\n', '！', '？', '!', '?', '(', ')', '（', '）']);
    let pieces = pieces
        .flat_map(|piece| piece.split(". "))
        .flat_map(|piece| piece.split(" but "))
        .flat_map(|piece| piece.split(" and "));
    pieces.filter_map(clause).collect()
}

/// A clause, if it speaks of anything.
fn clause(text: &str) -> Option<Clause> {
    let lower = text.to_lowercase().replace(['\'', '’'], "");
    let japanese = NO_DENIALS.iter().fold(lower.clone(), |text, word| text.replace(word, " "));
    let denials = DENIALS.iter().filter(|denial| japanese.contains(*denial)).count() > 0;
    let is_denial = |word: &str| {
        ENGLISH.contains(&word)
            || word.len() > 3 && word.ends_with("nt") && word.len() <= 8 && CONTRACTED.contains(&word)
    };
    let english = lower.split(|char: char| !char.is_alphanumeric()).any(is_denial);
    // What it speaks of: everything but the words that affirm or deny, and particles.
    let told = ["認め", "見られ", "みられ", "出てい", "異常所見"]
        .iter()
        .fold(japanese, |text, word| text.replace(word, " "));
    let told = DENIALS.iter().fold(told, |text, word| text.replace(word, " "));
    let told: String = told
        .split(' ')
        .filter(|word| !is_denial(word) && !FILLERS.contains(word))
        .collect::<Vec<_>>()
        .join(" ");
    let telling = |script: Script| matches!(script, Script::Han | Script::Katakana | Script::Letter);
    normalise(&told).iter().any(|symbol| telling(symbol.script)).then(|| {
        let pieces = features(&told).into_iter().filter(|piece| piece.weight > 0.1).collect();
        Clause { pieces, denies: denials || english }
    })
}

const CONTRACTED: [&str; 12] = [
    "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "hasnt", "havent", "wont", "couldnt",
    "cant",
];

/// Words of English that say nothing of what a clause speaks of.
const FILLERS: [&str; 34] = [
    "the", "a", "an", "is", "are", "was", "were", "has", "have", "had", "does", "do", "did", "of", "in",
    "on", "at", "to", "for", "with", "she", "he", "they", "it", "her", "his", "any", "there", "been", "be",
    "patient", "client", "by", "as",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn opposed(text: &str, record: &str) -> bool {
        contradicts(text, &[record.to_owned()])
    }

    #[test]
    fn a_flipped_statement_is_found_in_both_languages() {
        for (text, record) in [
            ("発熱はありません", "発熱あり、食欲良好。"),
            ("痛みがあります", "痛みはなし。"),
            ("アレルギーがあります", "薬剤アレルギーなし。"),
            ("The patient has a fever", "No fever."),
            ("She does not have pain", "She has pain in the left knee."),
        ] {
            assert!(opposed(text, record), "{text} / {record}");
        }
    }

    #[test]
    fn the_same_statement_in_other_words_is_not() {
        for (text, record) in [
            ("発熱はありません", "発熱なし。"),
            ("発熱は見られませんでした", "発熱は認めず、食欲良好。"),
            ("痛みはないとのことです", "「痛みはない」と話す。"),
            ("There is no fever", "The patient denies fever."),
            ("She doesn't have pain", "Pain: none."),
            ("毎日必ず体重を測ります", "毎日体重を測る。"),
        ] {
            assert!(!opposed(text, record), "{text} / {record}");
        }
    }
}
