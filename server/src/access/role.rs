//! What somebody may do: permissions, and the roles that bundle them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Ask questions, rate answers, confirm terms.
    Ask,
    /// Search rows, look up terms, embed texts.
    Search,
    /// Read a row, see whom records are about.
    Read,
    /// See, export and remove conversations of one's own.
    History,
    /// Read `/metrics`.
    Metrics,
    /// `/admin/*` and the caches.
    Admin,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ask, Self::Search, Self::Read, Self::History, Self::Metrics, Self::Admin];

    /// Its name, as scopes of tokens write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Search => "search",
            Self::Read => "read",
            Self::History => "history",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.name() == text.trim())
            .ok_or_else(|| format!("{text:?} is no scope: use {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// What somebody is in the house.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the service: everything, of every client.
    Admin,
    /// ケアマネジャー: asks about every client, unless some are named.
    CareManager,
    /// 看護師: asks about the clients that are named.
    Nurse,
    /// Searches and reads records of the clients that are named; asks no model and writes nothing.
    Readonly,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::CareManager, Self::Nurse, Self::Readonly];

    /// What it may do.
    pub fn permissions(self) -> &'static [Permission] {
        use Permission::{Ask, History, Read, Search};
        match self {
            Self::Admin => &Permission::ALL,
            Self::CareManager | Self::Nurse => &[Ask, Search, Read, History],
            Self::Readonly => &[Search, Read],
        }
    }

    /// Whether it sees every client where none is named.
    pub fn sees_everybody(self) -> bool {
        matches!(self, Self::Admin | Self::CareManager)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::CareManager => "care_manager",
            Self::Nurse => "nurse",
            Self::Readonly => "readonly",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text.trim())
            .ok_or_else(|| format!("{text:?} is no role: use {}", Self::ALL.map(Self::name).join(", ")))
    }
}
