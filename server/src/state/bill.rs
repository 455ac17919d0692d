//! The ledger as it is read: line by line, summed, and appended to the log spreadsheet.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Row, SqlSafeStr};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::home::Lasting;
use super::{Database, StateError, millis, moment, unkept, unread};

/// Rows that are claimed for the log spreadsheet at once, and how long a claim holds.
const CLAIMED: i64 = 500;
const CLAIM_FOR: time::Duration = time::Duration::minutes(10);

/// A row of the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The call.
    pub id: String,
    /// Who asked.
    pub owner: String,
    /// The answer that it was for.
    pub answer_id: String,
    /// `answer`, `embed` or `rank`.
    pub kind: String,
    /// The model.
    pub model: String,
    /// `reserved`, `settled`, `presumed` or `saved`.
    pub state: String,
    /// The most that it could cost.
    pub reserved: i64,
    /// For what the model read.
    pub input_cost: i64,
    /// For what it wrote.
    pub output_cost: i64,
    /// Altogether.
    pub total_cost: i64,
    /// What a cache saved.
    pub saved_cost: i64,
    /// Tokens.
    pub input_tokens: i64,
    /// Of these, in the model's cache.
    pub cached_tokens: i64,
    /// Tokens.
    pub output_tokens: i64,
    /// Tokens.
    pub thought_tokens: i64,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub began_at: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub ended_at: OffsetDateTime,
    /// The log spreadsheet has a row that says what this call was presumed to cost, before it was known.
    pub corrects: bool,
}

/// A sum of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// The day, the caller or the model.
    pub name: String,
    /// Calls that were made.
    pub calls: i64,
    /// Calls that a cache saved.
    pub saved_calls: i64,
    /// Tokens read.
    pub input_tokens: i64,
    /// Tokens written, thoughts among them.
    pub output_tokens: i64,
    /// Yen for what models read.
    #[serde(rename = "inputCostJPY")]
    pub input_cost_jpy: f64,
    /// Yen for what models wrote.
    #[serde(rename = "outputCostJPY")]
    pub output_cost_jpy: f64,
    /// Yen altogether, with what is only presumed.
    #[serde(rename = "totalCostJPY")]
    pub total_cost_jpy: f64,
    /// Yen that caches saved.
    #[serde(rename = "savedCostJPY")]
    pub saved_cost_jpy: f64,
}

/// What the ledger is summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// The day of Japan.
    Day,
    /// Who asked.
    Caller,
    /// The model.
    Model,
}

const LINE: &str =
    "id, owner, answer_id, kind, model, state, reserved, input_cost, output_cost, total_cost, saved_cost,
     input_tokens, cached_tokens, output_tokens, thought_tokens, began_at, ended_at, exported_at";

