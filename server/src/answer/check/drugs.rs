//! Names of drugs, known by how they end: generic names are made from stems that say what a drug is (WHO, "The use of stems
//! in the selection of International Nonproprietary Names"), and Japanese writes them as they sound.

use karute_engine::words::{Script, normalise};

/// How generic names end, as Japanese writes them, folded to hiragana.
const JAPANESE: [&str; 93] = [
    "ぷりる",
    "さるたん",
    "ろーる",
    "すたちん",
    "ぷらぞーる",
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
    "ぐらるぎん",
    "すぷろ",
    "どろん",
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
    "おきしん",
    "しん",
    "ちん",
    "じん",
    "しど",
    "とーる",
    "きさんと",
    "たみん",
    "なふぃん",
    "どーる",
    "こどん",
    "もるひね",
    "たにる",
    "そん",
    "ぞりん",
    "ばりん",
    "ぺんちん",
    "くろびる",
    "へぱりん",
    "いんすりん",
    "りんげる",
    "ぺりどーる",
    "ちあじん",
    "ろじん",
    "ぷらむ",
    "たちん",
    "ねむ",
    "ぞりど",
    "しろん",
    "すたっと",
    "るかすと",
    "せろん",
    "でのしん",
    "てぃお",
    "のしど",
    "ねしうむ",
    "まぐみっと",
    "ろきそにん",
    "かろなーる",
    "らしっくす",
    "りくしあな",
    "えりきゅーす",
    "たけぷろん",
    "ねきしうむ",
    "がすたー",
    "らくとん",
    "れのん",
    "のるふぃん",
];

/// How generic names end in English.
const ENGLISH: [&str; 75] = [
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
    "norphine",
    "renone",
    "lactone",
    "codone",
    "acetaminophen",
    "pentin",
    "gabalin",
    "clovir",
    "vir",
    "axone",
    "azolin",
    "alexin",
    "xacin",
    "parin",
    "insulin",
    "aspart",
    "degludec",
    "fentanyl",
    "tramadol",
    "aspirin",
    "paracetamol",
    "amide",
    "azine",
    "idine",
    "tidine",
    "dopa",
    "zodone",
    "ezil",
    "mantine",
    "digoxin",
    "senna",
];

/// Words that end so and are none.
const NO_DRUGS: [&str; 34] = [
    "routine",
    "except",
    "accept",
    "concept",
    "intercept",
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
    "こんとろーる",
    "これすてろーる",
    "きっちん",
    "ぱーきんそん",
    "あるこーる",
    "すけじゅーる",
    "もじゅーる",
    "ぷろとこーる",
];

/// What stands behind a drug's name and says how it is given.
const FORMS: [&str; 16] = [
    "くりーむ",
    "しゅがー",
    "てーぷ",
    "ぱっち",
    "ろーしょん",
    "げる",
    "かぷせる",
    "しろっぷ",
    "どらいしろっぷ",
    "すぷれー",
    "ぱっぷ",
    "ぱうだー",
    "そふと",
    "ぜりー",
    "ごーるど",
    "めんと",
];

/// By these a sentence speaks of giving a drug.
const GIVEN: [&str; 22] = [
    "mg",
    "錠",
    "単位",
    "内服",
    "服用",
    "服薬",
    "飲",
    "投与",
    "処方",
    "増量",
    "減量",
    "塗",
    "貼",
    "点滴",
    "注射",
    "皮下注",
    "坐薬",
    "軟膏",
    "薬",
    "頓服",
    "吸入",
    "点眼",
];

