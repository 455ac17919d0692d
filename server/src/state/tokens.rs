//! API tokens as they are kept: a digest, what the holder may do, an end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::any::AnyRow;
use time::OffsetDateTime;

use super::{Database, StateError, json, millis, moment, parsed, storable, unkept, unread};
use crate::access::people::Person;
use crate::access::role::{Permission, Role};
use crate::access::tokens;
use crate::error::Failure;
use crate::retrieve::caller::Caller;

/// What the holder of a token may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// As whom.
    pub role: Role,
    /// Of what the role may do, only this; `None` for all of it.
    pub scopes: Option<BTreeSet<Permission>>,
    /// Clients whose records may be seen; `None` for what the role says.
    pub clients: Option<BTreeSet<String>>,
    /// Domains whose records may be seen; `None` for all.
    pub domains: Option<BTreeSet<String>>,
    /// Whether rows that belong to no client may be seen, where clients are limited.
    pub unowned: bool,
}

/// A token as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its id, which stands in the token too.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What its holder may do.
    pub allowed: Allowed,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When it was taken back.
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
}

impl Database {
    /// Makes a token and returns it: it is told this once.
    ///
    /// # Errors
    /// The database.
    pub async fn create_token(
        &self,
        name: &str,
        allowed: &Allowed,
        now: OffsetDateTime,
        expires_at: OffsetDateTime,
    ) -> Result<String, StateError> {
        let (id, token) = tokens::fresh();
        sqlx::query(
            "INSERT INTO api_tokens (id, digest, name, allowed, created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, 0)",
        )
        .bind(id)
        .bind(tokens::digest(&token).to_hex().to_string())
        .bind(storable(name))
        .bind(json(allowed))
        .bind(millis(now))
        .bind(millis(expires_at))
        .execute(&self.pool)
        .await
        .map_err(unkept)?;
        Ok(token)
    }

    /// Every token, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn tokens(&self) -> Result<Vec<Listed>, StateError> {
        let rows = sqlx::query(
            "SELECT id, name, allowed, created_at, expires_at, revoked_at FROM api_tokens ORDER BY created_at DESC, id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(unread)?;
        rows.iter().map(listed).collect()
    }

    /// Takes a token back, from now on. Whether there was one.
    ///
    /// # Errors
    /// The database.
    pub async fn revoke_token(&self, id: &str, now: OffsetDateTime) -> Result<bool, StateError> {
        let revoked = sqlx::query("UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0");
        let revoked = revoked.bind(id).bind(millis(now)).execute(&self.pool).await.map_err(unkept)?;
        Ok(revoked.rows_affected() > 0)
    }

    /// Who holds `token`.
    ///
    /// # Errors
    /// [`Failure::Unauthorised`] for a token that is none, or none any more; [`Failure::State`].
    pub async fn token(&self, token: &str, now: OffsetDateTime) -> Result<Caller, Failure> {
        let invalid = || Failure::Unauthorised("Invalid API token");
        let id = tokens::id(token).ok_or_else(invalid)?;
        let row = sqlx::query("SELECT id, name, allowed, created_at, expires_at, revoked_at, digest FROM api_tokens WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(unread)?
            .ok_or_else(invalid)?;
        let held: String = row.try_get(6).map_err(unread)?;
        let held = blake3::Hash::from_hex(held).map_err(|_| invalid())?;
        let listed = listed(&row)?;
        // `Hash` compares in constant time.
        if held != tokens::digest(token) || listed.revoked_at.is_some() {
            return Err(invalid());
        }
        if listed.expires_at <= now {
            return Err(Failure::Unauthorised("Token expired"));
        }
        let Allowed { role, scopes, clients, domains, unowned } = listed.allowed;
        let person = Person { email: String::new(), role, clients, domains, unowned };
        let mut caller = person.caller(format!("token:{}", listed.id));
        if let Some(scopes) = scopes {
            caller.permissions.retain(|permission| scopes.contains(permission));
        }
        Ok(caller)
    }
}

fn listed(row: &AnyRow) -> Result<Listed, StateError> {
    let text = |at: usize| row.try_get::<String, _>(at).map_err(unread);
    let number = |at: usize| row.try_get::<i64, _>(at).map_err(unread);
    Ok(Listed {
        id: text(0)?,
        name: text(1)?,
        allowed: parsed("list of what a token may do", &text(2)?)?,
        created_at: moment(number(3)?),
        expires_at: moment(number(4)?),
        revoked_at: Some(number(5)?).filter(|revoked| *revoked > 0).map(moment),
    })
}
