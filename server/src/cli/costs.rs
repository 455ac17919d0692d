//! `karute costs`: what models cost.

use clap::Args;
use serde_json::json;
use time::OffsetDateTime;

use super::{Outcome, plain, print_json, state};
use crate::config::Settings;
use crate::money::{LimitSpent, Money, day};
use crate::state::{By, Sum};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// So many days of Japan, up to today.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u16).range(1..=3660))]
    days: u16,
    /// Sum by this.
    #[arg(long, value_enum, default_value = "day")]
    by: By,
}

pub(super) async fn run(settings: Settings, Options { days, by }: Options, json: bool) -> Outcome {
    let state = state(&settings).await?;
    let now = OffsetDateTime::now_utc();
    let since = day(now - time::Duration::days(i64::from(days) - 1));
    let sums = state.sums(by, &since).await?;
    let standing = Money::new(&settings).standing(&state, now).await?;
    if json {
        let limit = |LimitSpent { name, spent_jpy, limit_jpy, calls, most_calls }: LimitSpent| json!({ "name": name, "spentJPY": spent_jpy, "limitJPY": limit_jpy, "calls": calls, "mostCalls": most_calls });
        let limits: Vec<_> = standing.iter().map(LimitSpent::of).map(limit).collect();
        return print_json(&json!({ "since": since, "rows": sums, "limits": limits }));
    }
    for Sum { name, calls, saved_calls, total_cost_jpy, saved_cost_jpy, .. } in &sums {
        let name = plain(name);
        say!(
            "{name}  {calls} calls  {total_cost_jpy:.2} yen  {saved_calls} saved  {saved_cost_jpy:.2} yen saved"
        )?;
    }
    for LimitSpent { name, spent_jpy, limit_jpy, calls, most_calls } in standing.iter().map(LimitSpent::of) {
        match (limit_jpy, most_calls) {
            (Some(most), _) => say!("{name}: {spent_jpy:.2} of {most:.0} yen, {calls} calls")?,
            (None, Some(most)) => say!("{name}: {calls} of {most} calls")?,
            (None, None) => say!("{name}: {spent_jpy:.2} yen, {calls} calls")?,
        }
    }
    Ok(())
}
