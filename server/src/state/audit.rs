//! The audit as it is kept: chains of links, each with the digest of everything in it and of the link before.

use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row, SqlSafeStr};
use time::OffsetDateTime;

use super::home::Lasting;
use super::{Database, StateError, millis, moment, storable, unkept, unread};

/// What one link says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// When, to the millisecond.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who.
    pub caller: String,
    /// As whom.
    pub role: String,
    /// Did what: `search`, `ask`, `row`, ...
    pub action: String,
    /// To what: JSON with the clients, rows and so on, as far as the level of the audit goes.
    pub detail: String,
}

impl Link {
    /// A link, as the database will give it back.
    pub fn new(
        at: OffsetDateTime,
        caller: &str,
        role: &str,
        action: &str,
        detail: &serde_json::Value,
    ) -> Self {
        Self {
            at: moment(millis(at)),
            caller: storable(caller),
            role: role.to_owned(),
            action: action.to_owned(),
            detail: storable(&detail.to_string()),
        }
    }

    /// The digest of this link in its place: every field with its length, behind the digest of the link before.
    pub fn digest(&self, hasher: &blake3::Hasher, chain: &str, sequence: i64, previous: &str) -> String {
        let mut hasher = hasher.clone();
        let (sequence, at) = (sequence.to_le_bytes(), millis(self.at).to_le_bytes());
        let texts = [&self.caller, &self.role, &self.action, &self.detail].map(|text| text.as_bytes());
        let fields = [previous.as_bytes(), chain.as_bytes(), &sequence, &at].into_iter().chain(texts);
        for field in fields {
            hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// A link in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sealed {
    /// The chain: one for each run of an instance.
    pub chain: String,
    /// Its place, from 0.
    pub sequence: i64,
    /// What it says.
    #[serde(flatten)]
    pub link: Link,
    /// BLAKE3, hexadecimal.
    pub digest: String,
}

impl Database {
    /// Adds links to the end of a chain, all or none.
    ///
    /// # Errors
    /// The database, which refuses a second link in the same place.
    pub async fn append(&self, links: &[Sealed]) -> Result<(), StateError> {
        // A connection of the pool lasts at once, and one statement is all or nothing by itself; more links than fit into one are a
        // matter of a chain's first moments after a long wait.
        match links {
            [] => Ok(()),
            links if links.len() <= LINKS => {
                let mut connection = self.pool.acquire().await.map_err(unkept)?;
                insert(&mut connection, links).await
            }
            links => {
                let mut transaction = self.begin(Lasting::AtOnce).await?;
                for links in links.chunks(LINKS) {
                    insert(&mut transaction, links).await?;
                }
                transaction.commit().await
            }
        }
    }

    /// Every link, chain by chain, whatever somebody has done to it: what is no text or no number any more is read as
    /// something else, whose digest fits no link.
    ///
    /// # Errors
    /// The database.
    pub async fn links(&self) -> Result<Vec<Sealed>, StateError> {
        self.read_links("", None).await
    }

    /// Links that may tell of `client`: all that do, and perhaps others whose text holds the same letters.
    ///
    /// # Errors
    /// The database.
    pub async fn links_about(&self, client: &str) -> Result<Vec<Sealed>, StateError> {
        // As it stands in JSON, without the quotes, which somebody may have damaged, and with what a pattern would take for a joker
        // escaped.
        let quoted = storable(&serde_json::Value::from(client).to_string());
        let bare = quoted.trim_matches('"');
        let pattern = bare.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        self.read_links("WHERE detail LIKE $1 ESCAPE '\\'", Some(format!("%{pattern}%"))).await
    }

    /// The first link of each chain.
    ///
    /// # Errors
    /// The database.
    pub async fn beginnings(&self) -> Result<Vec<Sealed>, StateError> {
        self.read_links("WHERE sequence = 0", None).await
    }

    /// The last link of each chain.
    ///
    /// # Errors
    /// The database.
    pub async fn ends(&self) -> Result<Vec<Sealed>, StateError> {
        let last = "WHERE sequence = (SELECT MAX(sequence) FROM audit b WHERE b.chain = audit.chain)";
        self.read_links(last, None).await
    }

    async fn read_links(&self, which: &str, value: Option<String>) -> Result<Vec<Sealed>, StateError> {
        // A column of SQLite holds whatever bytes of whatever type somebody puts there; PostgreSQL keeps to its types. And the
        // index has a copy of what the table holds, which is not what is to be verified; for the rest it will do.
        let keeps_types = self.home.keeps_types();
        let columns = match keeps_types {
            false => {
                "COALESCE(hex(chain), ''), COALESCE(CAST(sequence AS INTEGER), -1), COALESCE(CAST(at AS INTEGER), 0), hex(caller), hex(role), hex(action), hex(detail),
                 hex(digest), typeof(chain) || typeof(sequence) || typeof(at) || typeof(caller) || typeof(role) ||
                 typeof(action) || typeof(detail) || typeof(digest)"
            }
            true => "chain, sequence, at, caller, role, action, detail, digest",
        };
        let table = if !keeps_types && which.is_empty() { "audit NOT INDEXED" } else { "audit" };
        let sql = format!("SELECT {columns} FROM {table} {which}");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql).into_sql_str());
        if let Some(value) = value {
            query = query.bind(value);
        }
        let rows = query.fetch_all(&self.pool).await.map_err(unread)?;
        let mut links: Vec<Sealed> =
            rows.iter().map(|row| sealed(row, !keeps_types)).collect::<Result<_, _>>()?;
        links.sort_by(|a, b| (&a.chain, a.sequence).cmp(&(&b.chain, b.sequence)));
        Ok(links)
    }

