//! Clauses, and what each denies: in Japanese what stands before the denial, in English what follows it.

use karute_engine::words::sentences;

use super::denials::{
    BETWEEN, BY_MEANING, CONTRACTED, DEEDS, DENIALS, ENGLISH, ENGLISH_BEHIND, FILLERS, HELD_FOR, NO_DENIALS,
    UNDECIDED,
};

/// Denials of one kind in a clause that are looked at, and characters of what one denies: more is no sentence.
const DENIED: usize = 16;
const LONGEST: usize = 12;
/// How many of the words behind an English denial it denies.
const REACH: usize = 2;

/// A clause: its words, and what it denies of them.
pub(super) struct Clause {
    pub(super) text: String,
    /// The sentence that it belongs to, from 0.
    pub(super) sentence: usize,
    words: Vec<String>,
    /// Each a thing, or the words of one, all of which a clause must hold to speak of it.
    pub(super) denied: Vec<Vec<String>>,
    pub(super) denies: bool,
    /// Whether grammar turns what it says: not, ない.
    pub(super) turns: bool,
    undecided: bool,
}

impl Clause {
    /// Whether the clause speaks of `thing`, and says that there is none.
    pub(super) fn rejects(&self, thing: &[String]) -> bool {
        self.denies || self.denied.iter().any(|denied| denied.iter().any(|word| thing.contains(word)))
    }

    /// Whether the clause speaks of `thing`, and says that it is so.
    pub(super) fn affirms(&self, thing: &[String]) -> bool {
        self.speaks_of(thing) && !self.rejects(thing) && !self.undecided
    }

    /// Whether the clause holds all words of `thing`, be it inside others.
    pub(super) fn mentions(&self, thing: &[String]) -> bool {
        thing.iter().all(|word| self.text.contains(word.as_str()) || self.holds(word))
    }

    /// Whether the clause holds all words of `thing`.
    pub(super) fn speaks_of(&self, thing: &[String]) -> bool {
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

/// The clauses of `text`, which is folded and in plain words.
pub(super) fn clauses(text: &str) -> Vec<Clause> {
    const CUTS: [&str; 8] = [". ", " but ", " and ", " while ", "けれど", "ですが", "ましたが", "たものの"];
    let signs = ['、', '。', ',', ';', '\n', '!', '?', '(', ')', '・', '「', '」'];
    let mut found = Vec::new();
    for (number, range) in sentences(text).into_iter().enumerate() {
        let pieces: Vec<&str> = text[range].split(signs).collect();
        let pieces = CUTS
            .iter()
            .fold(pieces, |pieces, cut| pieces.iter().flat_map(|piece| piece.split(cut)).collect());
        let telling = pieces.into_iter().filter(|piece| piece.chars().any(char::is_alphanumeric));
        found.extend(telling.map(|piece| clause(piece, number)));
    }
    found
}

fn clause(text: &str, sentence: usize) -> Clause {
    let japanese = NO_DENIALS.iter().fold(text.to_owned(), |text, word| text.replace(word, " "));
    let words: Vec<String> = text
        .replace(['\'', '’'], "")
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let mut denied = Vec::new();
    let (mut denies, mut turns) = (false, false);
    for denial in DENIALS {
        for (at, _) in japanese.match_indices(denial).take(DENIED) {
            denies = true;
            let front = &japanese[..at];
            let deed = DEEDS.iter().any(|deed| denial.starts_with(deed));
            turns |= !deed && !BY_MEANING.contains(&denial);
            let topic = if deed { topic(front) } else { None };
            denied.extend(topic.or_else(|| before(front)).map(|term| vec![term]));
        }
    }
    for (at, sign) in japanese.match_indices(['未', '無', '不']) {
        let term: String = japanese[at + sign.len()..].chars().take_while(|c| is_kanji(*c)).collect();
        let other = ["未満", "未来", "無理", "無料", "無事", "無線", "不眠", "不整", "不調", "不動"]
            .iter()
            .any(|word| japanese[at..].starts_with(word));
        if term.chars().count() >= 2 && !other {
            denies = true;
            denied.push(vec![term]);
        }
    }
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", String::as_str);
        let behind = ENGLISH_BEHIND.contains(&word.as_str()) && (word != "held" || HELD_FOR.contains(&next));
        let failed = matches!(word.as_str(), "failed" | "fails") && next == "to";
        if !behind && !failed && !ENGLISH.contains(&word.as_str()) && !CONTRACTED.contains(&word.as_str()) {
            continue;
        }
        // Of a clause that says what is done without something, only that is denied.
        denies |= !matches!(word.as_str(), "without" | "except" | "excluding");
        turns |=
            !behind && !matches!(word.as_str(), "refused" | "refuses" | "declined" | "declines" | "denied");
        let telling = |word: &&String| {
            word.len() > 2
                && !FILLERS.contains(&word.as_str())
                && !word.starts_with(|c: char| c.is_ascii_digit())
        };
        let follows =
            || -> Vec<String> { words[at + 1..].iter().filter(telling).take(REACH).cloned().collect() };
        let precedes =
            || -> Vec<String> { words[..at].iter().rev().filter(telling).take(1).cloned().collect() };
        let (first, second) = match behind && next != "for" {
            true => (precedes(), follows()),
            false => (follows(), precedes()),
        };
        let thing = if first.is_empty() { second } else { first };
        if !thing.is_empty() {
            denied.push(thing);
        }
    }
    let undecided = UNDECIDED.iter().any(|word| text.contains(word));
    Clause { text: text.to_owned(), sentence, words, denied, denies, turns, undecided }
}

/// What a clause is about: the last word before は, が, を or も.
fn topic(text: &str) -> Option<String> {
    let at = text.rfind(['は', 'が', 'を', 'も'])?;
    before(&text[..at])
}

/// What stands before a denial: the last word that is a thing, at most a few words back.
fn before(text: &str) -> Option<String> {
    const BACK: usize = 3;
    let mut rest = text.trim_end();
    // A denial is of what the clause is about, not of the reason that it gives.
    if let Some(reason) = rest.find("のため")
        && let Some(topic) = rest[..reason].rfind(['は', 'が'])
    {
        rest = &rest[..topic];
    }
    // A word in hiragana alone, such as とろみ, from its beginning to its particle.
    if let Some(word) = rest.strip_suffix(['は', 'が', 'を', 'も'])
        && word.chars().count() >= 3
        && word.chars().all(|c| matches!(c, 'ぁ'..='ゖ'))
    {
        return Some(word.to_owned());
    }
    for _ in 0..BACK {
        while let Some(shorter) = BETWEEN.iter().find_map(|word| without_end(rest, word)) {
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
            let word = last_word(term);
            let begins = word.char_indices().rev().nth(LONGEST - 1).map_or(0, |(at, _)| at);
            return Some(word[begins..].to_owned());
        }
        rest = rest[..start].trim_end();
    }
    None
}

/// `text` without `word` at its end; the 出 of 熱は出ず goes, that of 検出せず does not.
fn without_end<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let shorter = text.strip_suffix(word)?;
    let is_part = shorter.ends_with(is_kanji) && word.chars().count() == 1 && word.ends_with(is_kanji);
    (!is_part).then_some(shorter)
}

/// アレルギー of 薬剤アレルギー: the last word of one script, if it is long enough to stand alone.
fn last_word(term: &str) -> &str {
    let katakana = |c: char| matches!(c, 'ァ'..='ヺ' | 'ー');
    let start = term.char_indices().rev().find(|(_, c)| !katakana(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    if term[start..].chars().count() >= 3 { &term[start..] } else { term }
}

pub(super) fn is_kanji(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '々')
}
