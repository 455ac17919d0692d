//! Pairs of opposites: a text that says one where its record says only the other has turned it round.

use super::clause::{Clause, is_kanji};
use super::weekdays::{self, weekdays};

/// Each pair is two lists of words; a word of one list is the opposite of every word of the other.
const PAIRS: [(&[&str], &[&str]); 23] = [
    (&["陽性"], &["陰性"]),
    (&["右"], &["左"]),
    (&["増加", "増え", "増量", "増し", "増やし"], &["減少", "減っ", "減量", "減り", "減らし"]),
    (&["上昇", "上がっ"], &["低下", "下がっ", "下降"]),
    (&["改善", "軽快", "良くなっ"], &["悪化", "増悪", "悪くなっ"]),
    (&["食前"], &["食後"]),
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
    (&["larger", "bigger"], &["smaller"]),
    (&["faster"], &["slower"]),
    (&["opened"], &["closed", "intact"]),
    (&["accepted", "agreed"], &["refused", "declined"]),
    (&["upper"], &["lower"]),
    (&["constipat"], &["diarrh"]),
    (&["admitted"], &["discharged"]),
    (&["自走式", "自走用"], &["介助式", "介助用"]),
];

/// Pairs that mean the opposite only of one thing: sentences are held against those that speak of the same. Longer words come
/// first, and a sentence that holds words of both sides says neither.
const OF_ONE_THING: [(&[&str], &[&str]); 16] = [
    (
        &["自立", "ご自身", "自分で", "自力", "一人で行え", "独力"],
        &["全介助", "介助を要", "介助が必要", "自力では困難"],
    ),
    (&["開始", "始ま", "始め", "導入"], &["終了", "終わ", "中止", "打ち切"]),
    (
        &["継続", "続け", "続い", "続行"],
        &["中断", "中止", "終了", "休止", "取りやめ", "控え", "打ち切", "止める", "止めて", "休薬"],
    ),
    (
        &["同意", "受け入れ", "受けいれ", "承諾", "応じ", "了承", "希望し", "決め"],
        &["拒否", "断った", "断られ", "断りま", "拒ん", "見送", "拒み"],
    ),
    (&["通常どおり", "通常通り", "予定どおり", "予定通り"], &["休み", "中止", "延期", "取りやめ", "見送"]),
    (&["開いた", "開いて", "離開"], &["閉鎖", "閉じ", "治癒", "上皮化"]),
    (&["済ん", "済み", "終え", "完了", "すでに"], &["未だ", "これから", "未定", "は未"]),
    (&["認められ", "承認", "可決", "対象にな"], &["対象外", "却下", "否決", "非該当"]),
    (&["つけて", "装着し", "着けて", "はめて"], &["外し", "外さ", "はずし"]),
    (&["そばに", "同居", "付き添", "一緒に"], &["独居", "一人暮らし", "独り", "不在"]),
    (&["異常があ", "異常を認め", "異常値"], &["基準範囲内", "正常範囲", "正常で", "異常な"]),
    (&["はっきり", "清明"], &["低下", "混濁", "朦朧"]),
    (&["必要"], &["不要"]),
    (&["outstanding", "unpaid", "overdue"], &["settled", "paid"]),
    (&["approved", "agreed", "accepted"], &["voted down", "rejected", "declined", "refused"]),
    (&["given", "taken", "took", "administered"], &["held", "withheld", "omitted", "skipped", "missed"]),
];

