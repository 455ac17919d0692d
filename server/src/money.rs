//! What models may cost: every paid call is reserved at the most that it can cost, made, and settled at what it did cost.
//!
//! Limits hold for a caller's day, a day and a month, in yen, and for the calls of a day; days are those of Japan. They live
//! in the database, so that several instances have one budget. Where the database does not answer, no paid call is made.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use karute_sync::embed::EmbedError;
use karute_sync::generate::{Cost, Usage};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::offset;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::config::Settings;
use crate::error::Failure;
use crate::metrics::Counted;
use crate::retrieve::rerank::RerankError;
use crate::state::{Database, Limit, Outcome, Reservation, Settled, Spent, StateError, yen};
use crate::upstream::Upstream;

/// Millionths of a yen in a yen.
const MILLIONTHS: f64 = 1e6;

/// Who pays for what a sync embeds.
pub const SYNC: &str = "sync";

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
    /// Calls that are being settled while somebody goes on with what they brought.
    settling: Mutex<Vec<JoinHandle<()>>>,
}

impl Till {
    /// For calls of `payer`.
    pub fn new(
        money: Arc<Money>,
        state: Option<Database>,
        payer: Payer,
        now: fn() -> OffsetDateTime,
    ) -> Self {
        Self(Some(Arc::new(Open { money, state, payer, now, settling: Mutex::default() })))
    }

    /// Reserves a call that costs `most_usd` at most. One that costs nothing counts among the calls of the day all the same,
    /// where there is a ledger.
    ///
    /// # Errors
    /// As [`Money::reserve`].
    pub async fn reserve(
        &self,
        kind: &'static str,
        model: &str,
        most_usd: f64,
    ) -> Result<Option<Ticket>, Failure> {
        let closed = || Failure::State("no ledger is open, so no paid call is made".into());
        let open = self.0.as_deref();
        let Some((Open { money, payer, now, .. }, state)) =
            open.and_then(|open| Some((open, open.state.as_ref()?)))
        else {
            // What costs nothing need not be written down.
            return if most_usd > 0.0 { Err(closed()) } else { Ok(None) };
        };
        // A transaction is a large future: boxed, it takes no room in those that wait for it.
        let reserving = Box::pin(money.reserve(state, payer, kind, model, most_usd, now()));
        tokio::time::timeout(PATIENCE, reserving).await.map_err(|_| closed())?.map(Some)
    }

