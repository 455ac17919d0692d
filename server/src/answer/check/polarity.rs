//! Does a text affirm what a record denies, or deny what it affirms? Both are cut into clauses, and of each clause that denies,
//! what it denies is read: in Japanese what stands before the denial, in English what follows it. A text contradicts a record
//! that says the opposite of that, and nowhere the same. Pairs of opposites (右 and 左, increased and decreased) count too.

use super::opposites;
use super::quantities::folded;

/// Ways to deny in Japanese; what is denied stands before them.
const DENIALS: [&str; 32] = [
    "なし",
    "ない",
    "なく",
    "なかった",
    "ません",
    "無し",
    "無く",
    "せず",
    "れず",
    "わず",
    "かず",
    "めず",
    "らず",
    "きず",
    "いず",
    "ばず",
    "けず",
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
    "延期",
    "否定",
    "休止",
    "断っ",
    "ゼロ",
];

/// Words that hold such a piece and deny nothing, or that ask for something to be done.
const NO_DENIALS: [&str; 27] = [
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
    "無くし",
    "なくし",
    "亡く",
    "必ず",
    "まず",
    "変わらず",
    "変わりなく",
    "変わりない",
    "問題なく",
    "支障なく",
    "わずか",
    "だけでなく",
];

/// Clauses that speak of a change or a question: what is in them may be affirmed and denied at once.
const UNDECIDED: [&str; 16] = [
    "変更",
    "変わ",
    "変え",
    "切り替",
    "替わり",
    "代わり",
    "代え",
    "有無",
    "かどうか",
    "確認",
    "whether",
    "instead",
    "switched",
    "replaced",
    "changed",
    "checked",
];

/// Ways to deny in English, as words; what is denied follows.
const ENGLISH: [&str; 25] = [
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
    "refuses",
    "declined",
    "declines",
    "nobody",
    "nothing",
    "unable",
    "failed",
    "fails",
    "free",
];

const CONTRACTED: [&str; 12] = [
    "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "hasnt", "havent", "wont", "couldnt",
    "cant",
];

/// Words of English that say nothing of what a clause speaks of.
const FILLERS: [&str; 58] = [
    "the",
    "a",
    "an",
    "is",
    "are",
    "was",
    "were",
    "has",
    "have",
    "had",
    "does",
    "do",
    "did",
    "of",
    "in",
    "on",
    "at",
    "to",
    "for",
    "with",
    "she",
    "he",
    "they",
    "it",
    "her",
    "his",
    "any",
    "there",
    "been",
    "be",
    "patient",
    "client",
    "by",
    "as",
    "sign",
    "signs",
    "evidence",
    "complaint",
    "complaints",
    "symptoms",
    "reported",
    "reports",
    "noted",
    "seen",
    "present",
    "further",
    "longer",
    "more",
    "yet",
    "from",
    "this",
    "that",
    "today",
    "currently",
    "their",
    "my",
    "your",
    "new",
];

/// What stands between the thing and its denial, and is not the thing.
const BETWEEN: [&str; 33] = [
    "見られ",
    "みられ",
    "見えら",
    "みえら",
    "は",
    "が",
    "も",
    "を",
    "に",
    "で",
    "と",
    "の",
    "さ",
    "し",
    "れ",
    "て",
    "い",
    "き",
    "ら",
    "こと",
    "など",
    "訴え",
    "認め",
    "出",
    "様子",
    "所見",
    "症状",
    "特に",
    "あり",
    "ござい",
    "でき",
    "おり",
    "なっ",
];

/// How many of the words behind an English denial it denies.
const REACH: usize = 2;

/// A clause: its words, and what it denies of them.
struct Clause {
    text: String,
    words: Vec<String>,
    /// Each a thing, or the words of one, all of which a clause must hold to speak of it.
    denied: Vec<Vec<String>>,
    denies: bool,
    undecided: bool,
}

/// Whether some clause of `text` says the opposite of what `records` say.
pub(super) fn contradicts(text: &str, records: &[String]) -> bool {
    let claimed = clauses(text);
    let said: Vec<Clause> = records.iter().flat_map(|record| clauses(record)).collect();
    let denied_by_text = claimed.iter().flat_map(|clause| &clause.denied).any(|term| {
        let mut about = said.iter().filter(|other| other.speaks_of(term)).peekable();
        about.peek().is_some() && about.all(|other| !other.denies && !other.undecided)
    });
    let denied_by_record = said.iter().flat_map(|clause| &clause.denied).any(|term| {
        let affirms = |clause: &Clause| clause.speaks_of(term) && !clause.denies && !clause.undecided;
        claimed.iter().any(affirms) && !said.iter().any(|other| other.speaks_of(term) && !other.denies)
    });
    denied_by_text || denied_by_record || opposites::turned(&folded(text), &folded(&records.join("\n")))
}

impl Clause {
    /// Whether the clause holds all words of `thing`.
    fn speaks_of(&self, thing: &[String]) -> bool {
        thing.iter().all(|term| self.holds(term))
    }

    fn holds(&self, term: &str) -> bool {
        if term.is_ascii() {
            return self.words.iter().any(|word| same_word(word, term));
        }
        let mut kanji = term.chars();
        match (kanji.next(), kanji.next()) {
            // A single character counts only where it is a word of its own: 熱 is not in 解熱.
            (Some(only), None) => {
                let characters: Vec<char> = self.text.chars().collect();
                let alone = |at: usize| {
                    let beside = |at: Option<usize>| {
                        at.and_then(|at| characters.get(at)).is_some_and(|c| is_kanji(*c))
                    };
                    !beside(at.checked_sub(1)) && !beside(at.checked_add(1))
                };
                characters.iter().enumerate().any(|(at, c)| *c == only && alone(at))
            }
            _ => self.text.contains(term),
        }
    }
}

