//! The door: who asks, whether that one may, and how much. Nothing behind it runs for whoever may not.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use super::refused;
use crate::access::pace::Kind;
use crate::access::role::Permission;
use crate::app::App;
use crate::error::Failure;
use crate::retrieve::caller::{ANONYMOUS, Caller};

/// What a route needs of whoever calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it shows no record and costs nothing.
    Nothing,
    /// This permission.
    May(Permission),
    /// The permission of an admin, whether sign-in is required or not. There is no such route where admin endpoints are switched
    /// off.
    Admin,
}

/// What stands before one route.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) app: App,
    pub(super) need: Need,
    pub(super) kind: Kind,
}

/// Lets a request in, or answers in its place.
pub(super) async fn admit(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    if door.need == Need::Nothing {
        return next.run(request).await;
    }
    let entered = match enter(&door, request.headers()).await {
        Ok(entered) => entered,
        Err(failure) => return refused(request.uri(), failure),
    };
    let (caller, place) = entered;
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    match place {
        None => response,
        // The place is given up with the last byte of the answer, by the body that every answer has.
        Some(place) => {
            let mut response = response;
            response.extensions_mut().insert(Place(Arc::new(place)));
            response
        }
    }
}

/// A caller's place, for as long as its answer lasts.
#[derive(Clone)]
pub(super) struct Place(
    #[expect(dead_code, reason = "held, not read")] Arc<tokio::sync::OwnedSemaphorePermit>,
);

type Entered = (Caller, Option<tokio::sync::OwnedSemaphorePermit>);

async fn enter(door: &Door, headers: &HeaderMap) -> Result<Entered, Failure> {
    let Door { app, need, kind } = door;
    let is_admins = *need == Need::Admin;
    let found = app.access.identify(headers, app.state(), (app.now)()).await;
    let wanted = match need {
        Need::Nothing => None,
        Need::May(permission) => Some(*permission),
        Need::Admin => Some(Permission::Admin),
    };
    let caller = match found {
        Ok(caller) => caller,
        // Without a key configured no key could have been right.
        Err(Failure::Unauthorised(_)) if is_admins && !app.access.has_admin_key() => {
            return Err(Failure::NoAdminKey);
        }
        Err(failure) => return Err(failure),
    };
    if wanted.is_some_and(|permission| !caller.permissions.contains(&permission)) {
        return Err(match caller.name == ANONYMOUS {
            true if !app.access.has_admin_key() => Failure::NoAdminKey,
            true => Failure::Unauthorised("Invalid API key"),
            false => Failure::Forbidden,
        });
    }
    // Where nobody signs in, everybody is one caller, and there is nobody to be kept from crowding out the others.
    let place = match caller.name == ANONYMOUS {
        true => None,
        false => app.paces.enter(&caller.name, *kind)?,
    };
    Ok((caller, place))
}