    /// Makes a call that costs `usd`, whatever it brings, and waits for it `until` then. Whoever gives up sooner keeps the service
    /// from being known as late.
    ///
    /// # Errors
    /// As [`Till::reserve`], and what `call` says; [`Failure::TimedOut`].
    pub async fn pay<T, E: Failed + Into<Failure>>(
        &self,
        upstream: &Upstream,
        kind: &'static str,
        usd: f64,
        until: Instant,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let pass = tokio::time::timeout_at(until, upstream.enter()).await.map_err(|_| Failure::Busy)??;
        // What this machine does itself is no call.
        let ticket = if usd > 0.0 { self.reserve(kind, upstream.name(), usd).await? } else { None };
        // The ledger took its time: what the service would have done with the rest is not asked.
        if Instant::now() >= until {
            if let Some(ticket) = ticket {
                ticket.free().await;
            }
            return Err(Failure::TimedOut);
        }
        let Ok(called) = tokio::time::timeout_at(until, call).await else {
            pass.timed_out();
            // Nobody knows what it cost: the ticket is presumed to have cost the most.
            return Err(Failure::TimedOut);
        };
        match (called, ticket) {
            (Ok(made), ticket) => {
                pass.answered();
                if let Some(ticket) = ticket {
                    let settling =
                        ticket.settling(Cost { input_usd: usd, output_usd: 0.0 }, &Usage::default());
                    self.later(settling);
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

    fn later(&self, settling: Option<JoinHandle<()>>) {
        if let (Some(open), Some(settling)) = (self.0.as_deref(), settling) {
            open.settling.lock().unwrap_or_else(PoisonError::into_inner).push(settling);
        }
    }

    /// Waits until the ledger says what each call cost that [`Till::pay`] has made. Whoever does not wait has it settled all the
    /// same, as long as the runtime lives.
    pub async fn settled(&self) {
        let Some(open) = self.0.as_deref() else { return };
        let settling = std::mem::take(&mut *open.settling.lock().unwrap_or_else(PoisonError::into_inner));
        for settling in settling {
            ended(settling).await;
        }
    }

    /// Notes that a cache saved a call which had cost so many yen.
    pub async fn saved(&self, kind: &'static str, model: &str, yen: f64) {
        let Some(Open { money, state: Some(state), payer, now, .. }) = self.0.as_deref() else { return };
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
    calls_per_caller: i64,
    /// The limit that last kept a call from being made.
    refused: Mutex<Option<String>>,
    /// What was spent since the start.
    pub counted: Counted,
}

/// What is spent of a limit.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitSpent {
    /// `day`, `month` or `calls`, with its date.
    pub name: String,
    /// Yen that are spent or reserved.
    pub spent_jpy: f64,
    /// Most yen; absent where calls alone are limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_jpy: Option<f64>,
    /// Calls that were made.
    pub calls: i64,
    /// Most calls; absent where there is no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_calls: Option<i64>,
}

impl LimitSpent {
    /// Of a limit, what is spent of it, and the calls that count against it.
    pub fn of((limit, spent, calls): &(Limit, i64, i64)) -> Self {
        Self {
            name: limit.name.clone(),
            spent_jpy: yen(*spent),
            limit_jpy: (!limit.is_of_calls()).then(|| yen(limit.most)),
            calls: *calls,
            most_calls: Some(limit.calls).filter(|most| *most < i64::MAX),
        }
    }
}

/// What the limit of a caller's paid calls is called, before the day and the caller.
const CALLS_OF: &str = "calls of a caller ";

/// A limit as a log may name it: whose day it is is nobody's business there.
fn house(limit: &str) -> String {
    let caller = limit.strip_prefix("caller ").or_else(|| limit.strip_prefix(CALLS_OF));
    match caller.and_then(|rest| rest.split(' ').next()) {
        Some(day) => format!("a caller's day, {day}"),
        None => limit.to_owned(),
    }
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
            calls_per_caller: settings.calls_per_caller,
            refused: Mutex::default(),
            counted: Counted::default(),
        }
    }

    /// Dollars in millionths of a yen, never less than they are.
    fn millionths(&self, usd: f64) -> i64 {
        (usd * self.usd_jpy * MILLIONTHS).ceil() as i64
    }

    /// The limits for the house: yen of a day, yen of a month, calls of a day.
    pub fn limits(&self, now: OffsetDateTime) -> Vec<Limit> {
        let day = day(now);
        self.of_house(&day).into_iter().chain([self.of_calls(&day)]).collect()
    }

    fn of_house(&self, day: &str) -> [Limit; 2] {
        let month = day.get(..7).unwrap_or(day);
        let limit = |name, most| Limit { name, most, calls: i64::MAX };
        [limit(format!("day {day}"), self.per_day), limit(format!("month {month}"), self.per_month)]
    }

    fn of_calls(&self, day: &str) -> Limit {
        Limit { name: format!("calls {day}"), most: i64::MAX, calls: self.calls_per_day }
    }

    /// What a call of `owner` on `day` counts against. A sync is nobody's question: it is bound by what a day and a month may cost
    /// (and by KARUTE_EMBED_MAX_YEN), but embeds records by thousands.
    pub fn limits_of(&self, day: &str, owner: &str) -> Vec<Limit> {
        let house = self.of_house(day).into_iter();
        if owner == SYNC {
            return house.collect();
        }
        let caller = Limit { name: format!("caller {day} {owner}"), most: self.per_caller, calls: i64::MAX };
        let name = format!("{CALLS_OF}{day} {owner}");
        let calls = Limit { name, most: i64::MAX, calls: self.calls_per_caller };
        house.chain([self.of_calls(day), caller, calls]).collect()
    }

    /// The limits for the house, each with what is spent of it and the calls that count against it.
    ///
    /// # Errors
    /// The database.
    pub async fn standing(
        &self,
        state: &Database,
        now: OffsetDateTime,
    ) -> Result<Vec<(Limit, i64, i64)>, StateError> {
        let mut standing = Vec::new();
        for limit in self.limits(now) {
            let (spent, calls) = state.spent(&limit.name).await?;
            standing.push((limit, spent, calls));
        }
        Ok(standing)
    }

    /// Presumes of calls that began before `moment` and were never settled that they cost the most, and tells of it.
    ///
    /// # Errors
    /// The database.
    pub async fn presume(
        &self,
        state: &Database,
        moment: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<(), StateError> {
        let presumed = state.presume(moment, now, |day, owner| self.limits_of(day, owner)).await?;
        for (model, most) in &presumed.calls {
            self.counted.add(model, &Spent::default(), *most as f64 / MILLIONTHS);
        }
        let calls = presumed.calls.len();
        if calls > 0 {
            tracing::warn!(calls, "calls were never settled: they count at the most they could cost");
        }
        tell(&presumed.reached);
        Ok(())
    }

    /// The limit of the house that keeps calls from being made at `now`, if one did lately.
    pub fn refused(&self, now: OffsetDateTime) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        self.limits(now).into_iter().map(|limit| limit.name).find(|name| *name == refused)
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
        let most = if most_usd > 0.0 { self.millionths(most_usd) + 1 } else { 0 };
        let call = self.call(payer, kind, model, most, now);
        let mut limits = self.limits_of(&call.day, &payer.caller);
        if most == 0 {
            // What is free is not among the paid calls of a caller.
            limits.retain(|limit| !limit.name.starts_with(CALLS_OF));
        }
        match state.reserve(&call, &limits).await? {
            Outcome::Reserved => {
                let made = Made { money: self.clone(), state: state.clone(), call, limits };
                Ok(Ticket(Some(made)))
            }
            Outcome::Refused(limit, first) => {
                if self.limits(now).contains(&limit) {
                    *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(limit.name.clone());
                }
                let name = house(&limit.name);
                if first {
                    tracing::error!(
                        limit = name,
                        "a limit of spending leaves no room for a call beside what is spent and reserved: no model is asked"
                    );
                }
                Err(Failure::Budget(name))
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

/// Tells of limits that have reached a percent.
fn tell(reached: &[(String, i64)]) {
    for (limit, percent) in reached {
        tracing::warn!(limit = house(limit), percent, "so much of a limit of spending is spent");
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
        let Self { money, state, call, limits } = &self;
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
            Ok(Some(Settled { reached, was_reserved })) => {
                // What was presumed is counted already; a counter cannot take back what is too much of it.
                let yen = match (spent.known, was_reserved) {
                    (true, true) => total,
                    (false, true) => call.most,
                    (_, false) => (total - call.most).max(0),
                };
                money.counted.add(&call.model, &spent, yen as f64 / MILLIONTHS);
                tell(&reached);
            }
            Ok(None) => tracing::error!(call = call.id, "a call was settled twice"),
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
    pub async fn settle(self, cost: Cost, usage: &Usage) {
        if let Some(settling) = self.settling(cost, usage) {
            ended(settling).await;
        }
    }

    /// The call cost this; it is noted while whoever asked goes on.
    fn settling(mut self, cost: Cost, usage: &Usage) -> Option<JoinHandle<()>> {
        let made = self.0.take()?;
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
        Some(tokio::spawn(made.settle(spent)))
    }

    /// The service refused the call: it cost nothing.
    pub async fn free(mut self) {
        if let Some(made) = self.0.take() {
            ended(tokio::spawn(made.settle(Spent { known: true, ..Spent::default() }))).await;
        }
    }
}

/// Waits for a call to be settled, which it is even if whoever asked goes away meanwhile.
async fn ended(settling: JoinHandle<()>) {
    if let Err(error) = settling.await {
        tracing::error!(%error, "a call stays reserved: it counts at the most it could cost");
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
