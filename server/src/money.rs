//! What models may cost: every paid call is reserved at the most that it can cost, made, and settled at what it did cost.
//!
//! Limits hold for a caller's day, a day and a month, in yen, and for the calls of a day; days are those of Japan. They live
//! in the database, so that several instances have one budget. Where the database does not answer, no paid call is made.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use karute_sync::embed::EmbedError;
use karute_sync::generate::{Cost, Usage};
use time::OffsetDateTime;
use time::macros::offset;
use uuid::Uuid;

use crate::config::Settings;
use crate::error::Failure;
use crate::retrieve::rerank::RerankError;
use crate::state::{Database, Limit, Outcome, Reservation, Spent};
use crate::upstream::Upstream;

/// Millionths of a yen in a yen.
const MILLIONTHS: f64 = 1e6;

/// Who pays for a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payer {
    /// The caller.
    pub caller: String,
    /// The answer that it is for; empty for none.
    pub answer_id: String,
}

/// A call that failed.
pub trait Failed {
    /// Whether the service refused before it did anything, so that nothing is billed.
    fn refused(&self) -> bool;
}

impl Failed for EmbedError {
    fn refused(&self) -> bool {
        Self::refused(self)
    }
}

impl Failed for RerankError {
    fn refused(&self) -> bool {
        self.refused
    }
}

/// Where somebody's paid calls are reserved. The empty one pays for nothing.
#[derive(Clone, Debug, Default)]
pub struct Till(Option<Arc<Open>>);

#[derive(Debug)]
struct Open {
    money: Arc<Money>,
    state: Option<Database>,
    payer: Payer,
    now: fn() -> OffsetDateTime,
}

impl Till {
    /// For calls of `payer`.
    pub fn new(
        money: Arc<Money>,
        state: Option<Database>,
        payer: Payer,
        now: fn() -> OffsetDateTime,
    ) -> Self {
        Self(Some(Arc::new(Open { money, state, payer, now })))
    }

    /// Reserves a call that costs `most_usd` at most; nothing for one that costs nothing.
    ///
    /// # Errors
    /// As [`Money::reserve`].
    pub async fn reserve(
        &self,
        kind: &'static str,
        model: &str,
        most_usd: f64,
    ) -> Result<Option<Ticket>, Failure> {
        if most_usd <= 0.0 {
            return Ok(None);
        }
        let closed = || Failure::State("no ledger is open, so no paid call is made".into());
        let Open { money, state, payer, now } = self.0.as_deref().ok_or_else(closed)?;
        let state = state.as_ref().ok_or_else(closed)?;
        // A transaction is a large future: boxed, it takes no room in those that wait for it.
        let reserving = Box::pin(money.reserve(state, payer, kind, model, most_usd, now()));
        tokio::time::timeout(PATIENCE, reserving).await.map_err(|_| closed())?.map(Some)
    }

    /// Makes a call that costs `usd`, whatever it brings.
    ///
    /// # Errors
    /// As [`Till::reserve`], and what `call` says.
    pub async fn pay<T, E: Failed + Into<Failure>>(
        &self,
        upstream: &Upstream,
        kind: &'static str,
        usd: f64,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let pass = upstream.enter().await?;
        let ticket = self.reserve(kind, upstream.name(), usd).await?;
        match (call.await, ticket) {
            (Ok(made), ticket) => {
                pass.answered();
                if let Some(ticket) = ticket {
                    ticket.settle(Cost { input_usd: usd, output_usd: 0.0 }, &Usage::default()).await;
                }
                Ok(made)
            }
            (Err(error), ticket) => {
                pass.failed();
                if let Some(ticket) = ticket.filter(|_| error.refused()) {
                    ticket.free().await;
                }
                Err(error.into())
            }
        }
    }

    /// Notes that a cache saved a call which had cost so many yen.
    pub async fn saved(&self, kind: &'static str, model: &str, yen: f64) {
        let Some(Open { money, state: Some(state), payer, now }) = self.0.as_deref() else { return };
        let call = money.call(payer, kind, model, 0, now());
        if let Err(error) = state.saved(&call, (yen * MILLIONTHS) as i64).await {
            tracing::warn!(%error, "what a cache saved is not in the ledger");
        }
    }
}

/// How long the ledger is waited for before a call is not made.
const PATIENCE: Duration = Duration::from_secs(5);

/// What may be spent.
#[derive(Debug)]
pub struct Money {
    instance: String,
    usd_jpy: f64,
    per_caller: i64,
    per_day: i64,
    per_month: i64,
    calls_per_day: i64,
}

/// The day of Japan that a moment lies in, `YYYY-MM-DD`.
pub fn day(moment: OffsetDateTime) -> String {
    moment.to_offset(offset!(+9)).date().to_string()
}

