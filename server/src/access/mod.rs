//! Who asks: credentials become a [`Caller`], or nobody.
//!
//! Three kinds are understood, each in `Authorization: Bearer` or `X-API-Key`: the admin key, API tokens for
//! machines ([`tokens`]), and ID tokens of Firebase or Google for people ([`id_token`]). What each route needs stands beside
//! the route, in [`crate::routes::table`].

pub mod id_token;
mod keys;
pub mod pace;
pub mod people;
pub mod role;
mod signature;
pub mod tokens;

use axum::http::{HeaderMap, header};
use karute_sync::google::GoogleError;

use crate::config::Settings;
use crate::error::Failure;
use crate::retrieve::caller::{ANONYMOUS, Caller};
use crate::state::Database;
use id_token::IdTokens;
use keys::Keys;
use people::{People, PeopleError};
use role::{Permission, Role};

/// Name of the header for keys, besides `Authorization`.
pub const KEY_HEADER: &str = "x-api-key";

/// Finds out who asks.
#[derive(Debug)]
pub struct Access {
    required: bool,
    keys: Keys,
    id_tokens: Option<IdTokens>,
}

/// Access that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The file that says who is who.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// The client that fetches Google's keys.
    #[error(transparent)]
    Client(#[from] GoogleError),
}

impl Access {
    /// As the settings say.
    ///
    /// # Errors
    /// A file of people that cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, AccessError> {
        let people = People::load(settings.people.as_deref())?;
        Ok(Self { id_tokens: IdTokens::of(settings, people)?, ..Self::by_keys(settings) })
    }

    /// As the settings say, without ID tokens.
    pub fn by_keys(settings: &Settings) -> Self {
        Self { required: settings.sign_in_required(), keys: Keys::of(settings), id_tokens: None }
    }

    /// Whether every record needs a caller.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Whether there is an admin key.
    pub fn has_admin_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// [`Failure::Unauthorised`] for a credential that is none, or for none where one is needed; [`Failure::Forbidden`] for
    /// somebody who is known but has no place here; [`Failure::State`] where tokens cannot be looked up.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        state: Option<&Database>,
        now: time::OffsetDateTime,
    ) -> Result<Caller, Failure> {
        let Some(credential) = credential(headers)? else {
            return if self.required {
                Err(Failure::Unauthorised("Authorization header missing"))
            } else {
                Ok(anybody())
            };
        };
        if self.keys.holds(credential) {
            return Ok(Caller { name: "admin".into(), ..Caller::everything() });
        }
        if tokens::looks_like_one(credential) {
            let state = state.ok_or_else(|| Failure::State("tokens cannot be looked up".into()))?;
            return state.token(credential, now).await;
        }
        if let Some(id_tokens) = &self.id_tokens
            && id_token::looks_like_one(credential)
        {
            return id_tokens.verify(credential, now).await;
        }
        match self.required {
            true if id_token::looks_like_one(credential) => Err(Failure::Unauthorised("Invalid ID token")),
            true => Err(Failure::Unauthorised("Invalid API key")),
            // Programs that speak OpenAI's interface send some key whatever happens; it is worth nothing.
            false => Ok(anybody()),
        }
    }
}

/// Whoever comes where no sign-in is required: sees every record, but is no admin.
fn anybody() -> Caller {
    let permissions = Permission::ALL.into_iter().filter(|permission| *permission != Permission::Admin);
    Caller {
        name: ANONYMOUS.into(),
        role: Role::CareManager,
        permissions: permissions.collect(),
        ..Caller::everything()
    }
}

/// The credential of a request, if it has one.
fn credential(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    // A blank one is none.
    if let Some(key) = headers.get(KEY_HEADER).filter(|key| !key.as_bytes().trim_ascii().is_empty()) {
        return key
            .to_str()
            .map(|key| Some(key.trim()))
            .map_err(|_| Failure::Unauthorised("Invalid API key"));
    }
    let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let malformed = || Failure::Unauthorised("Invalid authorization header format");
    let (scheme, credential) =
        given.to_str().map_err(|_| malformed())?.split_once(' ').ok_or_else(malformed)?;
    let credential = credential.trim();
    match scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty() {
        true => Ok(Some(credential)),
        false => Err(malformed()),
    }
}
