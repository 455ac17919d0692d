//! The local answerer: quotes, word for word, the sentences that cover the question best.

use futures_util::stream::{self, BoxStream, StreamExt};
use karute_engine::words::sentences;

use super::{Answerer, Asked, Citation, Piece};
use crate::error::Failure;
use crate::retrieve::Evidence;
use crate::retrieve::relevance::{Held, Relevance, Vocabulary};
use crate::retrieve::signals::TITLE_SHARE;

/// Its name. The number at the end changes with every change of its output.
const MODEL: &str = "karute-extractive-1";

/// Most sentences in an answer.
const SENTENCES: usize = 3;
/// A sentence must cover at least this share of what the best one covers.
const BESIDE_THE_BEST: f32 = 0.85;
/// Sentences whose scores differ by less than this cover the question alike; of those the newest comes first.
const ALIKE: f32 = 0.1;

/// Answers by quoting records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extractive;

struct Candidate<'a> {
    number: usize,
    evidence: &'a Evidence,
    start: usize,
    end: usize,
    score: f32,
}

impl Answerer for Extractive {
    fn mode(&self) -> &'static str {
        "extractive"
    }

    fn model(&self) -> &str {
        MODEL
    }

    fn answer<'a>(&'a self, asked: &'a Asked) -> BoxStream<'a, Result<Piece, Failure>> {
        let pieces = best(&asked.vocabulary(), &asked.evidence).into_iter().enumerate().flat_map(
            |(position, candidate)| {
                let Candidate { number, evidence, start, end, .. } = candidate;
                let row = &evidence.row;
                let separator = if position == 0 { "" } else { "\n" };
                let citation = Citation::of(number, evidence, start, end);
                // The day stands beside the quotation, because what was true then may not be true now.
                let date = if row.date.is_empty() { String::new() } else { format!("（{}）", row.date) };
                let text = format!("{separator}{} [{number}]{date}", &row.content[start..end]);
                [Ok(Piece::Text(text)), Ok(Piece::Cited(citation))]
            },
        );
        stream::iter(pieces).boxed()
    }
}

