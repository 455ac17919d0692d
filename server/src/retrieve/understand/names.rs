//! Where names stand in a text: before an honorific, or as a word of its own. 久保 is not in 久保田, nor 江口 in 小江口.

use karute_engine::Row;
use karute_engine::words::{hiragana, is_han, nfkc};

use super::wordlists::{
    AFTER, AND, BEFORE, EXCEPT, GOES_ON, HONORIFICS, HOUSES, NOBODY, NOBODY_ENDS, NOBODY_IN_KANA,
};

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

/// What `row` says, in that one way of writing.
pub(crate) fn said_in(row: &Row) -> String {
    written(&format!("{}\n{}", row.title, row.content))
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
