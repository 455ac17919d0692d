//! Conversations: the exchanges of one owner under one id. Whoever is not the owner sees none of them, not even that they
//! are there.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;
use time::OffsetDateTime;

use super::forgotten::{names_anywhere, names_in_any_writing, without_scope_of};
use super::home::Lasting;
use super::{Database, StateError, json, millis, moment, parsed, storable, unkept, unread};
use crate::answer::Exchange;
use crate::retrieve::caller::Caller;

/// Characters of a title, and of a preview.
const TITLE: usize = 40;
const PREVIEW: usize = 80;

/// A question and its answer, to be kept.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Id of the answer.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// The conversation that it belongs to.
    pub conversation: String,
    /// Whether the conversation begins with it if there is none. Otherwise one that is not there any more was removed while
    /// the answer was made, and stays removed.
    pub begins: bool,
    /// Id of the question.
    pub question_id: String,
    /// The question.
    pub question: String,
    /// The answer's text.
    pub answer: String,
    /// Ids of the rows that were found, best first.
    pub context_ids: Vec<String>,
    /// Whose rows were found.
    pub shown: Shown,
    /// Words that were suggested.
    pub suggested_terms: Vec<String>,
    /// How the answer came about.
    pub record: Value,
    /// When it was asked.
    pub asked_at: OffsetDateTime,
    /// When it was answered.
    pub answered_at: OffsetDateTime,
}

/// Whose rows an answer showed: client and domain of each, the client empty where a row belongs to nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shown(pub BTreeSet<(String, String)>);

impl Shown {
    /// The clients.
    pub fn clients(&self) -> BTreeSet<String> {
        let named = self.0.iter().filter(|(client, _)| !client.is_empty());
        named.map(|(client, _)| client.clone()).collect()
    }

    /// Whether `caller` may still see all of them.
    pub fn is_visible_to(&self, caller: &Caller) -> bool {
        self.0.iter().all(|(client, domain)| caller.may_see(client, domain))
    }
}

/// A conversation in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// The beginning of its first question.
    pub title: String,
    /// The beginning of its last answer.
    pub preview: String,
    /// Whose records that answer showed.
    pub shown: Shown,
    /// Questions and answers in it.
    pub messages: i64,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When it was last answered.
    pub updated_at: OffsetDateTime,
}

/// A question or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// Its text.
    pub content: String,
    /// Ids of the rows that an answer was made from.
    pub context_ids: Vec<String>,
    /// Words that an answer suggested.
    pub suggested_terms: Vec<String>,
    /// What its reader said of those words.
    pub term_feedback: Value,
    /// Its reader's rating, 1 to 5, if there is one.
    pub rating: Option<i64>,
    /// When it was said.
    pub timestamp: OffsetDateTime,
}

/// An answer and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// Its conversation.
    pub conversation: String,
    /// The question.
    pub question: String,
    /// Its text.
    pub answer: String,
    /// Whose rows were found.
    pub shown: Shown,
    /// How it came about.
    pub record: Value,
    /// When it was asked.
    pub asked_at: OffsetDateTime,
    /// When it was answered.
    pub answered_at: OffsetDateTime,
}

