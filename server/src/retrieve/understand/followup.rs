//! Questions that go on from earlier ones: その方は?, 体重は?, いつから?
//!
//! Such a question takes from the one before it what it lacks: the people, where it names nobody and points back or is
//! very short; all of it, where it has no word of its own to search by.

use super::names::{squeeze, written};
use super::wordlists::HONORIFICS;

/// What points back, before a word for a person: その患者さん, 同じ方.
const BACK: [&str; 8] = ["その", "この", "あの", "同じ", "上の", "さっきの", "先ほどの", "先程の"];
/// Words for a person, behind what points back.
const PERSON: [&str; 10] = ["方", "人は", "人の", "人が", "利用者", "患者", "入居者", "客様", "ばあ", "じい"];
/// Words that point back by themselves.
const ALONE: [&str; 4] = ["彼女", "彼は", "彼の", "本人"];

/// Words that point back at anything.
const THING: [&str; 14] = [
    "それは",
    "それで",
    "それを",
    "それの",
    "そのとき",
    "その時",
    "その後",
    "その前",
    "そのあと",
    "同じ日",
    "その薬",
    "その件",
    "ほかには",
    "他には",
];

/// Questions of at most so many characters are taken to go on from the one before, where that one names somebody.
const SHORT: usize = 12;

/// Letters that may be left of a question that has no topic of its own: は, では, の方は.
const NO_TOPIC: usize = 3;

/// Whether nothing is left of `question`, which is without its days, but `names`, honorifics and particles.
pub(super) fn lacks_a_topic(question: &str, names: &[String]) -> bool {
    let mut rest = squeeze(&written(question));
    for name in names {
        let name = written(name);
        let parts = [squeeze(&name)].into_iter().chain(name.split_whitespace().map(str::to_owned));
        for part in parts.filter(|part| !part.is_empty()) {
            rest = rest.replace(&part, "");
        }
    }
    for honorific in HONORIFICS {
        rest = rest.replace(honorific, "");
    }
    let left: Vec<char> = rest.chars().filter(|char| char.is_alphanumeric()).collect();
    left.len() <= NO_TOPIC && left.iter().all(|char| matches!(char, 'ぁ'..='ん'))
}

/// How a question goes on from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoesOn {
    /// It stands alone.
    No,
    /// It speaks of the same people.
    People,
    /// It speaks of the same thing.
    Thing,
}

/// Whether `question`, which names nobody, goes on from an earlier one.
pub(super) fn goes_on(question: &str) -> GoesOn {
    if THING.iter().any(|word| question.contains(word)) {
        return GoesOn::Thing;
    }
    let length = question.chars().filter(|char| char.is_alphanumeric()).count();
    let behind = |back: &str| {
        question.match_indices(back).any(|(at, _)| {
            let rest = &question[at + back.len()..];
            let rest = rest.strip_prefix(['ご', 'お', '御']).unwrap_or(rest);
            PERSON.iter().any(|word| rest.starts_with(word))
        })
    };
    let points = BACK.into_iter().any(behind) || ALONE.iter().any(|word| question.contains(word));
    match length <= SHORT || points {
        true => GoesOn::People,
        false => GoesOn::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_of_a_name_or_a_day_alone_lacks_a_topic() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(lacks_a_topic("奥寺さんは?", &of(&["奥寺 文子"])));
        assert!(lacks_a_topic("では、奥寺さんは", &of(&["奥寺"])));
        assert!(lacks_a_topic("は?", &[]));
        assert!(!lacks_a_topic("体重は?", &[]));
        assert!(!lacks_a_topic("奥寺さんの熱は", &of(&["奥寺 文子"])));
    }

    #[test]
    fn a_question_that_points_back_goes_on() {
        assert_eq!(goes_on("その方の、先月の訪問のときの体重はどうでしたか"), GoesOn::People);
        assert_eq!(goes_on("その患者さんの主治医の先生はどなたでしょうか"), GoesOn::People);
        assert_eq!(goes_on("この利用者さんのご家族の連絡先を詳しく教えて"), GoesOn::People);
        assert_eq!(goes_on("このご利用者様の訪問の予定を教えてください"), GoesOn::People);
        assert_eq!(goes_on("その人工呼吸器の設定はどうなっていますか"), GoesOn::No);
        assert_eq!(goes_on("体重は?"), GoesOn::People);
        assert_eq!(goes_on("それはいつからですか"), GoesOn::Thing);
        assert_eq!(goes_on("職員健診の受付は何時から何時までですか"), GoesOn::No);
    }
}
