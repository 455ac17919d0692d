//! Where names stand in a text: before an honorific, or as a word of its own. 久保 is not in 久保田, nor 江口 in 小江口.

use karute_engine::words::{hiragana, is_han, nfkc};

/// What follows a person's name.
pub(super) const HONORIFICS: [&str; 8] = ["さん", "様", "さま", "氏", "殿", "先生", "夫人", "ちゃん"];

/// What makes of an honorific a part of another word: 様子, 氏名.
const GOES_ON: [(&str, &str); 9] = [
    ("様", "子式々相態"),
    ("氏", "名神族"),
    ("殿", "部様"),
    ("さん", "ぽざ"),
    ("先生", ""),
    ("夫人", "科"),
    ("さま", "ざ"),
    ("ちゃん", "と"),
    ("々", ""),
];

/// Words before an honorific that name nobody in particular, whole.
const NOBODY: [&str; 107] = [
    "奥",
    "母",
    "父",
    "兄",
    "姉",
    "弟",
    "妹",
    "息子",
    "娘",
    "孫",
    "嫁",
    "婿",
    "夫",
    "妻",
    "旦那",
    "家族",
    "患者",
    "利用者",
    "皆",
    "業者",
    "看護師",
    "薬剤師",
    "医師",
    "主任",
    "管理者",
    "職員",
    "担当者",
    "隣",
    "主治医",
    "相談員",
    "客",
    "本人",
    "同",
    "仕",
    "模",
    "多",
    "一",
    "異",
    "各",
    "有",
    "逆",
    "神",
    "王",
    "坊",
    "赤",
    "の",
    "は",
    "が",
    "を",
    "に",
    "と",
    "たく",
    "みな",
    "おかあ",
    "おとう",
    "おく",
    "おばあ",
    "おじい",
    "むすこ",
    "むすめ",
    "かぞく",
    "りようしゃ",
    "医者",
    "お医者",
    "子",
    "子供",
    "主人",
    "ケアマネ",
    "ケアマネジャー",
    "ヘルパー",
    "ナース",
    "ドクター",
    "いつもの",
    "長男",
    "次男",
    "二男",
    "三男",
    "四男",
    "長女",
    "次女",
    "二女",
    "三女",
    "四女",
    "大家",
    "床屋",
    "花屋",
    "薬屋",
    "訪看",
    "伯父",
    "叔父",
    "伯母",
    "叔母",
    "祖父",
    "祖母",
    "従兄弟",
    "義父",
    "義母",
    "義兄",
    "義姉",
    "義弟",
    "義妹",
    "先方",
    "相手",
    "近所",
    "後見",
    "補佐",
    "両親",
];

/// How words end that name nobody, before an honorific: 前回同様, 最近様.
const NOBODY_ENDS: [&str; 74] = [
    "同",
    "最近",
    "同じ",
    "仕",
    "模",
    "家族",
    // Callings and offices: 理学療法士, 配達員, 業者, 看護師, 院長, 薬局.
    "療法士",
    "福祉士",
    "栄養士",
    "衛生士",
    "技工士",
    "技士",
    "保育士",
    "弁護士",
    "税理士",
    "書士",
    "聴覚士",
    "員",
    "者",
    "看護師",
    "医師",
    "薬剤師",
    "保健師",
    "助産師",
    "技師",
    "美容師",
    "理容師",
    "調理師",
    "教師",
    "牧師",
    "鍼灸師",
    "整体師",
    "ージ師",
    "警官",
    "左官",
    "院長",
    "所長",
    "部長",
    "課長",
    "係長",
    "会長",
    "社長",
    "園長",
    "局",
    "病院",
    "医院",
    "会社",
    "署",
    "店",
    "課",
    "内科",
    "外科",
    "眼科",
    "歯科",
    "皮膚科",
    "センター",
    "ステーション",
    "クリニック",
    "デイ",
    "サービス",
    "ホーム",
    "ショート",
    "ヘルパー",
    "ケアマネ",
    "マネージャー",
    "マネジャー",
    "スタッフ",
    "ドライバー",
    "ボランティア",
    "メーカー",
    "リハ",
    "マッサージ",
    "ナース",
    "事業所",
];

