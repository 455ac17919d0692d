//! What outlives a request: conversations, how each answer came about, feedback, decisions about terms, tokens, the ledger
//! of paid calls, the audit.
//!
//! Two homes, one SQL: an SQLite file beside the snapshots for one instance, PostgreSQL (`DATABASE_URL`) where several
//! run. sqlx's `Any` driver is what both have in common; every statement runs on both, and every test of them too. The few
//! things that each does in its own way are the trait `Home`.

mod audit;
mod bill;
mod conversations;
mod copy;
mod feedback;
mod forgotten;
mod home;
mod ledger;
mod tokens;
mod work;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, ConnectOptions, Executor, Row, SqlSafeStr};
use time::OffsetDateTime;

pub use audit::{Link, Sealed};
pub use bill::{By, Line, Sum, yen};
pub use conversations::{Conversation, Entry, Message, Recorded, Shown};
pub use feedback::{Decision, Feedback};
pub use ledger::{Limit, Outcome, Presumed, Reservation, Settled, Spent};
pub use tokens::{Allowed, Listed};

use crate::config::Secret;
use home::{File, Home, Lasting, Server};

/// The SQLite file in the data directory.
const FILE: &str = "state.sqlite";
/// Connections that are held at most. SQLite has one writer anyway; PostgreSQL is shared with other instances.
const CONNECTIONS: u32 = 8;
/// How long a connection, or the lock of another writer, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often, and how far apart, something is tried that another program may hold up: making the tables, truncating the log.
const TRIES: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_millis(250);

/// Every change of the tables, oldest first. A released one is never edited.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "conversations", include_str!("migrations/0001_conversations.sql")),
    (2, "trust", include_str!("migrations/0002_trust.sql")),
];

/// State could not be read or kept. Holds nothing of what was kept, and no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// An address that is none of a database.
    #[error(
        "DATABASE_URL is not postgres://USER:PASSWORD@HOST/NAME (or leave it empty for a file in KARUTE_DATA_DIR)"
    )]
    Address,
    /// The database cannot be opened.
    #[error("the state in {place} cannot be opened: {detail}")]
    Open {
        /// Where it is.
        place: String,
        /// Why.
        detail: String,
    },
    /// A server's database has tools of its own.
    #[error(
        "the state is in PostgreSQL, which makes and takes copies of its own: pg_dump --format=custom \"$DATABASE_URL\" > FILE, \
         pg_restore --clean --dbname \"$DATABASE_URL\" FILE"
    )]
    OwnTools,
    /// A copy cannot be written, or put back.
    #[error("the copy of the state {}: {detail}", path.display())]
    Copy {
        /// The copy.
        path: std::path::PathBuf,
        /// Why.
        detail: String,
    },
    /// A statement failed.
    #[error("the state cannot be {action}: {detail}")]
    Statement {
        /// `read` or `kept`.
        action: &'static str,
        /// Why.
        detail: String,
    },
    /// A value is not what this version writes.
    #[error("the state holds a {what} that this version cannot read: {detail}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        detail: String,
    },
}

/// The state, open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    pool: AnyPool,
    home: Arc<dyn Home>,
    /// Whether something was kept that has not reached the disk for certain.
    unflushed: Arc<AtomicBool>,
}