/// Whether two English words have the same stem.
fn same_word(a: &str, b: &str) -> bool {
    let common = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    a == b || common >= 4 && common + 3 >= a.len().max(b.len())
}

fn clauses(text: &str) -> Vec<Clause> {
    let text = folded(text);
    let pieces = text.split(['、', '。', ',', ';', '\n', '!', '?', '(', ')', '・', '「', '」']);
    let pieces = [". ", " but ", " and ", " while ", "けれど", "ですが", "ましたが", "たものの"]
        .into_iter()
        .fold(pieces.map(str::to_owned).collect::<Vec<_>>(), |pieces, cut| {
            pieces.iter().flat_map(|piece| piece.split(cut)).map(str::to_owned).collect()
        });
    pieces
        .iter()
        .filter(|piece| piece.chars().any(char::is_alphanumeric))
        .map(|piece| clause(piece))
        .collect()
}

fn clause(text: &str) -> Clause {
    let japanese = NO_DENIALS.iter().fold(text.to_owned(), |text, word| text.replace(word, " "));
    let words: Vec<String> = text
        .replace(['\'', '’'], "")
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let mut denied = Vec::new();
    let mut denies = false;
    for denial in DENIALS {
        for (at, _) in japanese.match_indices(denial) {
            denies = true;
            denied.extend(before(&japanese[..at]).map(|term| vec![term]));
        }
    }
    for (at, sign) in japanese.match_indices(['未', '無']) {
        let term: String = japanese[at + sign.len()..].chars().take_while(|c| is_kanji(*c)).collect();
        let other = ["未満", "未来", "無理", "無料", "無事", "無線"]
            .iter()
            .any(|word| japanese[at..].starts_with(word));
        if term.chars().count() >= 2 && !other {
            denies = true;
            denied.push(vec![term]);
        }
    }
    for (at, word) in words.iter().enumerate() {
        if !ENGLISH.contains(&word.as_str()) && !CONTRACTED.contains(&word.as_str()) {
            continue;
        }
        denies = true;
        let telling = |word: &&String| {
            word.len() > 2 && !FILLERS.contains(&word.as_str()) && !word.bytes().all(|c| c.is_ascii_digit())
        };
        let mut thing: Vec<String> = words[at + 1..].iter().filter(telling).take(REACH).cloned().collect();
        if thing.is_empty() {
            // "was stopped", "pain: none".
            thing = words[..at].iter().rev().filter(telling).take(1).cloned().collect();
        }
        if !thing.is_empty() {
            denied.push(thing);
        }
    }
    let undecided = UNDECIDED.iter().any(|word| text.contains(word));
    Clause { text: text.to_owned(), words, denied, denies, undecided }
}

/// What stands before a denial: the last word that is a thing, at most a few words back.
fn before(text: &str) -> Option<String> {
    const BACK: usize = 3;
    let mut rest = text.trim_end();
    // 延期 denies what the clause is about, not the reason that it gives.
    if let Some(reason) = rest.find("のため")
        && let Some(topic) = rest[..reason].rfind(['は', 'が'])
    {
        rest = &rest[..topic];
    }
    for _ in 0..BACK {
        while let Some(shorter) = BETWEEN.iter().find_map(|word| rest.strip_suffix(word)) {
            rest = shorter.trim_end();
        }
        let boundary = |c: char| {
            !c.is_alphanumeric() || matches!(c, 'は' | 'が' | 'を' | 'に' | 'で' | 'と' | 'も' | 'の' | 'へ')
        };
        let start =
            rest.char_indices().rev().find(|(_, c)| boundary(*c)).map_or(0, |(at, c)| at + c.len_utf8());
        // Neither the ending of a verb nor a まだ before a noun is what it is about.
        let run = &rest[start..];
        let hiragana = |c: char| matches!(c, 'ぁ'..='ゖ');
        let stem = run.trim_matches(hiragana);
        let term = if stem.is_empty() { run } else { stem };
        let telling =
            term.chars().any(|c| is_kanji(c) || matches!(c, 'ァ'..='ヺ') || c.is_ascii_alphabetic());
        if telling || term.chars().count() >= 3 {
            return Some(last_word(term).to_owned());
        }
        rest = rest[..start].trim_end();
    }
    None
}

/// アレルギー of 薬剤アレルギー: the last word of one script, if it is long enough to stand alone.
fn last_word(term: &str) -> &str {
    let katakana = |c: char| matches!(c, 'ァ'..='ヺ' | 'ー');
    let start = term.char_indices().rev().find(|(_, c)| !katakana(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    if term[start..].chars().count() >= 3 { &term[start..] } else { term }
}

fn is_kanji(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '々')
}

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
            ("申請は済んでいます", "認定証は未申請。"),
            ("むくみが残っています", "むくみは消失した。"),
            ("インフルエンザは陽性です", "インフルエンザは陰性。"),
            ("The patient has a fever", "No fever."),
            ("She does not have pain", "She has pain in the left knee."),
            ("There are signs of infection", "No sign of infection."),
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
            ("内服薬がAからBに変わりました", "Aは中止し、Bへ変更。"),
            ("平熱です", "熱なし。"),
            ("傷に臭いはありません", "悪臭なし。"),
        ] {
            assert!(!opposed(text, record), "{text} / {record}");
        }
    }
}
