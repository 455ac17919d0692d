//! What a model is asked: rules apart from data, each row between lines that nobody can forge, within a budget of tokens.

use std::path::Path;

use std::ops::Range;

use karute_engine::words::{Script, normalise, sentences};
use karute_sync::generate::{Prompt, Role, Turn};
use rand::RngExt;

use super::cite::without_marks;
use super::{Asked, Exchange, Shown};
use crate::retrieve::Evidence;
use crate::retrieve::relevance::{Relevance, Vocabulary};

/// Rules for each language, of this version.
const JAPANESE: &str = include_str!("templates/ja.txt");
const ENGLISH: &str = include_str!("templates/en.txt");
/// Exchanges of the conversation that a prompt holds word for word; of those before them it holds a summary.
const EXCHANGES: usize = 4;
/// Exchanges that the summary holds.
const EARLIER: usize = 20;
/// The most that one answer may take in the summary, in characters.
const SUMMARY: usize = 80;
/// The most that one row may take of what is left to all: one part in so many.
const ROW_SHARE: usize = 3;
/// A sentence of more characters is a transcript without full stops.
const ENDLESS: usize = 300;
/// What is left to the conversation of what rules and question leave: one part in so many.
const HISTORY_SHARE: usize = 4;
/// The most that one earlier answer may take, in characters.
const EARLIER_ANSWER: usize = 600;

/// How models are told to work, in each language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    japanese: Template,
    english: Template,
}

/// Rules in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    version: String,
    /// What a model is told to say where the rows hold no answer.
    nothing: Option<String>,
    text: String,
}

/// A template that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path} (KARUTE_TEMPLATES) is no template: {detail}")]
pub struct TemplateError {
    /// The file.
    pub path: String,
    /// What is wrong.
    pub detail: String,
}

impl Template {
    /// Reads `version: NAME`, perhaps `nothing: WORDS` (what the rules tell a model to say where the rows hold no answer), then
    /// the rules, which must name the marker of the fences.
    fn parse(text: &str, path: &str) -> Result<Self, TemplateError> {
        let fault = |detail: &str| TemplateError { path: path.to_owned(), detail: detail.to_owned() };
        let (first, rest) = text.split_once('\n').ok_or_else(|| fault("it has one line"))?;
        let version = first.strip_prefix("version:").map(str::trim).filter(|version| !version.is_empty());
        let version = version.ok_or_else(|| fault("its first line is not `version: NAME`"))?;
        let (nothing, rest) =
            match rest.trim_start().strip_prefix("nothing:").and_then(|rest| rest.split_once('\n')) {
                Some((words, rest)) => (Some(words.trim().to_owned()), rest),
                None => (None, rest),
            };
        if !rest.contains("{marker}") {
            return Err(fault("its rules do not mention {marker}, the sign of what is data"));
        }
        Ok(Self { version: version.to_owned(), nothing, text: rest.trim().to_owned() })
    }
}

impl Templates {
    /// Those of this version.
    ///
    /// # Errors
    /// None: a test reads them.
    pub fn built_in() -> Result<Self, TemplateError> {
        Ok(Self {
            japanese: Template::parse(JAPANESE, "templates/ja.txt")?,
            english: Template::parse(ENGLISH, "templates/en.txt")?,
        })
    }

    /// `ja.txt` and `en.txt` of a directory; what it lacks is as built in.
    ///
    /// # Errors
    /// A file that is no template.
    pub fn load(directory: Option<&Path>) -> Result<Self, TemplateError> {
        let built_in = Self::built_in()?;
        let Some(directory) = directory else { return Ok(built_in) };
        let read = |name: &str, otherwise: Template| {
            let path = directory.join(name);
            let shown = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => Template::parse(&text, &shown),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(otherwise),
                Err(error) => Err(TemplateError { path: shown, detail: error.to_string() }),
            }
        };
        Ok(Self { japanese: read("ja.txt", built_in.japanese)?, english: read("en.txt", built_in.english)? })
    }

    /// The version of the rules for this question.
    pub fn version(&self, question: &str) -> &str {
        &self.of(question).version
    }

    /// What these rules tell a model to say where the rows hold no answer to this question.
    pub(super) fn nothing(&self, question: &str) -> Option<&str> {
        self.of(question).nothing.as_deref()
    }

    fn of(&self, question: &str) -> &Template {
        if is_japanese(question) { &self.japanese } else { &self.english }
    }
}

