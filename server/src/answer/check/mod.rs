//! Does each sentence of an answer say what its cited rows say? Local, deterministic and free: no model is asked.
//!
//! A sentence is taken apart into what can be looked up: its citations, numbers with their units, days and times, names of
//! drugs, and whether each of its clauses affirms or denies. Each must stand in a cited row. What the rule cannot see is a
//! wrong statement made of right parts; what it does see, a model gets wrong most dangerously.

mod clause;
mod denials;
mod derived;
mod drugs;
mod folded;
mod opposites;
mod polarity;
mod quantities;
mod rates;
mod weekdays;
mod wording;

use std::collections::BTreeSet;

use karute_engine::Row;
use karute_engine::words::sentences;
use serde::Serialize;
use utoipa::ToSchema;

use super::cite::{marks, without_marks};
use crate::retrieve::relevance::{Held, Relevance, Vocabulary};
use crate::retrieve::understand::names::{before_honorifics, said_in, squeeze, stands_in, written};
use polarity::Comparison;
use quantities::Quantity;
use wording::plain;

/// Why a sentence is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SentenceFault)]
pub enum Fault {
    /// It states something and cites no row.
    NoCitation,
    /// It cites a row that is not there.
    UnknownCitation,
    /// It is about something else than the rows that it cites.
    OtherRow,
    /// A number, or its unit, stands in no cited row.
    Number,
    /// A day or a time stands in no cited row.
    Date,
    /// A drug stands in no cited row.
    Drug,
    /// It affirms what a cited row denies, or the other way round.
    Negation,
}

/// What became of one sentence.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Verdict {
    /// The sentence with its marks.
    pub sentence: String,
    /// Whether the cited rows say so.
    pub supported: bool,
    /// Why not.
    pub faults: Vec<Fault>,
}

/// Judges answers.
pub trait Checker: Send + Sync {
    /// One verdict for each sentence of `answer` that states something; `rows` are those of the context, number 1 first, `None`
    /// for one that whoever wrote the answer was not shown.
    fn check(&self, answer: &str, rows: &[Option<&Row>]) -> Vec<Verdict>;
}

/// The checker of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

/// The least share of a sentence's wording that its cited rows must hold between them.
const LEAST_SHARE: f32 = 0.05;
/// What a sentence says that heads a list, and states nothing.
const HEADINGS: [&str; 5] = ["次のとおり", "次の通り", "以下のとおり", "以下の通り", "as follows"];
/// How much more of a sentence a row that it does not cite may hold than those that it does.
const ANOTHER: f32 = 0.3;

impl Checker for Local {
    fn check(&self, answer: &str, rows: &[Option<&Row>]) -> Vec<Verdict> {
        let cited = statements(answer);
        cited.into_iter().map(|(sentence, numbers)| verdict(sentence, &numbers, rows)).collect()
    }
}

/// The sentences that state something, each with the numbers of the rows that it cites. Marks that stand behind a full stop
/// belong to the sentence before it.
fn statements(answer: &str) -> Vec<(String, Vec<usize>)> {
    let mut found: Vec<(String, Vec<usize>)> = Vec::new();
    for range in sentences(answer) {
        let sentence = &answer[range.clone()];
        let numbers: Vec<usize> = marks(sentence).into_iter().map(|(_, number)| number).collect();
        let bare = without_marks(sentence);
        if !bare.chars().any(char::is_alphanumeric) {
            if let Some((last, cited)) = found.last_mut() {
                last.push_str(sentence);
                cited.extend(numbers);
            }
            continue;
        }
        // Marks at the front close the sentence before, if that stands on the same line.
        let begins_a_line = answer[..range.start].trim_end_matches([' ', '　']).ends_with(['\n', '\r']);
        let length = if begins_a_line { 0 } else { leading_marks(sentence) };
        let (front, rest) = sentence.split_at(length);
        let front_numbers: Vec<usize> = marks(front).into_iter().map(|(_, number)| number).collect();
        match found.last_mut().filter(|_| !front_numbers.is_empty()) {
            Some((last, cited)) => {
                last.push_str(front);
                cited.extend(front_numbers);
                let own = marks(rest).into_iter().map(|(_, number)| number).collect();
                found.push((rest.to_owned(), own));
            }
            None => found.push((sentence.to_owned(), numbers)),
        }
    }
    found
}

/// Bytes of the whole marks that `text` begins with.
fn leading_marks(text: &str) -> usize {
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let closed =
            trimmed.starts_with(['[', '［', '【']).then(|| trimmed.find([']', '］', '】'])).flatten();
        let Some(end) = closed else { break };
        let after = &trimmed[end..];
        let after = &after[after.chars().next().map_or(0, char::len_utf8)..];
        if marks(&trimmed[..trimmed.len() - after.len()]).is_empty() {
            break;
        }
        rest = after;
    }
    text.len() - rest.len()
}

/// Words by which models say that the rows hold no answer.
const NOTHING: [&str; 4] =
    ["記録には見当たりません", "記録に見当たりません", "The records do not say", "The records don't say"];

