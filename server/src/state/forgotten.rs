//! Clients who are to be forgotten: nothing of them is kept, and what was kept of them goes.

use std::collections::BTreeSet;

use karute_engine::words::half_width;
use serde_json::Value;
use sqlx::Row;
use time::OffsetDateTime;

use super::conversations::shown;
use super::{Database, StateError, json, millis, parsed, unkept, unread};

impl Database {
    /// From now on nothing of `client` is kept.
    ///
    /// # Errors
    /// The database.
    pub async fn forget(&self, client: &str, at: OffsetDateTime) -> Result<(), StateError> {
        let noted =
            sqlx::query("INSERT INTO forgotten (client, at) VALUES ($1, $2) ON CONFLICT (client) DO NOTHING");
        noted.bind(client).bind(millis(at)).execute(&self.pool).await.map_err(unkept).map(drop)
    }

    /// Clients of whom nothing is kept.
    ///
    /// # Errors
    /// The database.
    pub async fn forgotten(&self) -> Result<Vec<String>, StateError> {
        let rows = sqlx::query("SELECT client FROM forgotten ORDER BY client").fetch_all(&self.pool).await;
        rows.map_err(unread)?.iter().map(|row| row.try_get(0).map_err(unread)).collect()
    }

    /// Removes every conversation that showed a row of `client`, or that names one of `words` (the client's id and names),
    /// whoever had it; and what was decided about terms that name one. How many conversations there were.
    ///
    /// # Errors
    /// The database.
    pub async fn remove_about(&self, client: &str, words: &[String]) -> Result<u64, StateError> {
        let named = |text: &str| words.iter().any(|word| names_in_any_writing(text, word));
        let rows = sqlx::query(
            "SELECT e.owner, e.conversation_id, e.shown, e.question, e.answer, e.record, c.title, COALESCE(f.comment, ''),
             COALESCE(f.suggested_terms, ''), COALESCE(f.term_feedback, ''), e.id
             FROM exchanges e JOIN conversations c ON c.owner = e.owner AND c.id = e.conversation_id
             LEFT JOIN feedback f ON f.message_id = e.id",
        );
        let rows = rows.fetch_all(&self.pool).await.map_err(unread)?;
        let mut about = BTreeSet::new();
        for row in &rows {
            let text = |at: usize| row.try_get::<String, _>(at).map_err(unread);
            let mut record: Value = parsed("record", &text(5)?)?;
            // Who might have seen the client's rows has not for that seen any.
            let was_seen = without_scope_of(&mut record, client);
            let mut is_about = shown(row, 2)?.clients().contains(client) || any_text(&record, &named);
            for at in [3, 4, 6, 7, 8, 9] {
                is_about |= named(&text(at)?);
            }
            if is_about {
                about.insert((text(0)?, text(1)?));
            } else if was_seen {
                let kept = sqlx::query("UPDATE exchanges SET record = $1 WHERE id = $2");
                let kept = kept.bind(json(&record)).bind(text(10)?);
                kept.execute(&self.pool).await.map_err(unkept)?;
            }
        }
        for (owner, conversation) in &about {
            self.remove(owner, conversation).await?;
        }
        let decided =
            sqlx::query("SELECT owner, term, canonical FROM term_decisions").fetch_all(&self.pool).await;
        for row in decided.map_err(unread)? {
            let [owner, term, canonical] = [0, 1, 2].map(|at| row.try_get::<String, _>(at).map_err(unread));
            let (owner, term, canonical) = (owner?, term?, canonical?);
            if named(&term) || named(&canonical) {
                let removed = sqlx::query(
                    "DELETE FROM term_decisions WHERE owner = $1 AND term = $2 AND canonical = $3",
                );
                let removed = removed.bind(owner).bind(term).bind(canonical);
                removed.execute(&self.pool).await.map_err(unkept)?;
            }
        }
        self.truncate_log().await?;
        Ok(about.len() as u64)
    }
}

/// Whether `text` has `word`, in whatever width. White space says nothing in a name in kanji: people write 江口　照男 as often as
/// 江口照男.
pub(super) fn names_in_any_writing(text: &str, word: &str) -> bool {
    let narrow = |text: &str| text.chars().map(half_width).collect::<String>();
    let close = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let (text, word) = (narrow(text), narrow(word));
    names(&text, &word) || !word.is_ascii() && names(&close(&text), &close(&word))
}

/// Takes `client` out of the rights that a record of an answer holds of whoever asked. Whether it was there.
pub(super) fn without_scope_of(record: &mut Value, client: &str) -> bool {
    let Some(Value::Array(clients)) = record.pointer_mut("/question/seeing/0/only") else { return false };
    let before = clients.len();
    clients.retain(|known| known != client);
    clients.len() < before
}

/// Whether any text in `value` has `word`.
pub(super) fn names_anywhere(value: &Value, word: &str) -> bool {
    any_text(value, &|text| names_in_any_writing(text, word))
}

/// Whether any text in `value` passes.
fn any_text(value: &Value, passes: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => passes(text),
        Value::Array(values) => values.iter().any(|value| any_text(value, passes)),
        Value::Object(values) => values.values().any(|value| any_text(value, passes)),
        _ => false,
    }
}

/// Whether `text` has `word` as a word of its own: `CL-1` does not stand in `CL-10`. A word of digits alone names nobody,
/// since any number would.
fn names(text: &str, word: &str) -> bool {
    let goes_on = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if word.chars().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let [first, last] =
        [word.chars().next(), word.chars().next_back()].map(|c| c.is_some_and(|c| c.is_ascii()));
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        !((first && goes_on(before)) || (last && goes_on(after)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_by_whole_words_and_never_by_a_number() {
        for (text, word, named) in [
            ("CL-1の体温", "CL-1", true),
            ("CL-10の体温", "CL-1", false),
            ("XCL-1", "CL-1", false),
            ("CL-10とCL-1", "CL-1", true),
            ("江口さんは", "江口", true),
            ("36.1℃", "1", false),
            ("", "CL-1", false),
            ("何か", "", false),
        ] {
            assert_eq!(names(text, word), named, "{word} in {text}");
        }
    }

    #[test]
    fn a_name_is_the_same_in_every_width_and_with_or_without_a_space() {
        for (text, word, named) in [
            ("江口　照男さんは", "江口照男", true),
            ("江口 照男様の酸素", "江口照男", true),
            ("ＣＬ－１の件", "CL-1", true),
            ("CL-1 0回", "CL-1", true),
            ("CL-1　の件", "CL-1", true),
            ("江口さん", "江口照男", false),
        ] {
            assert_eq!(names_in_any_writing(text, word), named, "{word} in {text}");
        }
    }

    #[test]
    fn the_texts_of_a_record_count_and_its_numbers_do_not() {
        let record = serde_json::json!({"at": "2026-11-01", "score": 0.1, "rows": [{"client": "CL-1"}]});
        assert!(any_text(&record, &|text| names(text, "CL-1")));
        assert!(!any_text(&record, &|text| names(text, "0.1")));
    }
}
