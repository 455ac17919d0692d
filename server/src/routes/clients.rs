//! `/clients`: whom the records are about.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::audit::Seen;
use crate::catalogue::Client;
use crate::error::{Failure, Problem, Problems};
use crate::request::Id;
use crate::retrieve::caller::Caller;

/// Clients, by id.
#[derive(Serialize, ToSchema)]
pub(super) struct Clients {
    clients: Vec<Client>,
    total: usize,
}

/// The clients of whom `caller` may know.
async fn visible(app: App, caller: Caller) -> Result<Vec<Client>, Failure> {
    let index = app.index()?;
    let reader = app.clone();
    let catalogue = app.on_pool(move || reader.catalogue(&index)).await??;
    Ok(catalogue.clients.iter().filter(|client| caller.may_know(client)).cloned().collect())
}

/// Lists the clients that the records name.
#[utoipa::path(get, path = "/clients", tag = "records",
    responses((status = 200, description = "Clients, by id", body = Clients), Problems))]
pub(super) async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Clients>, Failure> {
    let clients = visible(app.clone(), caller.clone()).await?;
    let listed = clients.iter().map(|client| client.id.clone()).collect();
    app.seen(&caller, Seen { action: "clients", clients: listed, ..Seen::default() }, std::iter::empty())
        .await?;
    Ok(Json(Clients { total: clients.len(), clients }))
}

/// One client.
#[utoipa::path(get, path = "/clients/{client_id}", tag = "records", params(("client_id" = String, Path)),
    responses((status = 200, description = "The client", body = Client),
        (status = 404, description = "The records name no such client", body = Problem), Problems))]
pub(super) async fn one(
    State(app): State<App>,
    caller: Caller,
    Id(client_id): Id,
) -> Result<Json<Client>, Failure> {
    let clients = visible(app.clone(), caller.clone()).await?;
    let client = clients.into_iter().find(|client| client.id == client_id).ok_or(Failure::NotFound)?;
    let seen = Seen { action: "client", clients: vec![client.id.clone()], ..Seen::default() };
    app.seen(&caller, seen, std::iter::empty()).await?;
    Ok(Json(client))
}