/// Whether an answer says nothing but that the rows hold none, by these words or those that its rules gave it.
pub(super) fn says_nothing(answer: &str, told: Option<&str>) -> bool {
    let bare = |text: &str| -> String {
        without_marks(text).chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let said = bare(answer);
    NOTHING.into_iter().chain(told).any(|words| said == bare(words))
}

fn verdict(sentence: String, cited: &[usize], rows: &[Option<&Row>]) -> Verdict {
    let text = without_marks(&sentence);
    let mut faults = BTreeSet::new();
    let cited: BTreeSet<usize> = cited.iter().copied().collect();
    let known: Vec<&Row> = cited.iter().filter_map(|number| *rows.get(number.checked_sub(1)?)?).collect();
    let rows: Vec<&Row> = rows.iter().flatten().copied().collect();
    if cited.is_empty() {
        faults.insert(Fault::NoCitation);
    } else if known.len() < cited.len() {
        faults.insert(Fault::UnknownCitation);
    }
    if !known.is_empty() {
        let texts = known.iter().map(|row| format!("{}\n{}\n{}", row.title, row.date, row.content));
        let evidence = texts.collect::<Vec<_>>().join("\n");
        let mut said = quantities::read(&evidence);
        said.extend(derived::derived(&text, &known, &rows));
        let stated = quantities::stated(&text);
        let tells = stated.iter().any(|quantity| quantity.is_telling() && quantities::holds(&said, quantity));
        if is_about_another(&text, &known, &rows, tells) || names_somebody_else(&text, &known, &rows) {
            faults.insert(Fault::OtherRow);
        }
        for quantity in stated {
            if !quantities::holds(&said, &quantity) {
                faults.insert(match quantity {
                    Quantity::Number { .. } | Quantity::Rate { .. } | Quantity::Pace { .. } => Fault::Number,
                    Quantity::Day { .. } | Quantity::Time { .. } | Quantity::Month { .. } => Fault::Date,
                });
            }
        }
        let comparison = Comparison::of(&text, &known);
        if comparison.is_as_often_otherwise() || rates::counts_otherwise(&text, &evidence) {
            faults.insert(Fault::Number);
        }
        if drugs::others(&plain(&text), &plain(&evidence)) {
            faults.insert(Fault::Drug);
        }
        if comparison.contradicts() {
            faults.insert(Fault::Negation);
        }
    }
    Verdict { sentence, supported: faults.is_empty(), faults: faults.into_iter().collect() }
}

/// Whether `text` names a client of whom other rows speak, and cites rows of another alone, in which that name is not.
fn names_somebody_else(text: &str, cited: &[&Row], rows: &[&Row]) -> bool {
    let names = before_honorifics(&written(text), |_| false);
    if names.is_empty() {
        return false;
    }
    let said: Vec<(&Row, String)> = rows.iter().map(|row| (*row, said_in(row))).collect();
    let cited: Vec<(&Row, String)> = cited.iter().map(|row| (*row, squeeze(&said_in(row)))).collect();
    names.iter().filter(|name| name.chars().count() <= LONGEST_NAME).take(NAMES).any(|name| {
        // A title may part the family's name from the given one.
        let inner = name.char_indices().skip(1).map(|(at, _)| format!("{} {}", &name[..at], &name[at..]));
        let spelt: Vec<String> = std::iter::once(name.clone()).chain(inner).collect();
        let owned = said.iter().filter(|(row, said)| {
            !row.client_id.is_empty() && spelt.iter().any(|name| stands_in(said, name, true))
        });
        let theirs: BTreeSet<&str> = owned.map(|(row, _)| row.client_id.as_str()).collect();
        let of_another = |(row, said): &(&Row, String)| {
            !row.client_id.is_empty() && !theirs.contains(row.client_id.as_str()) && !said.contains(name)
        };
        !theirs.is_empty() && cited.iter().all(of_another)
    })
}

/// Characters of a name, and names of a sentence, that are looked for.
const LONGEST_NAME: usize = 12;
const NAMES: usize = 20;

/// Whether the wording of `text` is that of other rows than `cited`. Where these hold a number or a day that it `tells`, it need not
/// share a word with them.
fn is_about_another(text: &str, cited: &[&Row], rows: &[&Row], tells: bool) -> bool {
    let vocabulary = Vocabulary::new(&plain(text), &[]);
    let held = |row: &Row| vocabulary.beside(row).and(&vocabulary.held(&plain(&row.content)));
    let all: Vec<Held> = rows.iter().map(|row| held(row)).collect();
    let relevance = Relevance::new(&vocabulary, &[]);
    let mut own = Held::default();
    cited.iter().for_each(|row| own.add(&held(row)));
    let share = relevance.covered(&own);
    let best = all.iter().map(|other| relevance.covered(other)).fold(0.0, f32::max);
    let heads =
        HEADINGS.iter().any(|heading| text.contains(heading)) || text.trim_end().ends_with([':', '：']);
    share < LEAST_SHARE && !tells && !heads || best - share > ANOTHER
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(content: &str) -> Row {
        Row {
            title: "久保田 実 訪問記録".into(),
            date: "2026-10-05".into(),
            content: content.into(),
            ..Row::default()
        }
    }

    fn faults(answer: &str, rows: &[Row]) -> Vec<Fault> {
        let rows: Vec<&Row> = rows.iter().collect();
        Local
            .check(answer, &rows.iter().copied().map(Some).collect::<Vec<_>>())
            .into_iter()
            .flat_map(|verdict| verdict.faults)
            .collect()
    }

    #[test]
    fn what_is_said_of_one_client_rests_on_no_record_of_another() {
        let of = |client: &str, title: &str, content: &str| Row {
            client_id: client.into(),
            title: title.into(),
            content: content.into(),
            ..Row::default()
        };
        let rows = [
            of("CL-1", "江口 照男 訪問記録", "体重は52.0kg。"),
            of("CL-2", "青木 澄江 訪問記録", "体重は46.8kg。"),
            of("CL-1", "訪問記録", "体重は51.5kg。"),
            of("", "申し送り", "江口様の体重は52.3kgとのこと。"),
            of("CL-2", "訪問記録", "訪問は佐藤看護師。発熱なし。"),
            of("CL-3", "訪問記録", "佐藤さんと母が同席。"),
        ];
        for wrong in ["江口さんの体重は46.8kgです[2]。", "江口照男さんの体重は46.8kgです[2]。"]
        {
            assert_eq!(faults(wrong, &rows), [Fault::OtherRow], "{wrong}");
        }
        for right in [
            "江口さんの体重は52.0kgです[1]。",
            "江口照男さんの体重は51.5kgです[3]。",
            "江口さんの体重は52.3kgです[4]。",
            "体重は46.8kgです[2]。",
            "青木さんの体重は46.8kgです[2]。",
            "青木澄江さんの体重は46.8kgです[2]。",
            "訪問は看護師の佐藤さんで、発熱なし[5]。",
        ] {
            assert_eq!(faults(right, &rows), [], "{right}");
        }
    }

    #[test]
    fn what_was_not_shown_cannot_be_cited() {
        let shown = row("体温は36.5℃。");
        let verdicts = Local.check("体温は36.5℃です[2]。", &[Some(&shown), None]);
        assert_eq!(verdicts[0].faults, [Fault::UnknownCitation]);
    }

    #[test]
    fn right_answers_pass_however_they_are_worded() {
        let rows = [
            row(
                "体温38.5℃、血圧120/80。発熱はなし。アムロジピン5mgを朝食後に1錠。次回の交換は10月20日14時。",
            ),
            row("The wound is clean. No fever. Metformin 500 mg twice daily. Next visit on October 21."),
        ];
        for answer in [
            "体温は38.5度でした[1]。",
            "血圧は１２０/８０です [1]。",
            "発熱は見られませんでした。[1]",
            "アムロジピンは5 mgを朝に1錠飲んでいます[1]。次の交換は2026年10月20日の午後2時です[1]。",
            "次回の交換は10/20です[1]。",
            "The patient takes metformin 500mg and has no fever [2].",
            "The next visit is on Oct 21 [2].",
        ] {
            assert_eq!(faults(answer, &rows), [], "{answer}");
        }
    }

    #[test]
    fn each_kind_of_wrong_answer_is_found() {
        let rows = [
            row("体温38.5℃。発熱あり、痛みはなし。アムロジピン5mgを朝食後に1錠。次回の交換は10月20日14時。"),
            row("訪問車の鍵は事務所の金庫に入れる。"),
        ];
        for (answer, expected) in [
            ("体温は38.6℃でした[1]。", Fault::Number),
            ("アムロジピン50mgを飲んでいます[1]。", Fault::Number),
            ("アムロジピン5mLを飲んでいます[1]。", Fault::Number),
            ("ニフェジピン5mgを朝食後に1錠です[1]。", Fault::Drug),
            ("次回の交換は10月21日です[1]。", Fault::Date),
            ("次回の交換は10月20日15時です[1]。", Fault::Date),
            ("発熱はありません[1]。", Fault::Negation),
            ("痛みがあります[1]。", Fault::Negation),
            ("体温は38.5℃でした[3]。", Fault::UnknownCitation),
            ("体温は38.5℃でした。", Fault::NoCitation),
            ("次回の交換は10月20日です[2]。", Fault::OtherRow),
        ] {
            assert!(faults(answer, &rows).contains(&expected), "{answer}: {:?}", faults(answer, &rows));
        }
    }

    #[test]
    fn marks_behind_a_full_stop_belong_to_the_sentence_before() {
        let found = statements("熱はない。[1] 食欲あり。[2][3]\n- 次回は火曜[1]。");
        let numbers: Vec<Vec<usize>> = found.into_iter().map(|(_, numbers)| numbers).collect();
        assert_eq!(numbers, [vec![1], vec![2, 3], vec![1]]);
        // At the beginning of a line they belong to that line.
        let found = statements("[1] 体温36.5℃。\n[2] 血圧120/80。\n[3]");
        let numbers: Vec<Vec<usize>> = found.into_iter().map(|(_, numbers)| numbers).collect();
        assert_eq!(numbers, [vec![1], vec![2, 3]]);
    }
}
