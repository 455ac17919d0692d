//! Who asks, and what that one may see. It is compiled into the filter before anything is searched: no row is found first
//! and hidden later.

use std::collections::BTreeSet;

use karute_engine::{Facet, Filter};
use serde::{Deserialize, Serialize};

use crate::access::role::{Permission, Role};
use crate::catalogue::Client;

/// Whoever has not said who he is.
pub const ANONYMOUS: &str = "anonymous";

/// What may be seen of one property of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Rows with any value, and rows without one.
    All,
    /// Rows with one of these values. Rows without a value are not among them.
    Only(BTreeSet<String>),
}

impl Scope {
    /// Whether a row with this value may be seen; the empty text is no value.
    fn allows(&self, value: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(values) => !value.is_empty() && values.contains(value),
        }
    }
}

/// Who asks.
///
/// A caller who is limited to some clients sees no row without an owner, unless [`Caller::unowned`] says so: such rows are
/// mostly the house's own notes, but nobody has said that they name no client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose conversations, answers and feedback are this caller's.
    pub name: String,
    /// What this caller is in the house.
    pub role: Role,
    /// What this caller may do.
    pub permissions: BTreeSet<Permission>,
    /// Clients (利用者) whose rows may be seen.
    pub clients: Scope,
    /// Domains whose rows may be seen.
    pub domains: Scope,
    /// Whether rows that belong to no client may be seen too, where clients are limited.
    pub unowned: bool,
}

impl Default for Caller {
    /// Nothing.
    fn default() -> Self {
        let nothing = Scope::Only(BTreeSet::new());
        Self {
            name: ANONYMOUS.into(),
            role: Role::Readonly,
            permissions: BTreeSet::new(),
            clients: nothing.clone(),
            domains: nothing,
            unowned: false,
        }
    }
}

impl Caller {
    /// Whoever may see every row: an operator on the machine itself.
    pub fn everything() -> Self {
        Self {
            name: ANONYMOUS.into(),
            role: Role::Admin,
            permissions: Permission::ALL.into(),
            clients: Scope::All,
            domains: Scope::All,
            unowned: true,
        }
    }

    /// Whoever has a shell on the machine.
    pub fn operator() -> Self {
        Self { name: "operator".into(), ..Self::everything() }
    }

    /// Narrows `filter` to what this caller may see.
    pub fn narrow(&self, mut filter: Filter) -> Filter {
        if let Scope::Only(clients) = &self.clients {
            // The empty text stands for rows without a value.
            let unowned = self.unowned.then(String::new);
            let clients = clients.iter().filter(|client| !client.is_empty()).cloned();
            filter = filter.only(Facet::Client, clients.chain(unowned));
        }
        if let Scope::Only(domains) = &self.domains {
            filter = filter.only(Facet::Domain, domains.iter().filter(|domain| !domain.is_empty()).cloned());
        }
        filter
    }

    /// Whether this caller may see every row.
    pub fn sees_all(&self) -> bool {
        self.clients == Scope::All && self.domains == Scope::All
    }

    /// Whether this caller may see records of all of these clients: an answer that showed them may be shown again.
    pub fn may_see_all<'a>(&self, clients: impl IntoIterator<Item = &'a String>) -> bool {
        clients.into_iter().all(|client| self.clients.allows(client))
    }

    /// Whether this caller may know that there is this client: who may see a row of that one; of a client without rows,
    /// whoever may see that client's in every domain.
    pub(crate) fn may_know(&self, client: &Client) -> bool {
        match client.domains.as_slice() {
            [] => self.domains == Scope::All && self.clients.allows(&client.id),
            domains => domains.iter().any(|domain| self.may_see(&client.id, domain)),
        }
    }

    /// Whether this caller may see a row of this client and domain: what [`Caller::narrow`] says, for a single row.
    pub fn may_see(&self, client: &str, domain: &str) -> bool {
        let owned = self.clients.allows(client) || client.is_empty() && self.unowned;
        owned && self.domains.allows(domain)
    }
}