/// Words of which a text names one and its record only others, each with other words for it: meals, parts of the day, forms
/// of a drug, relatives, injuries.
const CHOICES: [&[&[&str]]; 9] = [
    &[&["朝食"], &["昼食"], &["夕食"]],
    &[&["breakfast"], &["lunch"], &["dinner"]],
    &[&["早朝", "朝一番"], &["夕方"]],
    &[&["morning"], &["afternoon"], &["evening", "tonight"]],
    &[
        &["錠"],
        &["エアー", "吸入"],
        &["坐薬", "坐剤"],
        &["テープ", "パッチ", "貼付"],
        &["軟膏", "クリーム"],
        &["点眼"],
    ],
    &[&["tablet"], &["inhaler"], &["suppositor"], &["patch"], &["ointment", "cream"], &["eye drop"]],
    &[
        &["娘", "長女", "次女", "三女"],
        &["息子", "長男", "次男", "三男"],
        &["姪"],
        &["甥"],
        &["孫"],
        &["妻", "奥様", "奥さん", "家内"],
        &["夫", "ご主人", "主人", "旦那"],
        &["姉"],
        &["妹"],
        &["兄"],
        &["弟"],
    ],
    &[&["daughter"], &["son"], &["niece"], &["nephew"], &["wife"], &["husband"], &["sister"], &["brother"]],
    &[&["骨折"], &["捻挫"], &["打撲"], &["脱臼"]],
];

/// Whether `text` says one of a pair where `evidence` says only the other. Both are folded.
pub(super) fn turned(text: &str, evidence: &str) -> bool {
    let (text, evidence) = (&without_lookalikes(text), &without_lookalikes(evidence));
    let pairs = PAIRS.iter().flat_map(|(a, b)| [(a, b), (b, a)]);
    let mut turned = pairs.map(|(own, other)| {
        holds(text, own) && !holds(text, other) && holds(evidence, other) && !holds(evidence, own)
    });
    let chosen = |choice: &&[&[&str]]| {
        let named =
            |text: &str| -> Vec<usize> { (0..choice.len()).filter(|at| holds(text, choice[*at])).collect() };
        let there = named(evidence);
        !there.is_empty() && named(text).iter().any(|at| !there.contains(at))
    };
    turned.any(|turned| turned)
        || CHOICES.iter().any(chosen)
        || other_day(text, evidence)
        || other_way(text, evidence)
        || other_side_of(text, evidence)
}

/// Whether `text` says "before" something of which `evidence` says only "after", or the other way round.
fn other_side_of(text: &str, evidence: &str) -> bool {
    let of = |text: &str, side: &str| -> Vec<String> {
        let words: Vec<&str> =
            text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let behind = |at: usize| {
            words[at + 1..]
                .iter()
                .find(|word| !["the", "a", "an", "her", "his", "each", "every"].contains(word))
        };
        (0..words.len())
            .filter(|at| words[*at] == side)
            .filter_map(behind)
            .map(|word| (*word).to_owned())
            .collect()
    };
    [("before", "after"), ("after", "before")].into_iter().any(|(own, other)| {
        let (same, turned) = (of(evidence, own), of(evidence, other));
        of(text, own).iter().any(|thing| turned.contains(thing) && !same.contains(thing))
    })
}

/// `text` without words that hold one of a pair and do not mean it.
fn without_lookalikes(text: &str) -> String {
    const LOOKALIKES: [&str; 14] = [
        "大丈夫",
        "工夫",
        "兄弟",
        "施錠",
        "解錠",
        " left at",
        " left the",
        " left for",
        " left home",
        " left on",
        " left a ",
        "right away",
        "right now",
        "all right",
    ];
    LOOKALIKES.iter().fold(text.to_owned(), |text, word| match text.contains(word) {
        true => text.replace(word, " "),
        false => text,
    })
}

fn holds(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| has(text, word))
}

/// Whether `text` names a day of the week where `evidence` names only others.
fn other_day(text: &str, evidence: &str) -> bool {
    // The 火 of 10月20日(火) is the day's, which is looked up itself.
    let there = weekdays(evidence);
    !there.is_empty() && weekdays(&without_bracketed(text)).iter().any(|day| !there.contains(day))
}

/// `text` without days of the week in brackets behind a day.
fn without_bracketed(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('(') {
        let (before, bracket) = rest.split_at(at);
        bare.push_str(before);
        let day = bracket.chars().nth(1).is_some_and(|c| weekdays::JAPANESE.contains(&c));
        let dated = before.ends_with('日') || before.ends_with(|c: char| c.is_ascii_digit());
        match bracket.find(')').filter(|_| day && dated) {
            Some(end) => rest = &bracket[end..],
            None => {
                bare.push('(');
                rest = &bracket[1..];
            }
        }
    }
    bare.push_str(rest);
    bare
}

