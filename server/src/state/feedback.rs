//! What people say of answers, and which words they take for the same.

use std::collections::BTreeMap;

use sqlx::Row;
use time::OffsetDateTime;

use super::home::Lasting;
use super::{Database, StateError, json, millis, storable, unkept, unread};

/// What a reader says of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Id of the answer.
    pub message_id: String,
    /// 1 (of no use) to 5.
    pub rating: i64,
    /// In the reader's words; may be empty.
    pub comment: String,
    /// Words that the reader misses.
    pub suggested_terms: Vec<String>,
    /// Whether each suggested word was of use.
    pub term_feedback: BTreeMap<String, bool>,
}

/// Whether a word means what a term of the dictionary means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The word as it was asked.
    pub term: String,
    /// The dictionary's word.
    pub canonical: String,
    /// Whether they mean the same.
    pub accepted: bool,
}

impl Database {
    /// Keeps what `owner` says of an answer of his, in the place of what he said before. `false` if he has no such answer.
    ///
    /// # Errors
    /// The database.
    pub async fn rate(
        &self,
        owner: &str,
        feedback: &Feedback,
        at: OffsetDateTime,
    ) -> Result<bool, StateError> {
        let kept = sqlx::query(
            "INSERT INTO feedback (message_id, owner, rating, comment, suggested_terms, term_feedback, updated_at)
             SELECT id, owner, $3, $4, $5, $6, $7 FROM exchanges WHERE id = $1 AND owner = $2
             ON CONFLICT (message_id, owner) DO UPDATE SET rating = excluded.rating, comment = excluded.comment,
             suggested_terms = excluded.suggested_terms, term_feedback = excluded.term_feedback,
             updated_at = excluded.updated_at",
        )
        .bind(&feedback.message_id)
        .bind(owner)
        .bind(feedback.rating)
        .bind(storable(&feedback.comment))
        .bind(json(&feedback.suggested_terms))
        .bind(json(&feedback.term_feedback))
        .bind(millis(at))
        .execute(&self.pool)
        .await
        .map_err(unkept)?;
        Ok(kept.rows_affected() > 0)
    }

    /// Keeps decisions about words, each in the place of the one before: all of them or none.
    ///
    /// # Errors
    /// The database.
    pub async fn decide(
        &self,
        owner: &str,
        decisions: &[Decision],
        at: OffsetDateTime,
    ) -> Result<(), StateError> {
        let mut transaction = self.begin(Lasting::AtOnce).await?;
        for decision in decisions {
            sqlx::query(
                "INSERT INTO term_decisions (owner, term, canonical, accepted, updated_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (owner, term, canonical) DO UPDATE SET accepted = excluded.accepted,
                 updated_at = excluded.updated_at",
            )
            .bind(owner)
            .bind(&decision.term)
            .bind(&decision.canonical)
            .bind(i64::from(decision.accepted))
            .bind(millis(at))
            .execute(&mut *transaction)
            .await
            .map_err(unkept)?;
        }
        transaction.commit().await
    }

    /// For each of the dictionary's words, how many owners took some word for it, less those who did not: one vote each, however
    /// many words they decided.
    ///
    /// # Errors
    /// The database.
    pub async fn learned(&self, canonicals: &[String]) -> Result<BTreeMap<String, i64>, StateError> {
        let mut learned = BTreeMap::new();
        for canonical in canonicals {
            let row = sqlx::query(
                "SELECT COALESCE(CAST(SUM(vote) AS BIGINT), 0) FROM
                 (SELECT CASE WHEN SUM(2 * accepted - 1) > 0 THEN 1 WHEN SUM(2 * accepted - 1) < 0 THEN -1 ELSE 0 END AS vote
                  FROM term_decisions WHERE canonical = $1 GROUP BY owner) AS votes",
            );
            let row = row.bind(canonical).fetch_one(&self.pool).await.map_err(unread)?;
            learned.insert(canonical.clone(), row.try_get(0).map_err(unread)?);
        }
        Ok(learned)
    }
}
