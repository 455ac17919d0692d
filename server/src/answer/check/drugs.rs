//! Names of drugs, known by how they end: generic names are made from stems that say what a drug is (WHO, "The use of stems
//! in the selection of International Nonproprietary Names"), and Japanese writes them as they sound.

use karute_engine::words::{Script, normalise};

/// How generic names end, as Japanese writes them, folded to hiragana.
const JAPANESE: [&str; 58] = [
    "じぴん",
    "ぷりる",
    "さるたん",
    "ろーる",
    "すたちん",
    "ぷらぞーる",
    "まいしん",
    "しりん",
    "さしん",
    "ふぇん",
    "ふぇなく",
    "みど",
    "ちあじど",
    "せみど",
    "ぞらむ",
    "ぜぱむ",
    "ぴでむ",
    "くろん",
    "ぺりどん",
    "ぴん",
    "ざぴん",
    "せちん",
    "らりん",
    "ふぁりん",
    "きさばん",
    "ばん",
    "ぐれる",
    "ぐりぷちん",
    "ほるみん",
    "ふぉるみん",
    "ぐりふろじん",
    "りんぐ",
    "ぐらるぎん",
    "すぷろ",
    "どろん",
    "どろん酸",
    "そろん",
    "ぞん",
    "さーと",
    "せぷと",
    "まぶ",
    "ちにぶ",
    "びん",
    "しくりん",
    "ぞーる",
    "びる",
    "ぺじる",
    "まんちん",
    "どぱ",
    "ろぴうむ",
    "てろーる",
    "おきしん",
    "しん",
    "ちん",
    "じん",
    "しど",
    "とーる",
    "どーる",
];

/// How generic names end in English.
const ENGLISH: [&str; 46] = [
    "dipine",
    "pril",
    "sartan",
    "olol",
    "statin",
    "prazole",
    "mycin",
    "cillin",
    "floxacin",
    "profen",
    "fenac",
    "semide",
    "thiazide",
    "zolam",
    "zepam",
    "pidem",
    "clone",
    "peridone",
    "apine",
    "oxetine",
    "traline",
    "farin",
    "xaban",
    "grel",
    "gliptin",
    "formin",
    "gliflozin",
    "glargine",
    "lispro",
    "dronate",
    "dronic",
    "solone",
    "sone",
    "trexate",
    "cept",
    "mab",
    "tinib",
    "abine",
    "cycline",
    "conazole",
    "lukast",
    "tropium",
    "terol",
    "morphine",
    "codone",
    "acetaminophen",
];

/// Words that end so and are none.
const NO_DRUGS: [&str; 22] = [
    "routine",
    "someone",
    "everyone",
    "anyone",
    "telephone",
    "alone",
    "phone",
    "cyclone",
    "ますく",
    "ぱそこん",
    "えあこん",
    "かーてん",
    "りはびり",
    "れすとらん",
    "ぽいんと",
    "ぱんちん",
    "らいん",
    "さいん",
    "まいしん",
    "てっしん",
    "ばるーん",
    "ぱじゃま",
];

/// The drugs that `text` names, folded.
pub(super) fn named(text: &str) -> Vec<String> {
    let symbols = normalise(text);
    let kind = |script: Script| match script {
        Script::Katakana => 1,
        Script::Letter => 2,
        _ => 0,
    };
    let runs = symbols.chunk_by(|a, b| kind(a.script) == kind(b.script));
    let mut found = Vec::new();
    for run in runs.filter(|run| run.len() >= 4) {
        let word: String = run.iter().map(|symbol| symbol.folded).collect();
        let endings: &[&str] = match kind(run[0].script) {
            1 => &JAPANESE,
            2 if run.len() >= 6 => &ENGLISH,
            _ => continue,
        };
        if endings.iter().any(|ending| word.ends_with(ending)) && !NO_DRUGS.contains(&word.as_str()) {
            found.push(word);
        }
    }
    found
}

/// Whether `text` names `drug`.
pub(super) fn holds(text: &str, drug: &str) -> bool {
    normalise(text).iter().map(|symbol| symbol.folded).collect::<String>().contains(drug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drugs_are_known_by_their_stems() {
        for (text, drug) in [
            ("アムロジピン5mgを朝", "アムロジピン"),
            ("ワルファリンを中止", "ワルファリン"),
            ("ﾒﾄﾎﾙﾐﾝを内服", "メトホルミン"),
            ("takes Metformin daily", "metformin"),
            ("アセトアミノフェン", "アセトアミノフェン"),
        ] {
            let found = named(text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(holds(drug, &found[0]), "{text}");
        }
        for text in
            ["バルーンカテーテルを交換", "リハビリテーション", "Everyone visited on Monday", "デイサービス"]
        {
            assert_eq!(named(text), Vec::<String>::new(), "{text}");
        }
    }
}
