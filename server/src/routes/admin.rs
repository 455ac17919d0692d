//! `/admin`: what models cost, and who looked at whose records.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::{self, Seen};
use crate::error::{Failure, Problem, Problems};
use crate::money::{LimitSpent, day};
use crate::request::Parameters;
use crate::retrieve::caller::Caller;
use crate::state::{By, Sealed, Sum};

/// What models cost, and what is left.
#[derive(Serialize, ToSchema)]
pub(super) struct Costs {
    /// The first day that is counted, of Japan.
    since: String,
    by: &'static str,
    rows: Vec<Sum>,
    limits: Vec<LimitSpent>,
}

/// What models cost, by day, caller or model.
#[utoipa::path(get, path = "/admin/costs", tag = "operation",
    params(("days" = Option<u16>, Query, minimum = 1, maximum = 3660, description = "So many days up to today; 31"),
        ("by" = Option<String>, Query, description = "day, caller or model; day")),
    responses((status = 200, description = "Sums of the ledger", body = Costs), Problems))]
pub(super) async fn costs(
    State(app): State<App>,
    Parameters(mut fields): Parameters,
) -> Result<Json<Costs>, Failure> {
    let days = fields.number("days", 1, 3660, 31, 31);
    let named = fields.optional_text("by").unwrap_or_else(|| "day".into());
    let by = [("day", By::Day), ("caller", By::Caller), ("model", By::Model)]
        .into_iter()
        .find(|(name, _)| *name == named);
    fields.check("by", by.is_some(), "day, caller or model");
    fields.finish()?;
    let (name, by) = by.unwrap_or(("day", By::Day));
    let state = app.state().ok_or_else(|| Failure::State("the ledger has not been reached yet".into()))?;
    let now = (app.now)();
    let since = day(now - time::Duration::days(i64::try_from(days).unwrap_or(31) - 1));
    let rows = state.sums(by, &since).await?;
    let limits = app.money.standing(state, now).await?.iter().map(LimitSpent::of).collect();
    Ok(Json(Costs { since, by: name, rows, limits }))
}

/// Who looked at the records of a client.
#[derive(Serialize, ToSchema)]
pub(super) struct Looks {
    client_id: String,
    /// Links of the audit. Where one tells of what the caller may not see, its `detail` holds the clients that he may see
    /// alone, and its digest is that of the whole link.
    #[schema(value_type = Vec<Object>)]
    looks: Vec<Sealed>,
}

/// Who looked at the records of a client, the latest last. That it was asked is in the audit, too.
#[utoipa::path(get, path = "/admin/audit", tag = "operation",
    params(("client_id" = String, Query, description = "The client")),
    responses((status = 200, description = "What the audit says of the client", body = Looks),
        (status = 404, description = "The caller may not see this client", body = Problem), Problems))]
pub(super) async fn audit(
    State(app): State<App>,
    caller: Caller,
    Parameters(mut fields): Parameters,
) -> Result<Json<Looks>, Failure> {
    let client_id = fields.required_text("client_id", 512);
    fields.finish()?;
    if !caller.may_see_all([&client_id]) {
        return Err(Failure::NotFound);
    }
    let state = app.state().ok_or_else(|| Failure::State("the audit has not been reached yet".into()))?;
    let seen = Seen { action: "audit", clients: vec![client_id.clone()], ..Seen::default() };
    app.seen(&caller, seen, std::iter::empty()).await?;
    let mut looks = state.links_about(&client_id).await?;
    looks.retain(|sealed| audit::tells_of(&sealed.link, &client_id));
    looks.iter_mut().for_each(|sealed| audit::narrow(&mut sealed.link, &caller));
    looks.sort_by_key(|sealed| sealed.link.at);
    Ok(Json(Looks { client_id, looks }))
}