impl Database {
    /// The ledger since `day`, summed.
    ///
    /// # Errors
    /// The database.
    pub async fn sums(&self, by: By, day: &str) -> Result<Vec<Sum>, StateError> {
        let column = match by {
            By::Day => "day",
            By::Caller => "owner",
            By::Model => "model",
        };
        // PostgreSQL sums whole numbers into another type.
        let sql = format!(
            "SELECT {column}, CAST(SUM(CASE WHEN state = 'saved' THEN 0 ELSE 1 END) AS BIGINT),
             CAST(SUM(CASE WHEN state = 'saved' THEN 1 ELSE 0 END) AS BIGINT),
             CAST(SUM(input_tokens) AS BIGINT), CAST(SUM(output_tokens + thought_tokens) AS BIGINT),
             CAST(SUM(input_cost) AS BIGINT), CAST(SUM(output_cost) AS BIGINT),
             CAST(SUM(CASE WHEN state = 'reserved' THEN reserved ELSE total_cost END) AS BIGINT),
             CAST(SUM(saved_cost) AS BIGINT)
             FROM calls WHERE day >= $1 GROUP BY {column} ORDER BY {column}"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql).into_sql_str()).bind(day).fetch_all(&self.pool).await;
        let sum = |row: &AnyRow| {
            let number = |at: usize| row.try_get::<i64, _>(at).map_err(unread);
            let yen = |at: usize| number(at).map(yen);
            Ok(Sum {
                name: row.try_get(0).map_err(unread)?,
                calls: number(1)?,
                saved_calls: number(2)?,
                input_tokens: number(3)?,
                output_tokens: number(4)?,
                input_cost_jpy: yen(5)?,
                output_cost_jpy: yen(6)?,
                total_cost_jpy: yen(7)?,
                saved_cost_jpy: yen(8)?,
            })
        };
        rows.map_err(unread)?.iter().map(sum).collect()
    }

    /// Rows that have ended and do not stand in the log spreadsheet yet, claimed for whoever asks.
    ///
    /// # Errors
    /// The database.
    pub async fn claim(&self, now: OffsetDateTime) -> Result<Vec<Line>, StateError> {
        // The rows come from the statement that claims them: nobody else's claim of the same moment is among them.
        let sql = format!(
            "UPDATE calls SET claimed_at = $1 WHERE id IN (SELECT id FROM calls WHERE exported_at <= 0 AND claimed_at < $2
             AND state IN ('settled', 'presumed') ORDER BY claimed_at, began_at LIMIT $3)
             AND exported_at <= 0 AND claimed_at < $2 RETURNING {LINE}"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql).into_sql_str()).bind(millis(now));
        let rows = rows.bind(millis(now - CLAIM_FOR)).bind(CLAIMED).fetch_all(&self.pool).await;
        let mut lines: Vec<Line> = rows.map_err(unkept)?.iter().map(line).collect::<Result<_, _>>()?;
        lines.sort_by(|a, b| (a.began_at, &a.id).cmp(&(b.began_at, &b.id)));
        Ok(lines)
    }

    /// Notes that rows stand in the log spreadsheet, or, without a moment, that they do not after all. One that was settled
    /// meanwhile stands there as it was presumed to be, and is appended again.
    ///
    /// # Errors
    /// The database.
    pub async fn exported(&self, lines: &[Line], at: Option<OffsetDateTime>) -> Result<(), StateError> {
        let mut transaction = self.begin(Lasting::AtOnce).await?;
        for line in lines {
            let noted = match at {
                Some(at) => sqlx::query(
                    "UPDATE calls SET exported_at = CASE WHEN state = $2 THEN $3 ELSE -1 END, claimed_at = 0 WHERE id = $1",
                )
                .bind(&line.id)
                .bind(&line.state)
                .bind(millis(at)),
                None => sqlx::query("UPDATE calls SET claimed_at = 0 WHERE id = $1").bind(&line.id),
            };
            noted.execute(&mut *transaction).await.map_err(unkept)?;
        }
        transaction.commit().await
    }

    /// Every row of the ledger, the oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn lines(&self) -> Result<Vec<Line>, StateError> {
        let sql = format!("SELECT {LINE} FROM calls ORDER BY began_at, id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql).into_sql_str()).fetch_all(&self.pool).await;
        rows.map_err(unread)?.iter().map(line).collect()
    }
}

/// Yen of millionths.
pub fn yen(millionths: i64) -> f64 {
    millionths as f64 / 1e6
}

fn line(row: &AnyRow) -> Result<Line, StateError> {
    let text = |at: usize| row.try_get::<String, _>(at).map_err(unread);
    let number = |at: usize| row.try_get::<i64, _>(at).map_err(unread);
    Ok(Line {
        id: text(0)?,
        owner: text(1)?,
        answer_id: text(2)?,
        kind: text(3)?,
        model: text(4)?,
        state: text(5)?,
        reserved: number(6)?,
        input_cost: number(7)?,
        output_cost: number(8)?,
        total_cost: number(9)?,
        saved_cost: number(10)?,
        input_tokens: number(11)?,
        cached_tokens: number(12)?,
        output_tokens: number(13)?,
        thought_tokens: number(14)?,
        began_at: moment(number(15)?),
        ended_at: moment(number(16)?),
        corrects: number(17)? < 0,
    })
}