/// Whether a text has any Japanese in it.
fn is_japanese(text: &str) -> bool {
    let japanese = |script: Script| matches!(script, Script::Han | Script::Hiragana | Script::Katakana);
    normalise(text).iter().any(|symbol| japanese(symbol.script))
}

/// A sign that no row can know: 64 random bits.
pub fn marker() -> String {
    format!("karute-{:016x}", rand::rng().random::<u64>())
}

/// BLAKE3 of a prompt without its marker, so that equal prompts have equal digests; hexadecimal.
pub(super) fn digest(prompt: &Prompt, marker: &str) -> String {
    let turns = prompt.turns.iter().map(|turn| turn.text.as_str());
    let parts: Vec<String> =
        std::iter::once(prompt.system.as_str()).chain(turns).map(|text| text.replace(marker, "")).collect();
    blake3::Hash::from(crate::cache::key(parts.iter().map(String::as_bytes))).to_hex().to_string()
}

/// A prompt, and what of each row is in it. Only rows that speak of the people and days that are asked about are: what is said
/// of one client must not be answered from another's record.
pub(super) fn build(
    asked: &Asked,
    templates: &Templates,
    marker: &str,
    most_tokens: usize,
    max_output_tokens: u32,
) -> (Prompt, Vec<Shown>) {
    let template = templates.of(&asked.question);
    let system = template.text.replace("{marker}", marker);
    let mut used = tokens(&system) + tokens(&asked.question);
    // Rows come first: a long conversation must not leave the model without any.
    let mut turns = history(&asked.earlier, most_tokens.saturating_sub(used) / HISTORY_SHARE);
    used += turns.iter().map(|turn| tokens(&turn.text)).sum::<usize>();
    let vocabulary = asked.vocabulary();
    let room = most_tokens.saturating_sub(used);
    let mut fences: Vec<Option<(String, Range<usize>)>> = vec![None; asked.evidence.len()];
    let mut left = room;
    // First each row has its share at most; then what is left goes to those that were cut, the best first.
    for most in [room / ROW_SHARE, room] {
        for ((number, evidence), fenced) in (1..).zip(asked.evidence.iter()).zip(&mut fences) {
            let is_whole =
                fenced.as_ref().is_some_and(|(_, range)| range.len() == evidence.row.content.len());
            if !evidence.about || is_whole {
                continue;
            }
            let has = fenced.as_ref().map_or(0, |(text, _)| tokens(text));
            // One that does not fit leaves its place to those behind it.
            if let Some(longer) = fence(number, evidence, marker, &vocabulary, (left + has).min(most)) {
                left = (left + has).saturating_sub(tokens(&longer.0));
                *fenced = Some(longer);
            }
        }
    }
    let data: String = fences.iter().flatten().map(|(text, _)| text.as_str()).collect();
    let shown: Vec<Shown> = fences.into_iter().map(|fenced| Some(fenced?.1)).collect();
    turns.push(Turn { role: Role::User, text: format!("{data}\n{}", clean(&asked.question, marker)) });
    (Prompt { system, turns, max_output_tokens, label: String::new() }, shown)
}

/// A row between its two lines, and which bytes of its content: if all of it does not fit, the sentences around the one that says
/// most of the question. `None` if not one of them fits.
fn fence(
    number: usize,
    evidence: &Evidence,
    marker: &str,
    vocabulary: &Vocabulary,
    most_tokens: usize,
) -> Option<(String, Range<usize>)> {
    let row = &evidence.row;
    let head = |text: &str| clean(text, marker).replace(['\n', '\r'], " ");
    let date = if row.date.is_empty() { "-" } else { &row.date };
    let top = format!(
        "--- [{number}] {marker} ---\n{} | {} | {}\n",
        head(&row.title),
        head(&row.source_type),
        head(date)
    );
    let bottom = format!("--- end [{number}] {marker} ---\n");
    let room = most_tokens.checked_sub(tokens(&top) + tokens(&bottom))?;
    let range = match tokens(&row.content) <= room {
        true => 0..row.content.len(),
        false => excerpt(&row.content, vocabulary, room)?,
    };
    let kept = clean(row.content.get(range.clone())?, marker);
    Some((format!("{top}{kept}\n{bottom}"), range))
}