/// The sentences to quote, best first.
fn best<'a>(vocabulary: &Vocabulary, evidence: &'a [Evidence]) -> Vec<Candidate<'a>> {
    let whole =
        |evidence: &Evidence| vocabulary.beside(&evidence.row).and(&vocabulary.held(&evidence.row.content));
    let held: Vec<Held> = evidence.iter().map(whole).collect();
    let relevance = Relevance::new(vocabulary, &held);
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    for (number, evidence) in (1..).zip(evidence).filter(|(_, evidence)| evidence.about) {
        let ranges = sentences(&evidence.row.content);
        let title = vocabulary.held(&evidence.row.title);
        for (at, range) in ranges.iter().enumerate() {
            let (start, mut end) = (range.start, range.end);
            let mut sentence = &evidence.row.content[start..end];
            // A question in a record says nothing without the answer that follows it.
            if ["Q:", "Q：", "Q．", "Q.", "Ｑ：", "問：", "問:", "質問:", "質問："]
                .iter()
                .any(|q| sentence.starts_with(q))
                && let Some(answer) = ranges.get(at + 1)
            {
                end = answer.end;
                sentence = &evidence.row.content[start..end];
            }
            let held = vocabulary.held(sentence);
            let own = relevance.covered(&held);
            let with_title = relevance.covered(&held.and(&title));
            let score = own + TITLE_SHARE * (with_title - own);
            candidates.push(Candidate { number, evidence, start, end, score });
        }
    }
    // Of equal sentences the one of the better row, then the earlier one.
    candidates.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then(a.number.cmp(&b.number)).then(a.start.cmp(&b.start))
    });
    let best = candidates.first().map_or(0.0, |best| best.score);
    if best == 0.0 {
        // Vectors alone have found these rows, in other words than the question's: each says how it begins.
        candidates.dedup_by_key(|candidate| candidate.number);
    }
    let alike = candidates.partition_point(|candidate| candidate.score > best * (1.0 - ALIKE));
    candidates[..alike].sort_by(|a, b| b.evidence.row.date.cmp(&a.evidence.row.date));
    let least = best * BESIDE_THE_BEST;
    let mut quoted: Vec<Candidate<'a>> = Vec::new();
    for candidate in candidates.into_iter().filter(|candidate| candidate.score >= least) {
        let text = |c: &Candidate<'a>| &c.evidence.row.content[c.start..c.end];
        if quoted.len() < SENTENCES && !quoted.iter().any(|other| text(other) == text(&candidate)) {
            quoted.push(candidate);
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieve::understand::Understood;
    use karute_engine::Row;

    fn asked(question: &str) -> Vocabulary {
        Vocabulary::new(question, &[])
    }

    #[test]
    fn the_sentence_that_answers_is_quoted_word_for_word() {
        let content = "入浴介助を行った。膀胱留置カテーテルの次回交換は10月20日。皮膚の状態は良好。";
        let row =
            Row {
                id: "KB_1".into(), title: "久保田 実".into(), content: content.into(), ..Row::default()
            };
        let evidence = [Evidence { row, similarity: 0.6, score: 0.6, about: true, ..Evidence::default() }];
        let quoted = best(&asked("久保田さんのカテーテルの次回交換はいつ"), &evidence);
        assert_eq!(&content[quoted[0].start..quoted[0].end], "膀胱留置カテーテルの次回交換は10月20日。");
        assert_eq!(quoted[0].number, 1);
    }

    #[test]
    fn of_sentences_that_cover_the_question_alike_the_newest_comes_first() {
        let row = |date: &str, content: &str| Evidence {
            row: Row { date: date.into(), content: content.into(), ..Row::default() },
            similarity: 0.6,
            score: 0.6,
            about: true,
            ..Evidence::default()
        };
        let evidence = [row("2026-04-01", "体重の基準は48.0kg。"), row("2026-10-01", "体重の基準は47.5kg。")];
        assert_eq!(best(&asked("体重の基準は"), &evidence)[0].number, 2);
        let stranger = Evidence { about: false, ..row("2026-10-02", "体重の基準は60.0kg。") };
        assert_eq!(best(&asked("体重の基準は"), &[stranger]).len(), 0);
    }

    #[test]
    fn a_question_in_a_record_is_quoted_with_its_answer() {
        let content = "Q：喉がゴロゴロするときは。A：横を向いてもらいます。";
        let row = Row { content: content.into(), ..Row::default() };
        let evidence = [Evidence { row, similarity: 0.6, score: 0.6, about: true, ..Evidence::default() }];
        let quoted = best(&asked("喉がゴロゴロ"), &evidence);
        assert_eq!(&content[quoted[0].start..quoted[0].end], content);
    }

    #[test]
    fn what_a_question_takes_from_the_one_before_it_is_quoted() {
        let content = "久保田さんと散歩した。体温は36.5℃。食欲あり。";
        let row = Row { content: content.into(), ..Row::default() };
        let evidence = [Evidence { row, about: true, ..Evidence::default() }];
        let mut understood =
            Understood { text: "\n久保田さんの体温は".into(), ..Understood::default() };
        understood.people.names = vec!["久保田".into()];
        let asked = Asked { question: "昨日は？".into(), understood, ..Asked::default() };
        let quoted = best(&asked.vocabulary(), &evidence);
        assert_eq!(&content[quoted[0].start..quoted[0].end], "体温は36.5℃。");
        // Where no sentence has a word of it, each row says how it begins.
        let strange = best(&Vocabulary::new("temperature", &[]), &evidence);
        assert_eq!((strange.len(), strange[0].start), (1, 0));
    }

    #[test]
    fn equal_sentences_are_quoted_once() {
        let row = |id: &str| Row { id: id.into(), content: "体温は36.5℃。".into(), ..Row::default() };
        let evidence = ["a", "b"].map(|id| Evidence {
            row: row(id),
            similarity: 0.6,
            score: 0.6,
            about: true,
            ..Evidence::default()
        });
        assert_eq!(best(&asked("体温は"), &evidence).len(), 1);
    }
}
