//! Transactions, each in one piece or not at all. `sqlx` keeps count of them itself, and loses count when a COMMIT fails, as on
//! a full disk: the connection then stays in the transaction for good, and what later ones keep is never kept. So a connection
//! whose transaction did not end well is closed, which ends it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, Executor};

use super::home::{Bounds, Lasting};
use super::{Database, StateError, unkept};

/// A transaction. What is dropped without [`Work::commit`] has not happened.
pub(super) struct Work {
    connection: PoolConnection<Any>,
    bounds: Bounds,
    /// What learns that it was kept, if that may wait for the disk.
    unflushed: Option<Arc<AtomicBool>>,
    ended: bool,
}

impl Database {
    /// Begins a transaction.
    pub(super) async fn begin(&self, lasting: Lasting) -> Result<Work, StateError> {
        let connection = self.pool.acquire().await.map_err(unkept)?;
        let bounds = self.home.bounds(lasting);
        let unflushed = (lasting == Lasting::Soon).then(|| self.unflushed.clone());
        let mut work = Work { connection, bounds, unflushed, ended: false };
        work.execute(bounds.begin).await.map_err(unkept)?;
        Ok(work)
    }
}

impl Work {
    /// Everything has happened.
    pub(super) async fn commit(self) -> Result<(), StateError> {
        let (commit, unflushed) = (self.bounds.commit, self.unflushed.clone());
        self.end(commit).await?;
        if let Some(unflushed) = unflushed {
            unflushed.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Nothing has happened.
    pub(super) async fn rollback(self) -> Result<(), StateError> {
        let rollback = self.bounds.rollback;
        self.end(rollback).await
    }

    async fn end(mut self, how: &'static str) -> Result<(), StateError> {
        self.execute(how).await.map_err(unkept)?;
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