/// As many whole sentences of `content` as fit, around the one that says most of the question; of a sentence that nobody ended,
/// its clauses.
fn excerpt(content: &str, vocabulary: &Vocabulary, most_tokens: usize) -> Option<Range<usize>> {
    let parts: Vec<Range<usize>> =
        sentences(content).into_iter().flat_map(|sentence| clauses(content, sentence)).collect();
    let relevance = Relevance::new(vocabulary, &[]);
    let said = |part: &Range<usize>| relevance.covered(&vocabulary.held(&content[part.clone()]));
    let fits = |range: &Range<usize>| tokens(&content[range.clone()]) <= most_tokens;
    // The first of those that say alike.
    let best = (0..parts.len()).rev().max_by(|&a, &b| said(&parts[a]).total_cmp(&said(&parts[b])))?;
    let mut kept = Some(parts[best].clone()).filter(fits)?;
    let (mut before, mut behind) =
        (parts[..best].iter().rev().peekable(), parts[best + 1..].iter().peekable());
    loop {
        let longer =
            [behind.peek().map(|part| kept.start..part.end), before.peek().map(|part| part.start..kept.end)];
        match longer.map(|range| range.filter(fits)) {
            [Some(range), _] => {
                behind.next();
                kept = range;
            }
            [None, Some(range)] => {
                before.next();
                kept = range;
            }
            [None, None] => return Some(kept),
        }
    }
}

/// The bytes of `sentence` in `content` as one range, or, if it is one that nobody ended, in parts that end behind a comma or a
/// space, and where there is none, anywhere.
fn clauses(content: &str, sentence: Range<usize>) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut rest = sentence;
    while content[rest.clone()].chars().nth(ENDLESS).is_some() {
        let (mut end, mut comma) = (rest.start, None);
        for (at, char) in content[rest.clone()].char_indices().take(ENDLESS) {
            end = rest.start + at + char.len_utf8();
            if matches!(char, '、' | '，' | ',') || char.is_whitespace() {
                comma = Some(end);
            }
        }
        let end = comma.unwrap_or(end);
        parts.push(rest.start..end);
        rest.start = end;
    }
    parts.push(rest);
    parts
}

