//! The ledger of paid calls, and what is spent of each limit. A call is reserved at the most that it can cost before it is
//! made, and settled at what it did cost; both change ledger and limits in one transaction, so that no crash and no second
//! instance can part them. Money is in whole millionths of a yen.

use std::collections::HashMap;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row, SqlSafeStr};
use time::OffsetDateTime;

use super::home::Lasting;
use super::{Database, StateError, millis, storable, unkept, unread};

/// Percents of a limit that somebody is told of.
const TOLD_AT: [i64; 3] = [50, 90, 100];

/// A limit that a call counts against.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// Its name, with its day or month: `day 2026-11-26`.
    pub name: String,
    /// Most that may be spent.
    pub most: i64,
    /// Most calls.
    pub calls: i64,
}

impl Limit {
    /// Whether it bounds calls alone, whatever they cost.
    pub fn is_of_calls(&self) -> bool {
        self.most == i64::MAX
    }
}

/// A call that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Its id.
    pub id: String,
    /// The instance that makes it.
    pub instance: String,
    /// Who asked.
    pub owner: String,
    /// The answer that it is for; empty for none.
    pub answer_id: String,
    /// `answer`, `embed` or `rank`.
    pub kind: &'static str,
    /// The model.
    pub model: String,
    /// The most that it can cost.
    pub most: i64,
    /// The day of Japan, `YYYY-MM-DD`.
    pub day: String,
    /// When.
    pub at: OffsetDateTime,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Whether it is known what it cost; if not, it is presumed to have cost the most.
    pub known: bool,
    /// For what the model read.
    pub input_cost: i64,
    /// For what it wrote.
    pub output_cost: i64,
    /// Tokens that it read, cached ones among them.
    pub input_tokens: i64,
    /// Those that it had in its cache.
    pub cached_tokens: i64,
    /// Tokens that it wrote.
    pub output_tokens: i64,
    /// Tokens of thoughts.
    pub thought_tokens: i64,
}

/// What came of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The call may be made.
    Reserved,
    /// It may not: this limit would be passed. Whether it is the first time that this happens.
    Refused(Limit, bool),
}

/// A call that was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Limits that have reached a percent by it that somebody is told of.
    pub reached: Vec<(String, i64)>,
    /// Whether it was reserved until now; if not, it was presumed to have cost the most.
    pub was_reserved: bool,
}

/// Calls that were presumed to have cost the most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presumed {
    /// The model of each, and the most that it could cost, millionths of a yen.
    pub calls: Vec<(String, i64)>,
    /// Limits that have reached a percent by them that somebody is told of.
    pub reached: Vec<(String, i64)>,
}

impl Database {
    /// Reserves a call if all of `limits` allow it, or none of it.
    ///
    /// # Errors
    /// The database; then the call must not be made.
    pub async fn reserve(&self, call: &Reservation, limits: &[Limit]) -> Result<Outcome, StateError> {
        let mut transaction = self.begin(Lasting::Soon).await?;
        let standing = count(&mut transaction, limits, Change::Reserved { most: call.most }).await?;
        let is_passed = |(limit, standing): &(Limit, Standing)| {
            standing.spent.saturating_add(standing.reserved) > limit.most || standing.calls > limit.calls
        };
        if let Some((limit, _)) = standing.into_iter().find(is_passed) {
            transaction.rollback().await?;
            let first = self.told(&limit.name).await?;
            return Ok(Outcome::Refused(limit, first));
        }
        insert(&mut transaction, call, "reserved", 0).await?;
        transaction.commit().await?;
        Ok(Outcome::Reserved)
    }

    /// Whether nobody was told yet that this limit left no room for a call.
    async fn told(&self, name: &str) -> Result<bool, StateError> {
        let made =
            "INSERT INTO budgets (name, spent, reserved, calls, warned, refused) VALUES ($1, 0, 0, 0, 0, 0)
             ON CONFLICT (name) DO NOTHING";
        sqlx::query(made).bind(name).execute(&self.pool).await.map_err(unkept)?;
        let told = sqlx::query("UPDATE budgets SET refused = 1 WHERE name = $1 AND refused = 0").bind(name);
        Ok(told.execute(&self.pool).await.map_err(unkept)?.rows_affected() > 0)
    }