impl Money {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        let most = |yen: f64| (yen * MILLIONTHS) as i64;
        Self {
            instance: Uuid::new_v4().to_string(),
            usd_jpy: settings.usd_jpy,
            per_caller: most(settings.yen_per_caller),
            per_day: most(settings.yen_per_day),
            per_month: most(settings.yen_per_month),
            calls_per_day: settings.calls_per_day,
        }
    }

    /// Dollars in millionths of a yen, never less than they are.
    fn millionths(&self, usd: f64) -> i64 {
        (usd * self.usd_jpy * MILLIONTHS).ceil() as i64
    }

    /// The limits for the house: its day, its month.
    pub fn limits(&self, now: OffsetDateTime) -> [Limit; 2] {
        let day = day(now);
        let month = day.get(..7).unwrap_or(&day).to_owned();
        [
            Limit { name: format!("day {day}"), most: self.per_day, calls: self.calls_per_day },
            Limit { name: format!("month {month}"), most: self.per_month, calls: i64::MAX },
        ]
    }

    /// Reserves a call to `model` that costs `most_usd` at most. What comes back must be settled; if it is dropped, the call
    /// is presumed to have cost the most.
    ///
    /// # Errors
    /// [`Failure::Budget`] where a limit would be passed; [`Failure::State`] where that cannot be known.
    pub async fn reserve(
        self: &Arc<Self>,
        state: &Database,
        payer: &Payer,
        kind: &'static str,
        model: &str,
        most_usd: f64,
        now: OffsetDateTime,
    ) -> Result<Ticket, Failure> {
        // Each part of what it costs may be rounded up.
        let call = self.call(payer, kind, model, self.millionths(most_usd) + 1, now);
        let per_caller = Limit {
            name: format!("caller {} {}", call.day, payer.caller),
            most: self.per_caller,
            calls: i64::MAX,
        };
        let limits: Vec<Limit> = self.limits(now).into_iter().chain([per_caller]).collect();
        match state.reserve(&call, &limits).await? {
            Outcome::Reserved(reached) => {
                for (limit, percent) in reached {
                    tracing::warn!(limit, percent, "a limit of spending has been reached");
                }
                let made = Made { money: self.clone(), state: state.clone(), call, limits };
                Ok(Ticket(Some(made)))
            }
            Outcome::Refused(limit, first) => {
                if first {
                    tracing::error!(limit = limit.name, "a limit of spending is used up: no model is asked");
                }
                Err(Failure::Budget(limit.name))
            }
        }
    }

    fn call(
        &self,
        payer: &Payer,
        kind: &'static str,
        model: &str,
        most: i64,
        at: OffsetDateTime,
    ) -> Reservation {
        Reservation {
            id: Uuid::new_v4().to_string(),
            instance: self.instance.clone(),
            owner: payer.caller.clone(),
            answer_id: payer.answer_id.clone(),
            kind,
            model: model.to_owned(),
            most,
            day: day(at),
            at,
        }
    }
}

#[derive(Debug)]
struct Made {
    money: Arc<Money>,
    state: Database,
    call: Reservation,
    limits: Vec<Limit>,
}

impl Made {
    async fn settle(self, spent: Spent) {
        let Self { state, call, limits, .. } = &self;
        let total = spent.input_cost + spent.output_cost;
        if total > call.most {
            tracing::error!(
                model = call.model,
                most = call.most,
                total,
                "a call cost more than the most it could"
            );
        }
        match state.settle(call, limits, &spent, OffsetDateTime::now_utc()).await {
            Ok(true) => {}
            Ok(false) => tracing::error!(call = call.id, "a call was settled twice"),
            Err(error) => {
                tracing::error!(call = call.id, %error, "a call stays reserved: it counts at the most it could cost")
            }
        }
    }
}

/// A reserved call.
#[derive(Debug)]
#[must_use = "a call that is not settled is presumed to have cost the most"]
pub struct Ticket(Option<Made>);

impl Ticket {
    /// The id of the call in the ledger.
    pub fn id(&self) -> &str {
        self.0.as_ref().map_or("", |made| &made.call.id)
    }

    /// The call cost this.
    pub async fn settle(mut self, cost: Cost, usage: &Usage) {
        let Some(made) = self.0.take() else { return };
        let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let spent = Spent {
            known: true,
            input_cost: made.money.millionths(cost.input_usd),
            output_cost: made.money.millionths(cost.output_usd),
            input_tokens: tokens(usage.input_tokens),
            cached_tokens: tokens(usage.cached_tokens),
            output_tokens: tokens(usage.output_tokens),
            thought_tokens: tokens(usage.thought_tokens),
        };
        Box::pin(made.settle(spent)).await;
    }

    /// The service refused the call: it cost nothing.
    pub async fn free(mut self) {
        if let Some(made) = self.0.take() {
            Box::pin(made.settle(Spent { known: true, ..Spent::default() })).await;
        }
    }
}

impl Drop for Ticket {
    /// Nobody knows what it cost: whoever asked has gone, or it broke off.
    fn drop(&mut self) {
        let Some(made) = self.0.take() else { return };
        // Without a runtime the program is ending, and the next start presumes the same.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(made.settle(Spent::default()));
        }
    }
}