impl Database {
    /// Keeps a question and its answer, both or neither. Keeping one a second time changes nothing. `false` where it may not be
    /// kept: its conversation was removed meanwhile, or it is about somebody who was forgotten.
    ///
    /// # Errors
    /// The database.
    pub async fn keep(&self, entry: &Entry) -> Result<bool, StateError> {
        let mut transaction = self.begin(Lasting::Soon).await?;
        if let Some(hold) = self.home.while_nobody_is_forgotten() {
            sqlx::query(hold).execute(&mut *transaction).await.map_err(unkept)?;
        }
        let gone =
            sqlx::query("SELECT client FROM forgotten").fetch_all(&mut *transaction).await.map_err(unread)?;
        let mut record = entry.record.clone();
        for row in &gone {
            // Somebody who was forgotten while the answer was made.
            let gone = row.try_get::<String, _>(0).map_err(unread)?;
            without_scope_of(&mut record, &gone);
            let texts = [&entry.question, &entry.answer];
            let is_named = texts.into_iter().any(|text| names_in_any_writing(text, &gone));
            if is_named || entry.shown.clients().contains(&gone) || names_anywhere(&record, &gone) {
                transaction.rollback().await?;
                return Ok(false);
            }
        }
        let (title, asked_at) = (beginning(&entry.question, TITLE), millis(entry.asked_at));
        let there = sqlx::query(match entry.begins {
            true => {
                "INSERT INTO conversations (owner, id, updated_at, title, created_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (owner, id) DO UPDATE SET updated_at = CASE
                 WHEN conversations.updated_at > excluded.updated_at THEN conversations.updated_at ELSE excluded.updated_at END"
            }
            false => {
                "UPDATE conversations SET updated_at = CASE WHEN updated_at > $3 THEN updated_at ELSE $3 END
                 WHERE owner = $1 AND id = $2"
            }
        });
        let there = there.bind(&entry.owner).bind(&entry.conversation).bind(millis(entry.answered_at));
        let there = if entry.begins { there.bind(title).bind(asked_at) } else { there };
        if there.execute(&mut *transaction).await.map_err(unkept)?.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO exchanges (id, owner, conversation_id, question_id, question, answer, context_ids, suggested_terms,
             record, asked_at, answered_at, shown) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&entry.id)
        .bind(&entry.owner)
        .bind(&entry.conversation)
        .bind(&entry.question_id)
        .bind(storable(&entry.question))
        .bind(storable(&entry.answer))
        .bind(json(&entry.context_ids))
        .bind(json(&entry.suggested_terms))
        .bind(json(&record))
        .bind(millis(entry.asked_at))
        .bind(millis(entry.answered_at))
        .bind(json(&entry.shown))
        .execute(&mut *transaction)
        .await
        .map_err(unkept)?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The latest exchanges of a conversation that `caller` may still see, of the latest `most`, the last one last, and whose rows
    /// they showed. None of a conversation that there is not.
    ///
    /// # Errors
    /// The database.
    pub async fn exchanges(
        &self,
        caller: &Caller,
        conversation: &str,
        most: i64,
    ) -> Result<(Vec<Exchange>, Shown), StateError> {
        let rows = sqlx::query(
            "SELECT question, answer, shown FROM exchanges WHERE owner = $1 AND conversation_id = $2
             ORDER BY asked_at DESC, id DESC LIMIT $3",
        )
        .bind(&caller.name)
        .bind(conversation)
        .bind(most)
        .fetch_all(&self.pool)
        .await
        .map_err(unread)?;
        let (mut exchanges, mut all) = (Vec::with_capacity(rows.len()), Shown::default());
        for row in rows.iter().rev() {
            let shown = shown(row, 2)?;
            if shown.is_visible_to(caller) {
                let text = |at: usize| row.try_get(at).map_err(unread);
                exchanges.push(Exchange { question: text(0)?, answer: text(1)? });
                all.0.extend(shown.0);
            }
        }
        Ok((exchanges, all))
    }

    /// A caller's conversations, the latest first, at most `most`, and how many there are in all. What shows records that the caller
    /// may not see any more gives no title and no preview, and is not counted.
    ///
    /// # Errors
    /// The database.
    pub async fn conversations(
        &self,
        caller: &Caller,
        most: i64,
    ) -> Result<(Vec<Conversation>, i64), StateError> {
        let rows = sqlx::query(
            "SELECT c.id, c.title, c.created_at, c.updated_at, COALESCE(e.answer, '')
             FROM conversations c LEFT JOIN exchanges e ON e.id =
             (SELECT l.id FROM exchanges l WHERE l.owner = c.owner AND l.conversation_id = c.id
              ORDER BY l.asked_at DESC, l.id DESC LIMIT 1)
             WHERE c.owner = $1 ORDER BY c.updated_at DESC, c.id LIMIT $2",
        )
        .bind(&caller.name)
        .bind(most)
        .fetch_all(&self.pool)
        .await
        .map_err(unread)?;
        let mut exchanges = self.shown_by_conversation(&caller.name, most).await?;
        let conversation = |row: &AnyRow| {
            let text = |at: usize| row.try_get::<String, _>(at).map_err(unread);
            let number = |at: usize| row.try_get::<i64, _>(at).map_err(unread);
            let exchanges = exchanges.remove(&text(0)?).unwrap_or_default();
            let visible = |shown: &&Shown| shown.is_visible_to(caller);
            let (first, last) = (exchanges.first().filter(visible), exchanges.last().filter(visible));
            let pairs = first.iter().chain(&last).flat_map(|shown| shown.0.iter().cloned());
            Ok(Conversation {
                id: text(0)?,
                title: if first.is_some() { text(1)? } else { String::new() },
                preview: if last.is_some() { beginning(&text(4)?, PREVIEW) } else { String::new() },
                shown: Shown(pairs.collect()),
                messages: 2 * exchanges.iter().filter(visible).count() as i64,
                created_at: moment(number(2)?),
                updated_at: moment(number(3)?),
            })
        };
        let found: Vec<Conversation> = rows.iter().map(conversation).collect::<Result<_, StateError>>()?;
        let total = sqlx::query("SELECT COUNT(*) FROM conversations WHERE owner = $1").bind(&caller.name);
        let total = total.fetch_one(&self.pool).await.and_then(|row| row.try_get(0)).map_err(unread)?;
        Ok((found, total))
    }

