//! Transactions, each in one piece or not at all. `sqlx` keeps count of them itself, and loses count when a COMMIT fails, as on
//! a full disk: the connection then stays in the transaction for good, and what later ones keep is never kept. So a connection
//! whose transaction did not end well is closed, which ends it.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection};

use super::{Database, StateError, unkept};

/// A transaction. What is dropped without [`Work::commit`] has not happened.
pub(super) struct Work {
    connection: PoolConnection<Any>,
    ended: bool,
}

impl Database {
    /// Begins a transaction. The file has one writer: whoever begins waits until it is his turn, rather than find out later
    /// that somebody else was first.
    pub(super) async fn begin(&self) -> Result<Work, StateError> {
        let connection = self.pool.acquire().await.map_err(unkept)?;
        let mut work = Work { connection, ended: false };
        let begin = if self.is_file { "BEGIN IMMEDIATE" } else { "BEGIN" };
        sqlx::query(begin).execute(&mut *work).await.map_err(unkept)?;
        Ok(work)
    }
}

impl Work {
    /// Everything has happened, and is on the disk.
    pub(super) async fn commit(mut self) -> Result<(), StateError> {
        sqlx::query("COMMIT").execute(&mut *self).await.map_err(unkept)?;
        self.ended = true;
        Ok(())
    }

    /// Nothing has happened.
    pub(super) async fn rollback(mut self) -> Result<(), StateError> {
        sqlx::query("ROLLBACK").execute(&mut *self).await.map_err(unkept)?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for Work {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for Work {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
}