impl Database {
    /// Opens the state at `url`, or else the file in `directory`, and brings its tables up to this version.
    ///
    /// # Errors
    /// A database that cannot be reached, or that a later version has changed.
    pub async fn open(url: &Secret, directory: &Path) -> Result<Self, StateError> {
        sqlx::any::install_default_drivers();
        let home: Arc<dyn Home> = match url.reveal() {
            None => Arc::new(File::new(&directory.join(FILE))),
            Some(_) => Arc::new(Server::new(url)),
        };
        let failed = |detail: String| StateError::Open { place: home.place().to_owned(), detail };
        let options: AnyConnectOptions = home.address()?.parse().map_err(|_| StateError::Address)?;
        home.prepare().map_err(|error| failed(error.to_string()))?;
        let greeting = home.greeting();
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(home.loses_connections())
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if let Some(greeting) = greeting {
                        connection.execute(greeting).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options.disable_statement_logging())
            .await
            .map_err(|error| failed(error.to_string()))?;
        let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
        };
        let migrator = Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect());
        let mut tries = if home.may_meet() { TRIES } else { 1 };
        while let Err(error) = migrator.run(&pool).await {
            // Of several programs that make the tables of a file at once one does, and the others look again.
            tries -= 1;
            if tries == 0 {
                return Err(failed(error.to_string()));
            }
            tokio::time::sleep(TRY_PAUSE).await;
        }
        Ok(Self { pool, home, unflushed: Arc::default() })
    }

    /// Where it is, without a password.
    pub fn place(&self) -> &str {
        self.home.place()
    }

    /// Brings everything that was kept until now to the disk.
    ///
    /// # Errors
    /// The database.
    pub async fn flush(&self) -> Result<(), StateError> {
        // A commit that lasts at once brings everything before it to the disk as well, whoever reads meanwhile.
        if self.unflushed.swap(false, Ordering::AcqRel)
            && let Err(error) = self.ping().await
        {
            self.unflushed.store(true, Ordering::Release);
            return Err(error);
        }
        // Nobody who commits has to wait for what others have written ahead.
        if let Some(settle) = self.home.settle() {
            sqlx::query(settle).execute(&self.pool).await.map_err(unkept)?;
        }
        Ok(())
    }

    /// Takes what was removed out of what was written ahead, too.
    ///
    /// # Errors
    /// The database.
    async fn truncate_log(&self) -> Result<(), StateError> {
        let Some(truncate) = self.home.truncate_log() else { return Ok(()) };
        // While somebody reads, or writes the log to its place, it is not truncated, and says so.
        for _ in 0..TRIES {
            let row = sqlx::query(truncate).fetch_one(&self.pool).await.map_err(unkept)?;
            if row.try_get::<i64, _>(0).map_err(unread)? == 0 {
                return Ok(());
            }
            tokio::time::sleep(TRY_PAUSE).await;
        }
        let detail = "its log is in use, and still holds what was removed: try again".to_owned();
        Err(StateError::Statement { action: "kept", detail })
    }

    /// Whether it keeps what it is told: a row is written, since a full disk can still be read.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StateError> {
        let mut work = self.begin(Lasting::AtOnce).await?;
        sqlx::query(
            "INSERT INTO budgets (name, spent, reserved, calls, warned, refused) VALUES ('health', 0, 0, 1, 0, 0)
             ON CONFLICT (name) DO UPDATE SET calls = budgets.calls + 1",
        )
        .execute(&mut *work)
        .await
        .map_err(unkept)?;
        work.commit().await
    }
}

fn unread(error: sqlx::Error) -> StateError {
    StateError::Statement { action: "read", detail: error.to_string() }
}

fn unkept(error: sqlx::Error) -> StateError {
    StateError::Statement { action: "kept", detail: error.to_string() }
}

/// A moment as it is stored.
fn millis(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// A stored moment; 1970 for one that RFC 3339 cannot tell, which nobody stored here.
fn moment(millis: i64) -> OffsetDateTime {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok();
    moment.filter(|moment| moment.year() >= 0).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// PostgreSQL holds no NUL in a text.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A value as it is stored.
fn json(value: &impl serde::Serialize) -> String {
    // Texts, numbers, lists and maps of them: there is nothing that JSON cannot say.
    serde_json::to_string(value).unwrap_or_default()
}

/// A stored value.
fn parsed<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StateError> {
    // The error's own words quote the text, which is nobody's business.
    serde_json::from_str(text).map_err(|error| StateError::Malformed {
        what,
        detail: format!("JSON error at column {}", error.column()),
    })
}