    /// Settles a call at what it cost, once: a second time changes nothing. `limits` are those that it was reserved against.
    /// What comes back is `None` for a call that was settled before, else the limits that have just reached a percent that
    /// somebody is told of.
    ///
    /// # Errors
    /// The database; the call stays reserved, and is presumed to have cost the most.
    pub async fn settle(
        &self,
        call: &Reservation,
        limits: &[Limit],
        spent: &Spent,
        at: OffsetDateTime,
    ) -> Result<Option<Settled>, StateError> {
        let total = if spent.known { spent.input_cost + spent.output_cost } else { call.most };
        let mut transaction = self.begin(Lasting::Soon).await?;
        let mut was_reserved = true;
        let mut settled = 0;
        for before in ["reserved", "presumed"] {
            was_reserved = before == "reserved";
            settled = sqlx::query(
                "UPDATE calls SET state = $2, input_cost = $3, output_cost = $4, total_cost = $5, input_tokens = $6,
                 cached_tokens = $7, output_tokens = $8, thought_tokens = $9, ended_at = $10,
                 exported_at = CASE WHEN exported_at > 0 THEN -1 ELSE exported_at END
                 WHERE id = $1 AND state = $11",
            )
            .bind(&call.id)
            .bind(if spent.known { "settled" } else { "presumed" })
            .bind(spent.input_cost)
            .bind(spent.output_cost)
            .bind(total)
            .bind(spent.input_tokens)
            .bind(spent.cached_tokens)
            .bind(spent.output_tokens)
            .bind(spent.thought_tokens)
            .bind(millis(at))
            .bind(before)
            .execute(&mut *transaction)
            .await
            .map_err(unkept)?
            .rows_affected();
            if settled > 0 {
                break;
            }
        }
        if settled == 0 {
            transaction.rollback().await?;
            return Ok(None);
        }
        // What was presumed is spent already.
        let (freed, more) = if was_reserved { (call.most, total) } else { (0, total - call.most) };
        let standing = count(&mut transaction, limits, Change::Settled { more, freed }).await?;
        let reached = reached(&mut transaction, &standing).await?;
        transaction.commit().await?;
        Ok(Some(Settled { reached, was_reserved }))
    }

    /// Presumes that every call which began before `moment`, and of which nothing more was heard, cost the most. `limits` names what a call of a day and an owner counts against.
    ///
    /// # Errors
    /// The database.
    pub async fn presume(
        &self,
        moment: OffsetDateTime,
        now: OffsetDateTime,
        limits: impl Fn(&str, &str) -> Vec<Limit>,
    ) -> Result<Presumed, StateError> {
        let rows = sqlx::query(
            "SELECT id, owner, day, reserved, model FROM calls WHERE state = 'reserved' AND began_at < $1",
        );
        let rows = rows.bind(millis(moment)).fetch_all(&self.pool).await.map_err(unread)?;
        let mut presumed = Presumed::default();
        for row in &rows {
            let text = |at: usize| row.try_get::<String, _>(at).map_err(unread);
            let call = Reservation {
                id: text(0)?,
                owner: text(1)?,
                day: text(2)?,
                most: row.try_get(3).map_err(unread)?,
                instance: String::new(),
                answer_id: String::new(),
                kind: "answer",
                model: text(4)?,
                at: now,
            };
            let limits = limits(&call.day, &call.owner);
            if let Some(settled) = self.settle(&call, &limits, &Spent::default(), now).await? {
                presumed.calls.push((call.model, call.most));
                presumed.reached.extend(settled.reached);
            }
        }
        Ok(presumed)
    }

    /// Notes a call that a cache saved.
    ///
    /// # Errors
    /// The database.
    pub async fn saved(&self, call: &Reservation, saved: i64) -> Result<(), StateError> {
        let mut transaction = self.begin(Lasting::Soon).await?;
        insert(&mut transaction, call, "saved", saved).await?;
        transaction.commit().await
    }

    /// What is spent of a limit: millionths of a yen, and calls.
    ///
    /// # Errors
    /// The database.
    pub async fn spent(&self, limit: &str) -> Result<(i64, i64), StateError> {
        let row = sqlx::query("SELECT spent + reserved, calls FROM budgets WHERE name = $1").bind(limit);
        let row = row.fetch_optional(&self.pool).await.map_err(unread)?;
        let Some(row) = row else { return Ok((0, 0)) };
        Ok((row.try_get(0).map_err(unread)?, row.try_get(1).map_err(unread)?))
    }
}