    /// What is wrong with the database file itself, as SQLite tells it; empty where nothing is.
    ///
    /// # Errors
    /// A database that cannot be asked.
    pub async fn damage(&self) -> Result<Vec<String>, StateError> {
        let Some(check) = self.home.check() else { return Ok(Vec::new()) };
        let rows = sqlx::query(check).fetch_all(&self.pool).await.map_err(unread)?;
        let told = rows.iter().map(|row| row.try_get::<String, _>(0).map_err(unread));
        Ok(told.collect::<Result<Vec<_>, _>>()?.into_iter().filter(|told| told != "ok").collect())
    }
}

/// Links of one statement.
const LINKS: usize = 64;

async fn insert(connection: &mut AnyConnection, links: &[Sealed]) -> Result<(), StateError> {
    const COLUMNS: usize = 8;
    let row = |at: usize| {
        let values: Vec<String> = (1..=COLUMNS).map(|column| format!("${}", at * COLUMNS + column)).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..links.len()).map(row).collect();
    let sql = format!(
        "INSERT INTO audit (chain, sequence, at, caller, role, action, detail, digest) VALUES {}",
        rows.join(", ")
    );
    // Made of the text above and of numbers of parameters.
    let mut inserting = sqlx::query(sqlx::AssertSqlSafe(sql).into_sql_str());
    for Sealed { chain, sequence, link, digest } in links {
        inserting = inserting.bind(chain).bind(sequence).bind(millis(link.at)).bind(&link.caller);
        inserting = inserting.bind(&link.role).bind(&link.action).bind(&link.detail).bind(digest);
    }
    inserting.execute(connection).await.map_err(unkept).map(drop)
}

/// The types of a row's columns in SQLite.
const TYPES: &str = "textintegerintegertexttexttexttexttext";

/// The bytes that hexadecimal digits stand for.
fn unhex(digits: &str) -> Vec<u8> {
    let bytes = digits.as_bytes().as_chunks::<2>().0.iter();
    let byte =
        |pair: &[u8; 2]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    bytes.filter_map(byte).collect()
}

fn sealed(row: &AnyRow, is_hex: bool) -> Result<Sealed, StateError> {
    let mut is_as_written = true;
    let mut text = |at: usize| {
        let read: String = row.try_get(at).map_err(unread)?;
        if !is_hex {
            return Ok::<_, StateError>(read);
        }
        // Different bytes that are no text would all be read alike.
        Ok(String::from_utf8(unhex(&read)).unwrap_or_else(|error| {
            is_as_written = false;
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }))
    };
    let number = |at: usize| row.try_get::<i64, _>(at).map_err(unread);
    let (chain, caller, role, action, detail) = (text(0)?, text(3)?, text(4)?, text(5)?, text(6)?);
    let mut digest = text(7)?;
    if is_hex {
        is_as_written &= row.try_get::<String, _>(8).map_err(unread)? == TYPES;
    }
    if !is_as_written {
        // It fits no link, so whoever verifies the chain finds it here.
        digest.clear();
    }
    Ok(Sealed {
        chain,
        sequence: number(1)?,
        link: Link { at: moment(number(2)?), caller, role, action, detail },
        digest,
    })
}
