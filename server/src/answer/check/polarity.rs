//! Does a text affirm what a record denies, or deny what it affirms? A text contradicts a record that says the opposite of one
//! of its clauses, and nowhere the same. Pairs of opposites (右 and 左, increased and decreased) count too.

use std::collections::BTreeSet;

use karute_engine::Row;

use super::clause::{Clause, clauses};
use super::folded::folded;
use super::opposites;
use super::quantities::{self, Quantity};
use super::wording::plain;

/// Words for what was otherwise before: of several rows an earlier one says the opposite then.
const CHANGES: [&str; 4] = ["no longer", "なくなり", "なくなっ", "ようになり"];

/// In which sentences of some rows the things stand that a claim names.
struct Places(Vec<BTreeSet<usize>>);

impl Places {
    fn of(claim: &Clause, said: &[Clause]) -> Self {
        let places = |thing: &String| {
            let holding = said.iter().filter(|clause| clause.text.contains(thing.as_str()));
            holding.map(|clause| clause.sentence).collect()
        };
        Self(opposites::things(&claim.text).iter().map(places).collect())
    }

    /// Whether the claim may be about what `other` says: of the things that it names and the rows name, no fewer stand in the sentence
    /// of `other` than in others alone.
    fn speak_of(&self, other: &Clause) -> bool {
        let (here, elsewhere): (Vec<_>, Vec<_>) = self
            .0
            .iter()
            .filter(|places| !places.is_empty())
            .partition(|places| places.contains(&other.sentence));
        here.len() >= elsewhere.len()
    }
}

/// A sentence beside the rows that it cites, each taken apart once.
pub(super) struct Comparison {
    text: String,
    claimed: Vec<Clause>,
    contents: String,
    said: Vec<Clause>,
    titles: String,
    rows: usize,
}

impl Comparison {
    /// Of `text` with `rows`.
    pub(super) fn of(text: &str, rows: &[&Row]) -> Self {
        let of = |part: fn(&Row) -> String| -> String {
            rows.iter().map(|row| plain(&folded(&part(row)))).collect::<Vec<_>>().join("\n")
        };
        let text = plain(&folded(text));
        // A title names what a record is about, and says nothing of it.
        let (contents, titles) =
            (of(|row| row.content.clone()), of(|row| format!("{}\n{}", row.title, row.date)));
        let (claimed, said) = (clauses(&text), clauses(&contents));
        Self { text, claimed, contents, said, titles, rows: rows.len() }
    }

    /// Whether some clause of the sentence says the opposite of what the rows say.
    pub(super) fn contradicts(&self) -> bool {
        let Self { text, claimed, contents, said, titles, rows } = self;
        let claims: Vec<(&Clause, Places)> =
            claimed.iter().map(|claim| (claim, Places::of(claim, said))).collect();
        let changes = *rows > 1 && CHANGES.iter().any(|word| text.contains(word));
        let denied_by_text = !changes
            && claims.iter().any(|(claim, places)| {
                claim.denied.iter().any(|term| {
                    let mut about = said.iter().filter(|other| other.speaks_of(term)).peekable();
                    about.peek().is_some() && about.all(|other| other.affirms(term) && places.speak_of(other))
                })
            });
        let denied_by_record = said.iter().any(|other| {
            other.denied.iter().any(|term| {
                claims.iter().any(|(claim, places)| claim.affirms(term) && places.speak_of(other))
                    && !said.iter().any(|other| other.mentions(term) && !other.rejects(term))
            })
        });
        denied_by_text
            || denied_by_record
            || opposites::turned(text, &format!("{titles}\n{contents}"))
            || opposites::turned_of_one_thing(claimed, said)
    }

    /// Whether a clause of the sentence says of something how often it is done, where every clause of the rows that says so of the
    /// same thing says another number.
    pub(super) fn is_as_often_otherwise(&self) -> bool {
        let rates = |clause: &Clause| -> Vec<Quantity> {
            let all = quantities::stated(&clause.text).into_iter();
            all.filter(|quantity| matches!(quantity, Quantity::Rate { .. })).collect()
        };
        self.claimed.iter().any(|claim| {
            let [rate] = &rates(claim)[..] else { return false };
            let things = opposites::things(&claim.text);
            let is_about = |clause: &&Clause| things.iter().any(|thing| clause.text.contains(thing.as_str()));
            let known: Vec<Quantity> = self.said.iter().filter(is_about).flat_map(rates).collect();
            !known.is_empty() && !known.iter().any(|known| known.covers(rate))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opposed(text: &str, record: &str) -> bool {
        let row = Row { content: record.into(), ..Row::default() };
        Comparison::of(text, &[&row]).contradicts()
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
            ("訪問リハビリは続けています", "訪問リハビリは中断。点滴は継続。"),
            (
                "次女はショートステイの利用を決められました",
                "次女へショートステイを提案したが「今回は見送ります」とのこと。",
            ),
            ("カテーテルを入れ直しました", "再挿入は行わず抜いたままとした。"),
            ("とろみをつける必要があります", "とろみは不要と判断。"),
            ("The CT confirmed an embolism", "Pulmonary embolism ruled out by CT."),
            ("She was given her metformin", "Morning metformin held because of vomiting."),
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
            ("点滴は続けています", "訪問リハビリは中断。点滴は継続。"),
            ("お風呂の代わりに体拭きをしました", "入浴は本人の希望で中止、清拭に変更。"),
            ("むくみはなくなりました", "浮腫消失。"),
            ("The MRI showed no stroke", "Stroke was excluded by MRI."),
            ("The motor broke down", "Suction unit motor failed at 8:00."),
        ] {
            assert!(!opposed(text, record), "{text} / {record}");
        }
    }
}