/// Whether a clause of a text says of something the opposite of what every sentence that speaks of it `said`. Clauses that deny say
/// neither.
pub(super) fn turned_of_one_thing(claimed: &[Clause], said: &[Clause]) -> bool {
    let pairs = || OF_ONE_THING.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
    let sentences: Vec<&[Clause]> = said.chunk_by(|a, b| a.sentence == b.sentence).collect();
    claimed.iter().filter(|claim| !claim.turns).any(|claim| {
        let things = things(&claim.text);
        let speaks_of_it = |clause: &Clause| things.iter().any(|thing| clause.text.contains(thing.as_str()));
        let about: Vec<&[Clause]> =
            sentences.iter().filter(|sentence| sentence.iter().any(speaks_of_it)).copied().collect();
        pairs().filter(|(own, other)| holds(&claim.text, own) && !holds(&claim.text, other)).any(
            |(own, other)| {
                let say = |words: &[&str]| {
                    about.iter().any(|sentence| {
                        sentence.iter().any(|clause| !clause.turns && holds(&clause.text, words))
                    })
                };
                say(other) && !say(own)
            },
        )
    })
}

/// Words that say what a sentence is about: runs of kanji or katakana, and English words, but for those that stand everywhere.
pub(super) fn things(sentence: &str) -> Vec<String> {
    const EVERYWHERE: [&str; 26] = [
        "本人",
        "自身",
        "利用者",
        "訪問",
        "記録",
        "今回",
        "本日",
        "今日",
        "今週",
        "今月",
        "看護師",
        "家族",
        "様子",
        "状態",
        "確認",
        "必要",
        "実施",
        "継続",
        "開始",
        "終了",
        "中止",
        "予定",
        "with",
        "that",
        "this",
        "patient",
    ];
    let kind = |c: char| match c {
        _ if is_kanji(c) => 1,
        'ァ'..='ヺ' | 'ー' => 2,
        'a'..='z' => 3,
        _ => 0,
    };
    let characters: Vec<char> = sentence.chars().collect();
    let runs = characters.chunk_by(|a, b| kind(*a) == kind(*b));
    let telling = runs.filter(|run| match kind(run[0]) {
        0 => false,
        3 => run.len() >= 4,
        _ => run.len() >= 2,
    });
    let words = telling.map(|run| {
        let word: String = run.iter().collect();
        word.strip_suffix('様').map(str::to_owned).unwrap_or(word)
    });
    words.filter(|word| !EVERYWHERE.contains(&word.as_str())).collect()
}

/// Whether `text` says "from a to b" where `evidence` says from b to a.
fn other_way(text: &str, evidence: &str) -> bool {
    let bare = |text: &str| text.replace("さん", "").replace('様', "");
    let (text, evidence) = (bare(text), bare(evidence));
    let belongs = |c: char| !matches!(c, 'ぁ'..='ゖ' | '、' | '。' | ' ' | '\n' | '(' | ')' | '・');
    text.match_indices("から").any(|(at, from)| {
        let before: String = text[..at]
            .chars()
            .rev()
            .take_while(|c| belongs(*c))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        let after: String = text[at + from.len()..].chars().take_while(|c| belongs(*c)).collect();
        let (own, other) = (format!("{before}から{after}"), format!("{after}から{before}"));
        !before.is_empty()
            && !after.is_empty()
            && before != after
            && evidence.contains(&other)
            && !evidence.contains(&own)
    })
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
            ("ベッドは金曜日に届きます", "ベッド搬入 10月15日(水)", true),
            ("担当は羽生さんから岸本さんに代わりました", "担当が岸本から羽生に交代", true),
            ("キーパーソンは娘さん", "キーパーソンは姪", true),
            ("娘さんが来た", "長女が来訪", false),
        ] {
            assert_eq!(turned(text, evidence), expected, "{text} / {evidence}");
        }
    }
}