/// Katakana words of care that are no drugs, folded, and whatever holds one.
const CARE: [&str; 66] = [
    "ばるーん",
    "かてーてる",
    "すとーま",
    "ぱうち",
    "べっど",
    "まっとれす",
    "しょーと",
    "でい",
    "へるぱー",
    "けあ",
    "りはびり",
    "がーぜ",
    "どれっしんぐ",
    "てーぷ",
    "ふぃるむ",
    "しゃわー",
    "といれ",
    "おむつ",
    "ぽーたぶる",
    "すてーしょん",
    "くりにっく",
    "ばいたる",
    "さちゅれーしょん",
    "もにたー",
    "ぽんぷ",
    "あらーむ",
    "ちゅーぶ",
    "かにゅーれ",
    "ますく",
    "ねぶらいざー",
    "いんふるえんざ",
    "ころな",
    "わくちん",
    "あれるぎー",
    "しょっく",
    "てすと",
    "すけーる",
    "れべる",
    "ぱるす",
    "でーた",
    "かんふぁれんす",
    "みーてぃんぐ",
    "ぷらん",
    "さーびす",
    "すたっふ",
    "りーだー",
    "まねじゃー",
    "さぽーと",
    "ぐるーぷ",
    "ほーむ",
    "くりーにんぐ",
    "すぷーん",
    "すとろー",
    "えぷろん",
    "くっしょん",
    "ぱっと",
    "すりっぱ",
    "てーぶる",
    "ろっかー",
    "めも",
    "せんさー",
    "ぼたん",
    "ぱんふれっと",
    "のーと",
    "たくしー",
    "えんしゅあ",
];

/// The drugs that `text` names by their stems, folded.
pub(super) fn named(text: &str) -> Vec<String> {
    let found = words(text).into_iter().filter(|word| {
        let endings: &[&str] = if word.is_ascii() { &ENGLISH } else { &JAPANESE };
        let long = word.len() >= 6;
        let prefixed = word.is_ascii() && word.starts_with("cef");
        long && (prefixed || endings.iter().any(|ending| word.ends_with(ending)))
            && !NO_DRUGS.contains(&word.as_str())
    });
    found.collect()
}

/// Whether `text` names a drug that `evidence` does not name: one that is known by its stem, or, where it speaks of giving a
/// drug, a katakana word in the place of another.
pub(super) fn others(text: &str, evidence: &str) -> bool {
    let flat = |text: &str| normalise(text).iter().map(|symbol| symbol.folded).collect::<String>();
    let (flat_text, flat_evidence) = (flat(text), flat(evidence));
    let lacking = |word: &String| !flat_evidence.contains(word.as_str());
    if named(text).iter().any(lacking) {
        return true;
    }
    let folded = text.to_lowercase();
    if !GIVEN.iter().any(|word| folded.contains(word)) {
        return false;
    }
    let foreign = |word: &String| !word.is_ascii() && !CARE.iter().any(|known| word.contains(known));
    let own: Vec<String> = words(text).into_iter().filter(foreign).filter(lacking).collect();
    let replaced =
        || words(evidence).into_iter().filter(foreign).any(|word| !flat_text.contains(word.as_str()));
    !own.is_empty() && replaced()
}

/// The words of `text` in katakana or Latin letters of at least four characters, or three before the form of a drug, folded,
/// without that form.
fn words(text: &str) -> Vec<String> {
    let symbols = normalise(text);
    let kind = |script: Script| match script {
        Script::Katakana => 1,
        Script::Letter => 2,
        _ => 0,
    };
    let mut found = Vec::new();
    let mut at = 0;
    for run in symbols.chunk_by(|a, b| kind(a.script) == kind(b.script)) {
        at += run.len();
        let given = symbols.get(at).is_some_and(|next| "錠散内軟坐点".contains(next.folded));
        if kind(run[0].script) == 0 || run.len() < if given { 3 } else { 4 } {
            continue;
        }
        let word: String = run.iter().map(|symbol| symbol.folded).collect();
        let bare =
            FORMS.iter().find_map(|form| word.strip_suffix(form)).filter(|bare| bare.chars().count() >= 3);
        found.push(bare.map_or_else(|| word.clone(), str::to_owned));
    }
    found
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
            let flat: String = normalise(drug).iter().map(|symbol| symbol.folded).collect();
            assert!(flat.contains(&found[0]), "{text}");
        }
        for text in
            ["バルーンカテーテルを交換", "リハビリテーション", "Everyone visited on Monday", "デイサービス"]
        {
            assert_eq!(named(text), Vec::<String>::new(), "{text}");
        }
    }
}
