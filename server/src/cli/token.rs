//! `karute token`: tokens for machines.

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::{Outcome, plain, print_json, state};
use crate::access::role::{Permission, Role};
use crate::config::Settings;
use crate::state::{Allowed, Listed};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a token. It is shown this once; the database holds only a digest of it.
    Create(Create),
    /// List tokens, without the tokens themselves.
    List,
    /// Take a token back, at once.
    Revoke {
        /// Its id, as `karute token list` shows it.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What it is for.
    #[arg(long)]
    name: String,
    /// Whose place it takes: admin, care_manager, nurse or readonly.
    #[arg(long)]
    role: Role,
    /// Of what the role may do, only this: a comma list of ask, search, read, history, metrics, admin.
    #[arg(long, value_delimiter = ',')]
    scopes: Option<Vec<Permission>>,
    /// Clients whose records it sees, a comma list; without it what the role says.
    #[arg(long, value_delimiter = ',')]
    clients: Option<Vec<String>>,
    /// Domains whose records it sees, a comma list; without it all.
    #[arg(long, value_delimiter = ',')]
    domains: Option<Vec<String>>,
    /// Let it see rows that belong to no client, too, where clients are limited.
    #[arg(long)]
    unowned: bool,
    /// Days until it ends, 1 to 3660.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3660))]
    days: u16,
}

pub(super) async fn run(settings: Settings, verb: Verb, json: bool) -> Outcome {
    let state = state(&settings).await?;
    let now = OffsetDateTime::now_utc();
    match verb {
        Verb::Create(Create { name, role, scopes, clients, domains, unowned, days }) => {
            let set = |values: Option<Vec<String>>| {
                values
                    .map(|values| values.iter().map(|value| value.trim().to_owned()).collect::<BTreeSet<_>>())
            };
            let scopes: Option<BTreeSet<Permission>> = scopes.map(BTreeSet::from_iter);
            let beyond = scopes.iter().flatten().find(|scope| !role.permissions().contains(scope));
            if let Some(beyond) = beyond {
                return Err(format!(
                    "a {role} may not {0}, so no token of one may: leave {0} out, or use another role",
                    beyond.name()
                )
                .into());
            }
            let allowed = Allowed { role, scopes, clients: set(clients), domains: set(domains), unowned };
            let expires_at = now + Duration::days(i64::from(days));
            let token = state.create_token(&name, &allowed, now, expires_at).await?;
            if json {
                return print_json(&json!({ "token": token, "expires_at": expires_at.date().to_string() }));
            }
            say!("{token}")?;
            eprintln!("It ends on {}. It is not shown again.", expires_at.date());
            Ok(())
        }
        Verb::List => {
            let listed = state.tokens().await?;
            if json {
                return print_json(&listed);
            }
            for token in &listed {
                say!("{}", line(token, now))?;
            }
            Ok(())
        }
        Verb::Revoke { id } => match state.revoke_token(&id, now).await? {
            true if json => print_json(&json!({ "revoked": id })),
            true => Ok(say!("revoked {}", plain(&id))?),
            false => {
                Err(format!("there is no token {id} that is still good: `karute token list` shows them")
                    .into())
            }
        },
    }
}

fn line(token: &Listed, now: OffsetDateTime) -> String {
    let Listed { id, name, allowed, expires_at, revoked_at, .. } = token;
    let standing = match revoked_at {
        Some(at) => format!("revoked {}", at.date()),
        None if *expires_at <= now => format!("ended {}", expires_at.date()),
        None => format!("until {}", expires_at.date()),
    };
    let list = |values: &Option<BTreeSet<String>>| {
        values.as_ref().map_or("-".into(), |values| values.iter().cloned().collect::<Vec<_>>().join(","))
    };
    let scopes = allowed
        .scopes
        .as_ref()
        .map_or("-".into(), |scopes| scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(","));
    let (clients, domains) = (plain(&list(&allowed.clients)), plain(&list(&allowed.domains)));
    format!(
        "{id}  {standing}  {}  scopes {scopes}  clients {clients}  domains {domains}  {}",
        allowed.role,
        plain(name)
    )
}