/// Words in kana that name nobody, whole or behind a particle: おば, わたしのおば; but not おおば.
const NOBODY_IN_KANA: [&str; 17] = [
    "かんじゃ",
    "おじ",
    "おば",
    "おにい",
    "おねえ",
    "おまわり",
    "だんな",
    "まご",
    "よめ",
    "およめ",
    "かんごし",
    "おいしゃ",
    "みんな",
    "となり",
    "どなた",
    "どちら",
    "だれ",
];

/// What makes the name of a house of a name, when it follows directly: 江口クリニック.
const HOUSES: [&str; 7] =
    ["クリニック", "ステーション", "ホーム", "ホスピタル", "センター", "ハウス", "グループ"];

/// What takes a person out of a question, behind the name: 江口さん以外, 江口さんではない人.
const EXCEPT: [&str; 13] = [
    "以外",
    "ではない人",
    "ではない方",
    "ではない利用者",
    "じゃない人",
    "じゃない方",
    "じゃない利用者",
    "でない人",
    "でない方",
    "でない利用者",
    "を除",
    "をのぞ",
    "のほかに",
];

/// What joins the names of a list.
const AND: [&str; 6] = ["と", "や", "、", "・", "及び", "および"];

/// `text` without the names of those whom it takes out, and these names: each before an honorific, or `known`. 江口さんと林さん以外
/// takes out both.
pub(super) fn without_excepted(text: &str, known: impl Fn(&str) -> bool) -> (String, Vec<String>) {
    let (mut text, mut names) = (text.to_owned(), Vec::new());
    for word in EXCEPT {
        let mut rest = 0;
        while let Some(at) = text[rest..].find(word).map(|at| rest + at) {
            let mut start = at;
            let mut left = &text[..at];
            loop {
                let named = HONORIFICS.iter().find_map(|honorific| left.strip_suffix(honorific));
                let run = last_run(named.unwrap_or(left)).rsplit([' ', '　']).next().unwrap_or_default();
                if run.is_empty() || named.is_none() && !known(run) {
                    break;
                }
                names.push(run.to_owned());
                start = named.unwrap_or(left).len() - run.len();
                let Some(before) = AND.iter().find_map(|and| text[..start].strip_suffix(and)) else { break };
                left = before;
            }
            if start == at {
                rest = at + word.len();
            } else {
                text.replace_range(start..at + word.len(), " ");
                rest = start + 1;
            }
        }
    }
    (text, names)
}

/// What may stand before a name in one run of kanji.
const BEFORE: [&str; 22] = [
    "利用者",
    "患者",
    "担当",
    "昨日",
    "今日",
    "本日",
    "先週",
    "先月",
    "今週",
    "今月",
    "最近",
    "直近",
    "前回",
    "現在",
    "当日",
    "故",
    "例",
    "先日",
    "今朝",
    "昨夜",
    "明日",
    "今回",
];

/// What may follow a name in one run of kanji, when no honorific does: 江口体温は.
const AFTER: [&str; 26] = [
    "体温",
    "血圧",
    "体重",
    "脈",
    "酸素",
    "内服",
    "服薬",
    "薬",
    "食事",
    "排便",
    "排尿",
    "訪問",
    "記録",
    "様子",
    "状態",
    "予定",
    "今日",
    "昨日",
    "先週",
    "先月",
    "最近",
    "家族",
    "主治医",
    "連絡",
    "褥瘡",
    "点滴",
];

/// Of a character of names that is written in several ways, the one that is taken for all.
fn plain(c: char) -> char {
    match c {
        '髙' => '高',
        '﨑' => '崎',
        '嵜' => '崎',
        '濵' => '浜',
        '濱' => '浜',
        '邉' => '辺',
        '邊' => '辺',
        '德' => '徳',
        '𠮷' => '吉',
        '齋' => '斎',
        '齊' => '斉',
        '廣' => '広',
        '澤' => '沢',
        '嶋' => '島',
        '嶌' => '島',
        '國' => '国',
        '眞' => '真',
        '櫻' => '桜',
        '瀨' => '瀬',
        '惠' => '恵',
        '榮' => '栄',
        '藏' => '蔵',
        '龍' => '竜',
        '與' => '与',
        '條' => '条',
        '壽' => '寿',
        '淵' => '渕',
        '關' => '関',
        '圓' => '円',
        '增' => '増',
        other => other,
    }
}

