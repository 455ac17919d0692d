//! Who has which role and may see which clients: a TOML file that the house keeps, and what an ID token itself claims.
//!
//! ```toml
//! [[people]]
//! email = "hanako@example.jp"
//! role = "nurse"
//! clients = ["CL-00001", "CL-00002"]
//! domains = ["nursing"]     # all, if it is not there
//! unowned = false           # whether rows that belong to no client are seen too
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::role::Role;
use crate::retrieve::caller::{Caller, Scope};

/// What is known of somebody.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The address that Google or Firebase has verified; case does not matter.
    pub email: String,
    /// What somebody is here.
    pub role: Role,
    /// Clients whose records may be seen; `None` for what the role says.
    pub clients: Option<BTreeSet<String>>,
    /// Domains whose records may be seen; `None` for all.
    pub domains: Option<BTreeSet<String>>,
    /// Whether rows that belong to no client may be seen, where clients are limited.
    #[serde(default)]
    pub unowned: bool,
}

impl Person {
    /// This person as a caller.
    pub fn caller(&self, name: String) -> Caller {
        let scope = |values: &Option<BTreeSet<String>>, all: bool| match values {
            Some(values) => Scope::Only(values.clone()),
            None if all => Scope::All,
            None => Scope::Only(BTreeSet::new()),
        };
        Caller {
            name,
            role: self.role,
            permissions: self.role.permissions().iter().copied().collect(),
            clients: scope(&self.clients, self.role.sees_everybody()),
            domains: scope(&self.domains, true),
            unowned: self.unowned,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    people: Vec<Person>,
}

/// Everybody in the file, by address.
#[derive(Clone, Debug, Default)]
pub struct People(BTreeMap<String, Person>);

/// A file of people that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the list of people {path} (KARUTE_PEOPLE) cannot be used: {detail}")]
pub struct PeopleError {
    /// The file.
    path: String,
    /// Why.
    detail: String,
}

impl People {
    /// Everybody in `file`; nobody without one.
    ///
    /// # Errors
    /// A file that cannot be read, is no such list, or names somebody twice.
    pub fn load(file: Option<&Path>) -> Result<Self, PeopleError> {
        let Some(file) = file else { return Ok(Self::default()) };
        let fault = |detail: String| PeopleError { path: file.display().to_string(), detail };
        let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
        Self::parse(&text).map_err(fault)
    }

    /// Everybody in the text of such a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let mut people = BTreeMap::new();
        for person in read.people {
            let email = person.email.trim().to_ascii_lowercase();
            if !email.contains('@') {
                return Err(format!("{email:?} is no e-mail address"));
            }
            if people.insert(email.clone(), person).is_some() {
                return Err(format!("{email} is there twice"));
            }
        }
        Ok(Self(people))
    }

    /// Who has this address, in lower case.
    pub fn find(&self, email: &str) -> Option<&Person> {
        self.0.get(email)
    }
}
