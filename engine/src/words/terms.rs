//! Known terms in a text: the words of the MedicalTerms sheet, each found by any of its forms.
//!
//! Forms and text are folded alike, then one Aho-Corasick automaton finds every form at once ("Efficient string matching",
//! CACM 1975). Japanese has no spaces, so a form counts only where it stands as a word: `熱` is no part of `熱心`.

use aho_corasick::{AhoCorasick, BuildError};

use super::normalise::{Script, Symbol, normalise};
use crate::row::Term;

/// A term in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermMatch<'a> {
    /// The term.
    pub term: &'a Term,
    /// The form by which it was found, as the sheet writes it.
    pub form: &'a str,
}

/// Terms, ready to be looked for.
#[derive(Clone, Debug)]
pub struct Terms {
    terms: Vec<Term>,
    automaton: AhoCorasick,
    /// Of each pattern: its term, and which of the term's forms it is (0 the canonical one).
    forms: Vec<(usize, usize)>,
}

impl Terms {
    /// Compiles the forms of `terms`. Forms without a letter or digit are passed over.
    ///
    /// # Errors
    /// More forms than an automaton can hold.
    pub fn new(terms: &[Term]) -> Result<Self, BuildError> {
        let (mut patterns, mut forms) = (Vec::new(), Vec::new());
        for (at, term) in terms.iter().enumerate() {
            for (number, form) in all_forms(term).enumerate() {
                let pattern: String = normalise(form).iter().map(|symbol| symbol.folded).collect();
                if !pattern.is_empty() {
                    patterns.push(pattern);
                    forms.push((at, number));
                }
            }
        }
        Ok(Self { terms: terms.to_vec(), automaton: AhoCorasick::new(&patterns)?, forms })
    }

