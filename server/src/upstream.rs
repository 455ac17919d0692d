//! Services that karute depends on: so many calls at a time, and none for a while after several have failed in a row, so
//! that a service that is down costs nobody the time to find out (a circuit breaker: M. Nygard, "Release It!", 2007).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::Failure;

/// Calls to one service at the same time.
const AT_ONCE: usize = 64;
/// Failures in a row after which it is left alone.
const FAILURES: u32 = 5;
/// How long it is left alone the first time, and at most: twice as long after each trial that fails.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    /// Whether the last one was that no answer came in time.
    late: bool,
    pause: Duration,
    /// Until when no call is made; behind it one call at a time is a trial.
    open_until: Option<Instant>,
}

/// One service.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    places: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
}

impl Upstream {
    /// A service that has not failed yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), places: Arc::new(Semaphore::new(AT_ONCE)), breaker: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is left alone at the moment.
    pub fn is_open(&self) -> bool {
        self.lock().open_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether it failed when it was last asked, more than once in a row.
    pub fn is_troubled(&self) -> bool {
        self.lock().failures > 1
    }

    /// Whether it did not answer in time when it was last asked.
    pub fn is_late(&self) -> bool {
        self.lock().late
    }

    /// Waits for a place to make a call from. Whoever has one says how the call ended; one that was given up says nothing
    /// of the service.
    ///
    /// # Errors
    /// [`Failure::Upstream`] while it is left alone.
    pub async fn enter(&self) -> Result<Pass<'_>, Failure> {
        let closed = || Failure::Upstream(self.name.clone());
        if self.is_open() {
            return Err(closed());
        }
        let place = self.places.clone().acquire_owned().await.map_err(|_| closed())?;
        let mut breaker = self.lock();
        match breaker.open_until {
            Some(until) if Instant::now() < until => return Err(closed()),
            // The trial: whoever comes while it is under way is still sent away.
            Some(_) => breaker.open_until = Some(Instant::now() + breaker.pause),
            None => {}
        }
        drop(breaker);
        Ok(Pass { upstream: self, _place: place })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place to make a call from.
#[derive(Debug)]
#[must_use = "say how the call ended"]
pub struct Pass<'a> {
    upstream: &'a Upstream,
    _place: OwnedSemaphorePermit,
}

impl Pass<'_> {
    /// The service answered.
    pub fn answered(self) {
        let mut breaker = self.upstream.lock();
        if breaker.open_until.is_some() {
            tracing::info!(service = self.upstream.name, "it answers again");
        }
        *breaker = Breaker::default();
    }

    /// The service failed.
    pub fn failed(self) {
        self.end(false);
    }

    /// The service did not answer in time.
    pub fn timed_out(self) {
        self.end(true);
    }

    fn end(self, late: bool) {
        let mut breaker = self.upstream.lock();
        breaker.late = late;
        breaker.failures = breaker.failures.saturating_add(1);
        if breaker.failures < FAILURES {
            return;
        }
        breaker.pause = (breaker.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
        breaker.open_until = Some(Instant::now() + breaker.pause);
        let seconds = breaker.pause.as_secs();
        tracing::warn!(
            service = self.upstream.name,
            seconds,
            "it failed several times in a row and is left alone"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_service_that_fails_is_left_alone_tried_once_and_taken_back() {
        let service = Upstream::new("a service");
        for _ in 0..FAILURES {
            service.enter().await.expect("closed").failed();
        }
        assert!(service.is_open());
        assert!(matches!(service.enter().await, Err(Failure::Upstream(_))));
        tokio::time::advance(PAUSE).await;
        let trial = service.enter().await.expect("a trial");
        assert!(service.enter().await.is_err(), "one trial at a time");
        trial.failed();
        tokio::time::advance(PAUSE).await;
        assert!(service.is_open(), "longer each time");
        tokio::time::advance(PAUSE).await;
        service.enter().await.expect("a trial").answered();
        assert!(!service.is_open());
        for _ in 0..FAILURES - 1 {
            service.enter().await.expect("closed").failed();
        }
        service.enter().await.expect("still closed").answered();
        service.enter().await.expect("failures in a row count").failed();
        assert!(!service.is_open());
    }
}