    /// Whose rows the exchanges of an owner's latest `most` conversations showed, by conversation, the first one first.
    async fn shown_by_conversation(
        &self,
        owner: &str,
        most: i64,
    ) -> Result<HashMap<String, Vec<Shown>>, StateError> {
        let rows = sqlx::query(
            "SELECT conversation_id, shown FROM exchanges WHERE owner = $1 AND conversation_id IN
             (SELECT id FROM conversations WHERE owner = $1 ORDER BY updated_at DESC, id LIMIT $2) ORDER BY asked_at, id",
        );
        let rows = rows.bind(owner).bind(most).fetch_all(&self.pool).await.map_err(unread)?;
        let mut exchanges: HashMap<String, Vec<Shown>> = HashMap::new();
        for row in &rows {
            let conversation = row.try_get::<String, _>(0).map_err(unread)?;
            exchanges.entry(conversation).or_default().push(shown(row, 1)?);
        }
        Ok(exchanges)
    }

    /// The latest messages of a conversation, at most `most`, the last one last, whose rows they showed, and how many there are in
    /// all; `None` if `caller` has no such conversation. What shows records that the caller may not see any more is left out.
    ///
    /// # Errors
    /// The database.
    pub async fn messages(
        &self,
        caller: &Caller,
        conversation: &str,
        most: i64,
    ) -> Result<Option<(Vec<Message>, Shown, i64)>, StateError> {
        let exchanges = self.shown_in(&caller.name, conversation).await?;
        if exchanges.is_empty() {
            return Ok(None);
        }
        // Up to the last exchange that is wanted, those that may not be seen among them. An odd number of messages begins with
        // an answer.
        let visible = |(_, shown): &(usize, &Shown)| shown.is_visible_to(caller);
        let pairs = usize::try_from(most / 2 + most % 2).unwrap_or(0);
        let wanted =
            exchanges.iter().enumerate().filter(visible).take(pairs).last().map_or(0, |(at, _)| at + 1);
        let rows = sqlx::query(
            "SELECT e.id, e.question_id, e.question, e.answer, e.context_ids, e.suggested_terms, e.asked_at, e.answered_at,
             COALESCE(f.term_feedback, '{}'), COALESCE(f.rating, 0), e.shown
             FROM exchanges e LEFT JOIN feedback f ON f.message_id = e.id AND f.owner = e.owner
             WHERE e.owner = $1 AND e.conversation_id = $2 ORDER BY e.asked_at DESC, e.id DESC LIMIT $3",
        )
        .bind(&caller.name)
        .bind(conversation)
        .bind(i64::try_from(wanted).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(unread)?;
        let (mut messages, mut all) = (Vec::with_capacity(2 * rows.len()), Shown::default());
        for row in rows.iter().rev() {
            let shown = shown(row, 10)?;
            if shown.is_visible_to(caller) {
                messages.extend(pair(row)?);
                all.0.extend(shown.0);
            }
        }
        let excess = messages.len().saturating_sub(usize::try_from(most).unwrap_or(0));
        messages.drain(..excess);
        let visible = exchanges.iter().filter(|shown| shown.is_visible_to(caller)).count();
        Ok(Some((messages, all, 2 * visible as i64)))
    }

    /// Whose rows each exchange of a conversation showed, the latest first.
    async fn shown_in(&self, owner: &str, conversation: &str) -> Result<Vec<Shown>, StateError> {
        let rows = sqlx::query(
            "SELECT shown FROM exchanges WHERE owner = $1 AND conversation_id = $2 ORDER BY asked_at DESC, id DESC",
        );
        let rows = rows.bind(owner).bind(conversation).fetch_all(&self.pool).await.map_err(unread)?;
        rows.iter().map(|row| shown(row, 0)).collect()
    }

    /// Removes a conversation with all that belongs to it. Whether there was one.
    ///
    /// # Errors
    /// The database.
    pub async fn remove(&self, owner: &str, conversation: &str) -> Result<bool, StateError> {
        let removed = sqlx::query("DELETE FROM conversations WHERE owner = $1 AND id = $2");
        let removed = removed.bind(owner).bind(conversation).execute(&self.pool).await.map_err(unkept)?;
        Ok(removed.rows_affected() > 0)
    }

    /// Removes every conversation that was last answered before `moment`, and of the others the questions that were answered before
    /// it with their answers; what is left begins with its first question. How many there were of both.
    ///
    /// # Errors
    /// The database.
    pub async fn remove_before(&self, moment: OffsetDateTime) -> Result<u64, StateError> {
        let mut transaction = self.begin(Lasting::AtOnce).await?;
        let mut gone = 0;
        for removal in [
            "DELETE FROM conversations WHERE updated_at < $1",
            "DELETE FROM exchanges WHERE answered_at < $1",
        ] {
            let removed = sqlx::query(removal).bind(millis(moment)).execute(&mut *transaction).await;
            gone += removed.map_err(unkept)?.rows_affected();
        }
        let shortened = sqlx::query(
            "SELECT c.owner, c.id, MIN(e.asked_at) FROM conversations c JOIN exchanges e
             ON e.owner = c.owner AND e.conversation_id = c.id WHERE c.created_at < $1
             GROUP BY c.owner, c.id HAVING MIN(e.asked_at) > MIN(c.created_at)",
        )
        .bind(millis(moment))
        .fetch_all(&mut *transaction)
        .await
        .map_err(unread)?;
        for row in &shortened {
            let text = |at: usize| row.try_get::<String, _>(at).map_err(unread);
            let (owner, id) = (text(0)?, text(1)?);
            let begins: i64 = row.try_get(2).map_err(unread)?;
            let first = sqlx::query(
                "SELECT question FROM exchanges WHERE owner = $1 AND conversation_id = $2 ORDER BY asked_at, id LIMIT 1",
            );
            let first = first.bind(&owner).bind(&id).fetch_one(&mut *transaction).await.map_err(unread)?;
            let title = beginning(&first.try_get::<String, _>(0).map_err(unread)?, TITLE);
            sqlx::query("UPDATE conversations SET title = $3, created_at = $4 WHERE owner = $1 AND id = $2")
                .bind(owner)
                .bind(id)
                .bind(title)
                .bind(begins)
                .execute(&mut *transaction)
                .await
                .map_err(unkept)?;
        }
        transaction.commit().await?;
        Ok(gone)
    }

    /// An answer of `caller`, if that one may still see the records that it showed; of anybody, if no caller is named.
    ///
    /// # Errors
    /// The database.
    pub async fn answer(&self, id: &str, caller: Option<&Caller>) -> Result<Option<Recorded>, StateError> {
        let row = sqlx::query(
            "SELECT id, owner, conversation_id, question, answer, record, asked_at, answered_at, shown
             FROM exchanges WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await
        .map_err(unread)?;
        let Some(row) = row else { return Ok(None) };
        let text = |at: usize| row.try_get::<String, _>(at).map_err(unread);
        let time = |at: usize| row.try_get(at).map(moment).map_err(unread);
        let recorded = Recorded {
            id: text(0)?,
            owner: text(1)?,
            conversation: text(2)?,
            question: text(3)?,
            answer: text(4)?,
            record: parsed("record", &text(5)?)?,
            asked_at: time(6)?,
            answered_at: time(7)?,
            shown: shown(&row, 8)?,
        };
        let visible = |recorded: &Recorded| {
            caller.is_none_or(|caller| caller.name == recorded.owner && recorded.shown.is_visible_to(caller))
        };
        Ok(Some(recorded).filter(visible))
    }
}

/// Whose rows an exchange showed.
pub(super) fn shown(row: &AnyRow, at: usize) -> Result<Shown, StateError> {
    parsed("list of clients and domains", &row.try_get::<String, _>(at).map_err(unread)?)
}

/// The question and the answer of one exchange.
fn pair(row: &AnyRow) -> Result<[Message; 2], StateError> {
    let text = |at: usize| row.try_get::<String, _>(at).map_err(unread);
    let number = |at: usize| row.try_get::<i64, _>(at).map_err(unread);
    let question = Message {
        id: text(1)?,
        role: "user",
        content: text(2)?,
        context_ids: Vec::new(),
        suggested_terms: Vec::new(),
        term_feedback: Value::Object(serde_json::Map::new()),
        rating: None,
        timestamp: moment(number(6)?),
    };
    let answer = Message {
        id: text(0)?,
        role: "assistant",
        content: text(3)?,
        context_ids: parsed("list of rows", &text(4)?)?,
        suggested_terms: parsed("list of words", &text(5)?)?,
        term_feedback: parsed("feedback", &text(8)?)?,
        rating: Some(number(9)?).filter(|rating| *rating > 0),
        timestamp: moment(number(7)?),
    };
    Ok([question, answer])
}

/// The first `most` characters of the first line.
fn beginning(text: &str, most: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut short: String = storable(line).chars().take(most).collect();
    if line.chars().count() > most {
        short.push('…');
    }
    short
}
