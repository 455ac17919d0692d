//! The marks `[1]` in an answer: where they stand, and which bytes of which row they point at.

use std::ops::Range;

use karute_engine::words::{half_width, sentences};
use karute_engine::{Index, OpenError, Row};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shown;
use crate::catalogue::Catalogue;
use crate::retrieve::Evidence;
use crate::retrieve::relevance::{Relevance, Vocabulary};

/// A sentence of an answer rests on these bytes of a row's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Citation {
    /// The number in the answer's `[n]`: the row's rank in the context, from 1.
    pub number: usize,
    /// The row's id.
    pub id: String,
    /// The row's heading.
    pub title: String,
    /// The day that the row is about, `YYYY-MM-DD`, or empty.
    pub date: String,
    /// Spreadsheet that the row stands in.
    pub spreadsheet: String,
    /// Sheet that the row stands in.
    pub sheet: String,
    /// Row number in the sheet as a person sees it.
    pub row: u32,
    /// First byte of the quoted sentence in the row's content.
    pub start: usize,
    /// Byte after its last.
    pub end: usize,
    /// BLAKE3 of the row's cells as they were cited; hexadecimal.
    pub digest: String,
    /// A link to the row in its spreadsheet; absent where a browser cannot open one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What the newest snapshot has of the row.
    #[serde(default)]
    pub newest: Newest,
}

/// What the newest snapshot has of a cited row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Newest {
    /// The same.
    #[default]
    Same,
    /// The row says something else by now.
    Changed,
    /// The row is gone.
    Removed,
}

impl Citation {
    /// Of the bytes `start..end` of a row's content.
    pub fn of(number: usize, evidence: &Evidence, start: usize, end: usize) -> Self {
        let row = &evidence.row;
        Self {
            number,
            id: row.id.clone(),
            title: row.title.clone(),
            date: row.date.clone(),
            spreadsheet: row.origin.spreadsheet.clone(),
            sheet: row.origin.sheet.clone(),
            row: row.origin.row_number,
            start,
            end,
            digest: hex(row),
            link: None,
            newest: Newest::Same,
        }
    }
}

fn hex(row: &Row) -> String {
    blake3::Hash::from(row.origin.cell_digest).to_hex().to_string()
}

/// Says of each citation where a person can look at the row, and what `newest` has of it. `catalogue` is that of `newest`.
///
/// # Errors
/// A damaged snapshot.
pub fn locate(citations: &mut [Citation], catalogue: &Catalogue, newest: &Index) -> Result<(), OpenError> {
    for citation in citations {
        let row = newest.row_with_id(&citation.id)?;
        citation.newest = match &row {
            None => Newest::Removed,
            Some(row) if hex(row) == citation.digest => Newest::Same,
            Some(_) => Newest::Changed,
        };
        // Where it is now, if it is anywhere: rows move when others are put in or taken out.
        citation.link = row.and_then(|row| catalogue.link(&row.origin));
    }
    Ok(())
}

/// The marks of `text` with the bytes where each begins: `[1]`, `[1, 2]` and `[1][2]`, also in full width.
pub fn marks(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, open) in text.char_indices().filter(|(_, char)| matches!(char, '[' | '［' | '【')) {
        let inside = &text[start + open.len_utf8()..];
        // A mark is short; whatever opens and never closes is none.
        let end = inside.char_indices().nth(LONGEST_MARK).map_or(inside.len(), |(at, _)| at);
        let inside = &inside[..end];
        let Some(end) = inside.find([']', '］', '】']) else { continue };
        let numbers: Option<Vec<usize>> = inside[..end].split([',', '、', '，']).map(number).collect();
        found.extend(numbers.into_iter().flatten().map(|number| (start, number)));
    }
    found
}

/// Characters within the brackets of a mark.
const LONGEST_MARK: usize = 64;

/// A number of up to three digits, in either width.
fn number(text: &str) -> Option<usize> {
    let half: String = text.trim().chars().map(half_width).collect();
    (half.len() <= 3 && !half.is_empty() && half.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| half.parse().ok())?
}

/// `text` without its marks.
pub fn without_marks(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = 0;
    for (start, _) in marks(text) {
        if start >= rest {
            bare.push_str(&text[rest..start]);
            let close = text[start..].find([']', '］', '】']).map_or(text.len(), |end| start + end);
            rest = close + text[close..].chars().next().map_or(0, char::len_utf8);
        }
    }
    bare.push_str(&text[rest..]);
    bare
}

/// A citation for each row that `sentence` marks, at the sentence of what was `shown` of the row that says most of it. Marks of
/// rows that are not there, or were not shown, give none.
pub fn citations(sentence: &str, evidence: &[Evidence], shown: &[Shown]) -> Vec<Citation> {
    let vocabulary = Vocabulary::new(&without_marks(sentence), &[]);
    let mut found: Vec<Citation> = Vec::new();
    for (_, number) in marks(sentence) {
        let Some(at) = number.checked_sub(1) else { continue };
        let (Some(cited), Some(Some(shown))) = (evidence.get(at), shown.get(at)) else { continue };
        let citation = best_sentence(number, cited, shown.clone(), &vocabulary);
        if !found.iter().any(|known| known.number == number && known.start == citation.start) {
            found.push(citation);
        }
    }
    found
}

/// Row `number` of the context, cited at the sentence among those bytes of its content that says most of `vocabulary`.
pub(super) fn best_sentence(
    number: usize,
    cited: &Evidence,
    among: Range<usize>,
    vocabulary: &Vocabulary,
) -> Citation {
    let relevance = Relevance::new(vocabulary, &[]);
    let content = cited.row.content.get(among.clone()).unwrap_or_default();
    let said = |range: &Range<usize>| relevance.covered(&vocabulary.held(&content[range.clone()]));
    // The first of those that say alike.
    let best = sentences(content).into_iter().rev().max_by(|a, b| said(a).total_cmp(&said(b)));
    let range = best.unwrap_or(0..content.len());
    Citation::of(number, cited, among.start + range.start, among.start + range.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_read_in_every_way_that_models_write_them() {
        let numbers = |text: &str| marks(text).into_iter().map(|(_, number)| number).collect::<Vec<_>>();
        assert_eq!(numbers("熱はない[1]。食欲あり[2, 3]、［４］【5】"), [1, 2, 3, 4, 5]);
        assert_eq!(numbers("[a] [] [1a] [1234] [1"), Vec::<usize>::new());
        assert_eq!(without_marks("熱はない[1]。食欲あり[2, 3][x]"), "熱はない。食欲あり[x]");
    }

    #[test]
    fn a_citation_points_at_the_sentence_that_says_so() {
        let content = "入浴した。体温は36.5℃。次回は火曜。";
        let row = Row { id: "a".into(), content: content.into(), ..Row::default() };
        let evidence = [Evidence { row, ..Evidence::default() }];
        let shown = [Some(0..content.len())];
        let found = citations("体温は36.5度でした[1][9]。", &evidence, &shown);
        assert_eq!(found.len(), 1);
        assert_eq!(&content[found[0].start..found[0].end], "体温は36.5℃。");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]［］【】0-9０-９,、a熱。]{0,30}") {
            let bare = without_marks(&text);
            prop_assert!(bare.len() <= text.len());
            citations(&text, &[], &[]);
        }
    }
}