/// A new row of the ledger. A call that a cache saved ends as it begins.
async fn insert(
    transaction: &mut AnyConnection,
    call: &Reservation,
    state: &'static str,
    saved: i64,
) -> Result<(), StateError> {
    let began_at = millis(call.at);
    sqlx::query(
        "INSERT INTO calls (id, instance, owner, answer_id, kind, model, state, reserved, input_cost, output_cost,
         total_cost, saved_cost, input_tokens, cached_tokens, output_tokens, thought_tokens, day, began_at, ended_at,
         claimed_at, exported_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, $9, 0, 0, 0, 0, $10, $11, $12, 0, 0)",
    )
    .bind(&call.id)
    .bind(&call.instance)
    .bind(storable(&call.owner))
    .bind(storable(&call.answer_id))
    .bind(call.kind)
    .bind(&call.model)
    .bind(state)
    .bind(call.most)
    .bind(saved)
    .bind(&call.day)
    .bind(began_at)
    .bind(if state == "saved" { began_at } else { 0 })
    .execute(transaction)
    .await
    .map_err(unkept)
    .map(drop)
}

/// What is spent of a limit.
struct Standing {
    spent: i64,
    reserved: i64,
    calls: i64,
    /// The percent that somebody was told of last.
    warned: i64,
}

/// How a call counts against its limits.
enum Change {
    Reserved { most: i64 },
    Settled { more: i64, freed: i64 },
}

/// Counts against all of `limits` in one statement. One that is not there yet is made: a version before may not have had it.
/// How each stands then, in the order of their names, in which they are locked, too: no two wait for each other.
async fn count(
    transaction: &mut AnyConnection,
    limits: &[Limit],
    change: Change,
) -> Result<Vec<(Limit, Standing)>, StateError> {
    let mut limits = limits.to_vec();
    limits.sort();
    if limits.is_empty() {
        return Ok(Vec::new());
    }
    let (amounts, made, changed) = match change {
        Change::Reserved { most } => (
            vec![most],
            "0, $1, 1",
            "reserved = budgets.reserved + excluded.reserved, calls = budgets.calls + 1",
        ),
        Change::Settled { more, freed } => (
            vec![more, freed],
            "$1, 0, 0",
            "spent = budgets.spent + excluded.spent,
             reserved = CASE WHEN budgets.reserved > $2 THEN budgets.reserved - $2 ELSE 0 END",
        ),
    };
    let names = (1 + amounts.len()..).take(limits.len());
    let rows: Vec<String> = names.map(|name| format!("(${name}, {made}, 0, 0)")).collect();
    let sql = format!(
        "INSERT INTO budgets (name, spent, reserved, calls, warned, refused) VALUES {}
         ON CONFLICT (name) DO UPDATE SET {changed} RETURNING name, spent, reserved, calls, warned",
        rows.join(", ")
    );
    // Made of the texts above and of numbers of parameters.
    let mut counting = sqlx::query(sqlx::AssertSqlSafe(sql).into_sql_str());
    for amount in amounts {
        counting = counting.bind(amount);
    }
    for limit in &limits {
        counting = counting.bind(&limit.name);
    }
    let rows = counting.fetch_all(transaction).await.map_err(unkept)?;
    let standing = |row: &AnyRow| {
        let number = |at: usize| row.try_get::<i64, _>(at).map_err(unread);
        let name: String = row.try_get(0).map_err(unread)?;
        let standing =
            Standing { spent: number(1)?, reserved: number(2)?, calls: number(3)?, warned: number(4)? };
        Ok((name, standing))
    };
    let mut standing: HashMap<String, Standing> =
        rows.iter().map(standing).collect::<Result<_, StateError>>()?;
    Ok(limits.into_iter().filter_map(|limit| standing.remove(&limit.name).map(|now| (limit, now))).collect())
}

/// Which limits have just reached a percent that somebody is told of.
async fn reached(
    transaction: &mut AnyConnection,
    standing: &[(Limit, Standing)],
) -> Result<Vec<(String, i64)>, StateError> {
    let mut reached = Vec::new();
    for (limit, Standing { spent, calls, warned, .. }) in standing {
        let is_of = |part: i64, whole: i64, percent: i64| {
            i128::from(part) * 100 >= i128::from(whole) * i128::from(percent)
        };
        let is_reached = |percent: &&i64| {
            let reached = is_of(*spent, limit.most, **percent) || is_of(*calls, limit.calls, **percent);
            **percent > *warned && reached
        };
        let Some(percent) = TOLD_AT.iter().rev().find(is_reached) else { continue };
        let told =
            sqlx::query("UPDATE budgets SET warned = $2 WHERE name = $1").bind(&limit.name).bind(*percent);
        told.execute(&mut *transaction).await.map_err(unkept)?;
        reached.push((limit.name.clone(), *percent));
    }
    Ok(reached)
}
