//! The local answerer: quotes, word for word, the sentences that cover the question best.

use futures_util::stream::{self, BoxStream, StreamExt};
use karute_engine::words::sentences;

use super::relevance::Relevance;
use super::{Answerer, Citation, Evidence, Piece};
use crate::error::Failure;

/// Its name. The number at the end changes with every change of its output.
const MODEL: &str = "karute-extractive-1";

/// Most sentences in an answer.
const SENTENCES: usize = 3;
/// A sentence must cover at least this share of what the best one covers.
const BESIDE_THE_BEST: f32 = 0.75;
/// How much of what only the row's title covers counts for each of its sentences: records name the client in the
/// title and go on without.
const TITLE_SHARE: f32 = 0.5;

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

    fn answer<'a>(
        &'a self,
        question: &'a str,
        evidence: &'a [Evidence],
    ) -> BoxStream<'a, Result<Piece, Failure>> {
        let pieces = best(question, evidence).into_iter().enumerate().flat_map(|(position, candidate)| {
            let Candidate { number, evidence: Evidence { row, .. }, start, end, .. } = candidate;
            let separator = if position == 0 { "" } else { "\n" };
            let citation = Citation {
                number,
                id: row.id.clone(),
                spreadsheet: row.origin.spreadsheet.clone(),
                sheet: row.origin.sheet.clone(),
                row: row.origin.row_number,
                start,
                end,
            };
            let text = format!("{separator}{} [{number}]", &row.content[start..end]);
            [Ok(Piece::Text(text)), Ok(Piece::Cited(citation))]
        });
        stream::iter(pieces).boxed()
    }
}

/// The sentences to quote, best first.
fn best<'a>(question: &str, evidence: &'a [Evidence]) -> Vec<Candidate<'a>> {
    let relevance = Relevance::new(question, evidence);
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    for (number, evidence) in (1..).zip(evidence) {
        for range in sentences(&evidence.row.content) {
            let sentence = &evidence.row.content[range.clone()];
            let own = relevance.covered(sentence);
            let with_title = relevance.covered(&format!("{}\n{sentence}", evidence.row.title));
            let score = own + TITLE_SHARE * (with_title - own);
            candidates.push(Candidate { number, evidence, start: range.start, end: range.end, score });
        }
    }
    // Of equal sentences the one of the better row, then the earlier one.
    candidates.sort_by(|a, b| {
        b.score.total_cmp(&a.score).then(a.number.cmp(&b.number)).then(a.start.cmp(&b.start))
    });
    let least = candidates.first().map_or(0.0, |best| best.score * BESIDE_THE_BEST);
    let mut quoted: Vec<Candidate<'a>> = Vec::new();
    for candidate in candidates.into_iter().take_while(|candidate| candidate.score >= least) {
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
    use karute_engine::Row;

    #[test]
    fn the_sentence_that_answers_is_quoted_word_for_word() {
        let content = "入浴介助を行った。膀胱留置カテーテルの次回交換は10月20日。皮膚の状態は良好。";
        let row =
            Row {
                id: "KB_1".into(), title: "久保田 実".into(), content: content.into(), ..Row::default()
            };
        let evidence = [Evidence { row, similarity: 0.6, score: 0.6 }];
        let quoted = best("久保田さんのカテーテルの次回交換はいつ", &evidence);
        assert_eq!(&content[quoted[0].start..quoted[0].end], "膀胱留置カテーテルの次回交換は10月20日。");
        assert_eq!(quoted[0].number, 1);
    }

    #[test]
    fn equal_sentences_are_quoted_once() {
        let row = |id: &str| Row { id: id.into(), content: "体温は36.5℃。".into(), ..Row::default() };
        let evidence = ["a", "b"].map(|id| Evidence { row: row(id), similarity: 0.6, score: 0.6 });
        assert_eq!(best("体温は", &evidence).len(), 1);
    }
}