    /// The terms of `text`, each once, in the order of their first places. Where forms overlap, the one that begins
    /// first and then the longest wins; one form of several terms finds all of them.
    pub fn find(&self, text: &str) -> Vec<TermMatch<'_>> {
        let symbols = normalise(text);
        let folded: String = symbols.iter().map(|symbol| symbol.folded).collect();
        let places: Vec<usize> =
            folded.char_indices().map(|(place, _)| place).chain([folded.len()]).collect();
        let number = |place: usize| places.partition_point(|&at| at < place);
        let mut found: Vec<(usize, usize, usize)> = Vec::new();
        for hit in self.automaton.find_overlapping_iter(&folded) {
            let (start, end) = (number(hit.start()), number(hit.end()));
            if stands_alone(&symbols, start, end) {
                found.push((start, end, hit.pattern().as_usize()));
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
        let (mut taken, mut last) = (Vec::<TermMatch<'_>>::new(), (0, 0));
        for (start, end, pattern) in found {
            if start < last.1 && (start, end) != last {
                continue;
            }
            last = (start, end);
            let Some((term, form)) = self.forms.get(pattern).and_then(|&(term, form)| {
                let term = self.terms.get(term)?;
                Some((term, all_forms(term).nth(form)?))
            }) else {
                continue;
            };
            if !taken.iter().any(|known| std::ptr::eq(known.term, term)) {
                taken.push(TermMatch { term, form });
            }
        }
        taken
    }
}

/// The canonical form of a term, then its synonyms.
fn all_forms(term: &Term) -> impl Iterator<Item = &str> {
    std::iter::once(&term.canonical).chain(&term.synonyms).map(String::as_str)
}

/// Hiragana that follow a word without being part of it.
const PARTICLES: &str = "はがをにでともやのへか";

/// Kanji that follow a word for a state or a measure without making another of it: 夜間発熱時, 浮腫増強.
const OF_A_STATE: &str = "時中後前増減悪強軽終開量値間感性症有無消出持継";

/// Whether the symbols `start..end` are a word of their own as far as the writing tells: letters, digits and katakana
/// must not go on at either end; a single kanji must not touch another, and a pair of them must not stand between two more (配薬 is
/// no part of 宅配薬局); hiragana of one or two must stand apart, but for the particles beside them.
fn stands_alone(symbols: &[Symbol], start: usize, end: usize) -> bool {
    let Some(form) = symbols.get(start..end).filter(|form| !form.is_empty()) else { return false };
    let particle = |symbol: &Symbol| symbol.script == Script::Hiragana && PARTICLES.contains(symbol.folded);
    // Behind の and the like a word begins, if what stands before them is no hiragana itself.
    let joins = |at: usize| {
        let left = at.checked_sub(1).and_then(|at| symbols.get(at));
        symbols.get(at).is_some_and(particle) && left.is_none_or(|left| left.script != Script::Hiragana)
            || at > 1 && symbols[at - 1..=at].iter().map(|symbol| symbol.folded).eq("んの".chars())
    };
    let before = start.checked_sub(1).filter(|at| !joins(*at)).and_then(|at| symbols.get(at));
    let before = before.map(|symbol| symbol.script);
    let after = symbols.get(end).filter(|symbol| !particle(symbol)).map(|symbol| symbol.script);
    let is_latin = |script: Script| matches!(script, Script::Letter | Script::Digit);
    let goes_on = |edge: Script, beside: Option<Script>| match (edge, beside) {
        (_, None | Some(Script::Separator)) => false,
        (edge, Some(beside)) if is_latin(edge) => is_latin(beside),
        (Script::Katakana, Some(beside)) => beside == Script::Katakana,
        (Script::Han, Some(beside)) => form.len() == 1 && beside == Script::Han,
        (_, Some(beside)) => form.len() < 3 && beside == Script::Hiragana,
    };
    let inside_kanji = form.len() == 2
        && form.iter().all(|symbol| symbol.script == Script::Han)
        && before == Some(Script::Han)
        && after == Some(Script::Han)
        && !symbols.get(end).is_some_and(|symbol| OF_A_STATE.contains(symbol.folded));
    !inside_kanji && !goes_on(form[0].script, before) && !goes_on(form[form.len() - 1].script, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms() -> Terms {
        let term = |canonical: &str, synonyms: &[&str]| Term {
            canonical: canonical.into(),
            synonyms: synonyms.iter().map(|form| (*form).to_owned()).collect(),
            ..Term::default()
        };
        let all = [
            term("発熱", &["熱", "熱発", "体温上昇"]),
            term("膀胱留置カテーテル", &["バルーン", "尿カテ"]),
            term("点滴", &["IV"]),
            term("浮腫", &["むくみ"]),
            term("カテーテル", &[]),
            term("服薬管理", &["配薬"]),
            term("下痢", &["げり"]),
            term("", &["、"]),
        ];
        Terms::new(&all).expect("few forms")
    }

    fn found(text: &str) -> Vec<String> {
        terms().find(text).iter().map(|found| format!("{}<{}", found.term.canonical, found.form)).collect()
    }

    #[test]
    fn a_form_counts_only_where_it_stands_as_a_word() {
        assert_eq!(found("熱心に聞く"), Vec::<String>::new());
        assert_eq!(found("熱がある"), ["発熱<熱"]);
        assert_eq!(found("IVHの管理"), Vec::<String>::new());
        assert_eq!(found("IVの後"), ["点滴<IV"]);
        assert_eq!(found("バルーンアート"), Vec::<String>::new());
        assert_eq!(found("足がむくみます"), ["浮腫<むくみ"]);
        assert_eq!(found("宅配薬局の電話"), Vec::<String>::new());
        assert_eq!(found("配薬の時間、毎日配薬"), ["服薬管理<配薬"]);
        assert_eq!(found("夜間発熱時の対応"), ["発熱<発熱"]);
        assert_eq!(found("久保田さんのげりは"), ["下痢<げり"]);
        assert_eq!(found("ちりのげりり"), Vec::<String>::new());
    }

    #[test]
    fn the_longest_form_wins_and_each_term_is_named_once() {
        assert_eq!(
            found("膀胱留置カテーテルとﾊﾞﾙｰﾝ、熱発"),
            ["膀胱留置カテーテル<膀胱留置カテーテル", "発熱<熱発"]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_found_is_there(text in "[熱心発むくみバルーン IV、ー体温上昇x]{0,30}") {
            let folded = |text: &str| normalise(text).iter().map(|symbol| symbol.folded).collect::<String>();
            let terms = terms();
            for found in terms.find(&text) {
                prop_assert!(folded(&text).contains(&folded(found.form)));
            }
        }
    }
}