/// `text` with one way of writing for names: compatibility forms composed, kana in full width, variants of kanji as one.
pub(crate) fn written(text: &str) -> String {
    nfkc(text).chars().map(plain).collect()
}

pub(super) fn is_kanji(c: char) -> bool {
    is_han(c) || matches!(c, '々' | 'ヶ')
}

fn is_kana(c: char) -> bool {
    matches!(c, 'ぁ'..='ゖ' | 'ァ'..='ヺ' | 'ー')
}

/// Without white space, which does not matter inside a name.
pub(crate) fn squeeze(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Katakana as hiragana, without white space.
pub(super) fn reading(text: &str) -> String {
    squeeze(text).chars().map(hiragana).collect()
}

/// Whether `text` consists of kana.
pub(super) fn is_reading(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_kana)
}

/// The names before honorifics, without white space: the run of one script that ends there. What is `known` to be somebody's name
/// is one, whatever it looks like.
pub(crate) fn before_honorifics(text: &str, known: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (at, honorific) in HONORIFICS.iter().flat_map(|honorific| text.match_indices(honorific)) {
        let after = text[at + honorific.len()..].chars().next();
        let part_of_a_word = GOES_ON
            .iter()
            .any(|(own, next)| own == &honorific && after.is_some_and(|after| next.contains(after)));
        if part_of_a_word {
            continue;
        }
        let name = squeeze(last_run(&text[..at]));
        // ドアに指をはさんだ: a verb; かかりつけの先生: a word of several.
        let verb =
            honorific == "さん" && after.is_some_and(|c| matches!(c, 'だ' | 'で')) && name.ends_with('は');
        let described = honorific == "先生" && is_reading(&name) && name.ends_with('の');
        let named = known(&name) || !name.contains('を') && names_somebody(&name);
        if !verb && !described && named && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The run of one script at the end of `text`; a run of kanji or katakana may hold spaces.
fn last_run(text: &str) -> &str {
    let text = text.trim_end();
    let Some(last) = text.chars().next_back() else { return text };
    let belongs = |c: char| match last {
        'ぁ'..='ゖ' => matches!(c, 'ぁ'..='ゖ' | 'ー'),
        _ if is_kanji(last) || is_kana(last) => is_kanji(c) || matches!(c, 'ァ'..='ヺ' | 'ー' | ' ' | '　'),
        _ => false,
    };
    let start = text.char_indices().rev().find(|(_, c)| !belongs(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    &text[start..]
}

fn names_somebody(name: &str) -> bool {
    !name.is_empty()
        && !NOBODY.contains(&name)
        && !NOBODY_ENDS.iter().any(|end| name.ends_with(end))
        && !NOBODY_IN_KANA.iter().any(|word| {
            let before = name.strip_suffix(word);
            before.is_some_and(|before| before.is_empty() || before.ends_with(['の', 'は', 'が', 'を', 'に', 'と', 'も', 'で']))
        })
        // Kana of one letter is a particle; so is the end of a sentence that was cut.
        && (name.chars().count() >= 2 || name.chars().all(is_kanji))
}

/// `run` without what may stand before a name.
pub(super) fn without_title(run: &str) -> &str {
    BEFORE.iter().find_map(|word| run.strip_prefix(word).filter(|rest| !rest.is_empty())).unwrap_or(run)
}

/// Whether `name` stands in `text` as a name of its own: no kanji before it, and behind it none, an honorific, or, with
/// `loosely`, a word that often follows a name. One kanji needs an honorific.
pub(crate) fn stands_in(text: &str, name: &str, loosely: bool) -> bool {
    let katakana = |c: char| matches!(c, 'ァ'..='ヺ' | 'ー');
    text.match_indices(name).any(|(at, _)| {
        let (left, right) = (&text[..at], &text[at + name.len()..]);
        let follows = HONORIFICS.iter().any(|honorific| right.trim_start().starts_with(honorific));
        let same_script = |c: char| {
            is_kanji(c) || katakana(c) && name.chars().any(katakana) || is_kana(c) && is_reading(name)
        };
        let open_left = left.chars().next_back().is_none_or(|c| !same_script(c))
            || BEFORE.iter().any(|word| left.ends_with(word));
        let house = HOUSES.iter().any(|word| right.starts_with(word));
        let open_right = right.chars().next().is_none_or(|c| !same_script(c))
            || loosely && AFTER.iter().any(|word| right.starts_with(word));
        let long = name.chars().count() >= 2;
        open_left && !house && (follows || long && open_right)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_before_honorifics() {
        for (text, expected) in [
            ("江口さんの酸素", vec!["江口"]),
            ("江口 花子さんの酸素", vec!["江口花子"]),
            ("林さんと森様", vec!["林", "森"]),
            ("えぐちさんは", vec!["えぐち"]),
            ("エグチさんは", vec!["エグチ"]),
            ("小江口さん", vec!["小江口"]),
            ("前回同様の処置でよいか", vec![]),
            ("最近様子が変です", vec![]),
            ("奥さんとお母さん、皆さん、利用者様", vec![]),
            ("たくさんの記録", vec![]),
            ("氏名と様式", vec![]),
            ("かかりつけの先生の電話番号は", vec![]),
            ("いつもの先生は", vec![]),
            ("ドアに指をはさんだのはいつ", vec![]),
            ("お医者さんは", vec![]),
            ("お子さんの連絡先", vec![]),
            ("ご主人様の仕事", vec![]),
            ("ケアマネさんは誰", vec![]),
            ("山﨑さんの体温", vec!["山﨑"]),
            ("大家さんと歯医者さんの電話", vec![]),
            ("理学療法士さんの訪問", vec![]),
            ("長男さんと長女様の連絡先", vec![]),
            ("院長先生はどなた様ですか", vec![]),
            ("江口クリニックさんの電話番号", vec![]),
            ("照男さんの体温", vec!["照男"]),
            ("おおばさんの体温", vec!["おおば"]),
            ("わたしのおばさんの体温", vec![]),
            ("武士さんの体温", vec!["武士"]),
            ("鈴木剛士さんの電話番号", vec!["鈴木剛士"]),
        ] {
            assert_eq!(before_honorifics(text, |name| name == "武士"), expected, "{text}");
        }
    }

    #[test]
    fn whoever_is_taken_out_is_not_named() {
        for (text, left, names) in [
            ("久保田さんではない人のバルーン", " のバルーン", &["久保田"][..]),
            ("江口さん以外の方", " の方", &["江口"]),
            ("江口以外と林さん", " と林さん", &["江口"]),
            ("江口さんと林さん以外の方", " の方", &["林", "江口"]),
            ("江口さんの体温", "江口さんの体温", &[]),
            ("江口 インスリン以外の薬は", "江口 インスリン以外の薬は", &[]),
            ("江口さんのほかの薬は", "江口さんのほかの薬は", &[]),
            ("転倒したのは江口さんじゃないですか", "転倒したのは江口さんじゃないですか", &[]),
            ("えぐちさんはおしっこがでないのですか", "えぐちさんはおしっこがでないのですか", &[]),
        ] {
            let (rest, found) = without_excepted(text, |name| name == "江口");
            assert_eq!(
                (rest.as_str(), found),
                (left, names.iter().map(|name| (*name).to_owned()).collect()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_name_is_not_found_inside_another() {
        for (text, name, expected) in [
            ("久保田さんのバルーン", "久保", false),
            ("久保田さんのバルーン", "久保田", true),
            ("小江口さん", "江口", false),
            ("江口町の酸素", "江口", false),
            ("江口の酸素", "江口", true),
            ("江口体温は", "江口", true),
            ("江口花子の体温は", "江口", false),
            ("林檎を食べた", "林", false),
            ("林様の訪問", "林", true),
            ("利用者江口の様子", "江口", true),
            ("江口クリニックの電話番号", "江口", false),
            ("江口ケアプランの目標", "江口", true),
            ("江口バルーン", "江口", true),
        ] {
            assert_eq!(stands_in(text, name, true), expected, "{text} {name}");
        }
    }
}
