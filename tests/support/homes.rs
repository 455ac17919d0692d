//! Homes of the state: SQLite, and, where `KARUTE_TEST_DATABASE_URL` names a PostgreSQL server, a database of its own there
//! too. `.ci/state` starts one.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use karute_server::config::Sources;
use karute_server::state::{Database, StateError};

/// A fresh home of each kind.
pub struct Home {
    /// The state, open.
    pub state: Database,
    /// Its address; empty for SQLite.
    pub url: String,
    /// Its directory.
    pub directory: tempfile::TempDir,
}

impl Home {
    /// Opens the same home once more.
    ///
    /// # Errors
    /// A database that cannot be reached.
    pub async fn again(&self) -> Result<Database, StateError> {
        open(&self.url, self.directory.path()).await
    }
}

/// Opens the state at `url`, or else in `directory`.
///
/// # Errors
/// A database that cannot be reached.
///
/// # Panics
/// An odd address.
pub async fn open(url: &str, directory: &std::path::Path) -> Result<Database, StateError> {
    let given = [("DATABASE_URL".to_owned(), url.to_owned())];
    let settings = Sources::none().then("a test", given).load().expect("valid").settings;
    Database::open(&settings.database, directory).await
}

/// A fresh home of each kind.
///
/// # Panics
/// A server that cannot be reached.
pub async fn homes() -> Vec<Home> {
    let mut urls = vec![String::new()];
    if let Ok(server) = std::env::var("KARUTE_TEST_DATABASE_URL") {
        urls.push(fresh_database(&server).await);
    }
    let mut homes = Vec::new();
    for url in urls {
        let directory = tempfile::tempdir().expect("a directory");
        homes.push(Home { state: open(&url, directory.path()).await.expect("a state"), url, directory });
    }
    homes
}

/// Makes an empty database on the server and says where it is.
///
/// # Panics
/// A server that cannot be reached.
pub async fn fresh_database(server: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("karute_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&format!("{server}/postgres")).await.expect("a server");
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&pool)
        .await
        .expect("a database");
    pool.close().await;
    format!("{server}/{name}")
}