/// `text` without what could be taken for a fence: the marker, and characters that command a terminal or hide text.
fn clean(text: &str, marker: &str) -> String {
    let hides = |char: char| {
        char.is_control() && !matches!(char, '\n' | '\t')
            || matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    let visible: String = text.chars().filter(|char| !hides(*char)).collect();
    visible.replace(marker, "")
}

/// The conversation so far within `most_tokens`: the latest exchanges with their answers, and a summary of those before them, each
/// question with the beginning of its answer, in one turn with the first that is kept. The summary is made of what was said: no
/// model is paid to write, or invents, what a later answer will rest on. Answers lose their marks, which numbered other rows.
fn history(earlier: &[Exchange], most_tokens: usize) -> Vec<Turn> {
    let mut left = most_tokens;
    let mut fits = |text: &str| match left.checked_sub(tokens(text)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut turns: Vec<Turn> = Vec::new();
    let mut whole = 0;
    for Exchange { question, answer } in earlier.iter().rev().take(EXCHANGES) {
        let answer = shortened(&without_marks(answer), EARLIER_ANSWER);
        if !fits(&format!("{question}{answer}")) {
            break;
        }
        whole += 1;
        turns.push(Turn { role: Role::Model, text: answer });
        turns.push(Turn { role: Role::User, text: question.clone() });
    }
    turns.reverse();
    let older = earlier.iter().rev().skip(whole).take(EARLIER).map(|Exchange { question, answer }| {
        let answer = shortened(&without_marks(answer), SUMMARY);
        format!("Q: {question}\nA: {}", answer.replace('\n', " "))
    });
    let mut summary: Vec<String> = older.take_while(|exchange| fits(exchange)).collect();
    summary.reverse();
    if let Some(first) = turns.first_mut()
        && !summary.is_empty()
    {
        first.text = format!("{}\n\n{}", summary.join("\n"), first.text);
    }
    turns
}

/// The first sentences of `text` that fit into `most` characters; of a first one that does not, its beginning.
fn shortened(text: &str, most: usize) -> String {
    let fitting = sentences(text).into_iter().map(|sentence| sentence.end);
    let end = fitting.take_while(|end| text[..*end].chars().count() <= most).last();
    end.map_or_else(|| text.chars().take(most).collect(), |end| text[..end].to_owned())
}

/// About how many tokens a text takes, rather too many: one for each Japanese character, one for four letters.
pub(super) fn tokens(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    text.chars().count() - ascii + ascii.div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Till;
    use crate::retrieve::understand::Understood;
    use karute_engine::Row;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn asked(contents: &[&str]) -> Asked {
        let evidence = contents.iter().map(|content| Evidence {
            row: Row {
                title: "題".into(),
                content: (*content).into(),
                date: "2026-10-01".into(),
                ..Row::default()
            },
            about: true,
            ..Evidence::default()
        });
        Asked {
            question: "体温は".into(),
            earlier: Vec::new(),
            evidence: evidence.collect(),
            till: Till::default(),
            understood: Understood::default(),
        }
    }

    fn text(asked: &Asked, most_tokens: usize) -> (String, usize) {
        let templates = Templates::built_in().expect("templates");
        let (prompt, shown) = build(asked, &templates, "MARK", most_tokens, 100);
        (prompt.turns.last().expect("a turn").text.clone(), shown.iter().flatten().count())
    }

    #[test]
    fn rules_and_data_stand_apart_and_each_row_between_its_lines() {
        let templates = Templates::built_in().expect("templates");
        let asked = asked(&["体温36.5℃。", "血圧120/80。"]);
        let (prompt, shown) = build(&asked, &templates, "MARK", 10_000, 100);
        assert!(shown.iter().zip(asked.evidence.iter()).all(|(s, e)| *s == Some(0..e.row.content.len())));
        assert!(prompt.system.contains("MARK") && !prompt.system.contains("体温36.5"));
        let data = &prompt.turns[0].text;
        assert!(
            data.contains("--- [2] MARK ---\n題 |  | 2026-10-01\n血圧120/80。\n--- end [2] MARK ---"),
            "{data}"
        );
        assert!(data.ends_with("体温は"));
        assert_ne!(marker(), marker());
    }

    #[test]
    fn of_a_row_that_does_not_fit_the_sentences_around_the_best_one_are_kept() {
        let long =
            ["昨日は散歩をした。"; 30].concat() + "体温は36.5℃。" + &["夕食は全量食べた。"; 30].concat();
        let all = asked(&[&long, "次の記録。"]);
        let mut seen = BTreeSet::new();
        for budget in 0..3_000 {
            let (prompt, shown) =
                build(&all, &Templates::built_in().expect("templates"), "MARK", budget, 100);
            let data = &prompt.turns[0].text;
            if let Some(range) = &shown[0] {
                let kept = &long[range.clone()];
                assert!(kept.contains("体温は36.5℃。") && kept.ends_with('。'), "{kept}");
                assert!(data.contains(&format!("\n{kept}\n--- end [1]")), "{data}");
            }
            assert_eq!(shown[1].is_some(), data.contains("次の記録。"));
            seen.insert((shown[0].clone().map(|range| range == (0..long.len())), shown[1].is_some()));
        }
        let expected = [(None, false), (None, true), (Some(false), true), (Some(true), true)];
        assert!(expected.iter().all(|state| seen.contains(state)), "{seen:?}");
    }

    #[test]
    fn a_long_row_without_a_full_stop_leaves_room_to_the_others() {
        let long = "あいうえお、".repeat(4_000) + "体温は36.5℃、" + &"かきくけこ".repeat(4_000);
        let (data, rows) = text(&asked(&[&long, "次の記録。", "最後の記録。"]), 4_000);
        assert_eq!(rows, 3);
        assert!(data.contains("体温は36.5℃、") && data.contains("最後の記録。"), "{}", data.len());
    }

    #[test]
    fn what_one_row_leaves_goes_to_another_that_was_cut() {
        let long = "夕食は全量食べた。".repeat(60);
        let (data, _) = text(&asked(&[&long]), 2_000);
        assert!(data.contains(&long), "a row alone may take all");
    }

    #[test]
    fn a_row_about_somebody_else_is_not_shown() {
        let mut asked = asked(&["体温36.5℃。", "体温39.0℃。"]);
        let mut evidence = asked.evidence.to_vec();
        evidence[0].about = false;
        asked.evidence = evidence.into();
        let (data, rows) = text(&asked, 10_000);
        assert!(rows == 1 && data.contains("[2] MARK") && !data.contains("36.5"), "{data}");
    }

    #[test]
    fn a_long_conversation_leaves_room_for_the_rows() {
        let templates = Templates::built_in().expect("templates");
        let long = Exchange { question: "問".repeat(2000), answer: "答".repeat(2000) };
        let asked = Asked { earlier: vec![long; 10], ..asked(&["体温36.5℃。", "血圧120/80。"]) };
        let (prompt, shown) = build(&asked, &templates, "MARK", 4_000, 100);
        assert!(shown.iter().all(Option::is_some), "{:?}", prompt.turns.len());
    }

    #[test]
    fn the_latest_exchanges_are_kept_whole() {
        let exchange =
            |number: usize| Exchange { question: format!("問{number}"), answer: format!("答{number}") };
        let earlier: Vec<Exchange> = (0..7).map(exchange).collect();
        let texts = |most: usize| -> Vec<String> {
            history(&earlier, most).into_iter().map(|turn| turn.text).collect()
        };
        let summary = "Q: 問0\nA: 答0\nQ: 問1\nA: 答1\nQ: 問2\nA: 答2\n\n問3";
        assert_eq!(texts(1000), [summary, "答3", "問4", "答4", "問5", "答5", "問6", "答6"]);
        assert_eq!(texts(6), ["問5", "答5", "問6", "答6"]);
        assert_eq!(texts(0), Vec::<String>::new());
        let cited = [Exchange { question: "問".into(), answer: "一番目[1]。二番目[2]。".into() }];
        assert_eq!(history(&cited, 1000)[1].text, "一番目。二番目。");
    }

    #[test]
    fn a_template_must_name_its_version_and_the_marker() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(
            Templates::load(Some(directory.path())).expect("built in"),
            Templates::built_in().expect("built in")
        );
        let path = directory.path().join("ja.txt");
        std::fs::write(&path, "version: own-1\n囲みは{marker}。\n").expect("written");
        assert_eq!(Templates::load(Some(directory.path())).expect("own").version("体温は"), "own-1");
        assert_eq!(Templates::load(Some(directory.path())).expect("own").version("what"), "en-1");
        assert_eq!(Templates::load(Some(directory.path())).expect("own").nothing("体温は"), None);
        std::fs::write(&path, "version: own-2\nnothing: 記載なし。\n囲みは{marker}。\n").expect("written");
        assert_eq!(
            Templates::load(Some(directory.path())).expect("own").nothing("体温は"),
            Some("記載なし。")
        );
        for wrong in ["version: x\nno marker\n", "no version {marker}\nx", "x"] {
            std::fs::write(&path, wrong).expect("written");
            assert!(Templates::load(Some(directory.path())).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_row_can_forge_a_fence(content in "(MARK|--- |end |\\[1\\]|\\n|[a熱。\\u{200b}\\u{202e}]){0,12}", title in "(MARK|\\n|---|[a熱]){0,6}") {
            let mut asked = asked(&[&content, "b"]);
            let mut evidence = asked.evidence.to_vec();
            evidence[0].row.title = title;
            asked.evidence = evidence.into();
            let (data, rows) = text(&asked, 100_000);
            prop_assert_eq!(rows, 2);
            prop_assert_eq!(data.matches("MARK").count(), 4, "{}", data);
            let fences: Vec<&str> = data.lines().filter(|line| line.contains("MARK")).collect();
            prop_assert_eq!(fences, ["--- [1] MARK ---", "--- end [1] MARK ---", "--- [2] MARK ---", "--- end [2] MARK ---"]);
        }
    }
}
