//! Services that karute depends on: so many calls at a time, and none for a while after several have failed in a row, so
//! that a service that is down costs nobody the time to find out (a circuit breaker: M. Nygard, "Release It!", 2007).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::error::Failure;

/// Calls to one service at the same time, an answer that streams until its end; and how many may wait for a place before
/// the next is sent away.
const AT_ONCE: usize = 100;
const WAITING: usize = 100;
/// Failures in a row after which it is left alone.
const FAILURES: u32 = 5;
/// How long it is left alone the first time, and at most: twice as long after each trial that fails.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Questions in a row that it would not answer, until that is told: one may be the question's fault, so many are not.
const DECLINED: u32 = 5;

#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    /// Questions in a row that it would not answer.
    declined: u32,
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
    places: Semaphore,
    waiting: AtomicUsize,
    breaker: Mutex<Breaker>,
}

impl Upstream {
    /// A service that has not failed yet.
    pub fn new(name: impl Into<String>) -> Self {
        let (places, waiting) = (Semaphore::new(AT_ONCE), AtomicUsize::new(0));
        Self { name: name.into(), places, waiting, breaker: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is left alone at the moment.
    pub fn is_open(&self) -> bool {
        self.lock().open_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether it failed when it was last asked, more than once in a row, or declines whatever it is asked.
    pub fn is_troubled(&self) -> bool {
        let breaker = self.lock();
        breaker.failures > 1 || breaker.declined >= DECLINED
    }

    /// Whether it did not answer in time when it was last asked.
    pub fn is_late(&self) -> bool {
        self.lock().late
    }

    /// Waits for a place to make a call from. Whoever has one says how the call went, and keeps it until its end; one that
    /// was given up says nothing of the service.
    ///
    /// # Errors
    /// [`Failure::Upstream`] while it is left alone; [`Failure::Busy`] where too many wait already.
    pub async fn enter(&self) -> Result<Pass<'_>, Failure> {
        let closed = || Failure::Upstream(self.name.clone());
        if self.is_open() {
            return Err(closed());
        }
        let place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let _waits = Waits::begin(&self.waiting)?;
                self.places.acquire().await.map_err(|_| closed())?
            }
        };
        let mut breaker = self.lock();
        let trial = match breaker.open_until {
            Some(until) if Instant::now() < until => return Err(closed()),
            // The trial: whoever comes while it is under way is still sent away.
            Some(_) => {
                breaker.open_until = Some(Instant::now() + breaker.pause);
                true
            }
            None => false,
        };
        drop(breaker);
        Ok(Pass { upstream: self, trial, begun: AtomicBool::new(false), _place: place })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits for a place.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Result<Self, Failure> {
        let waits = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= WAITING { Err(Failure::Busy) } else { Ok(waits) }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place to make a call from.
#[derive(Debug)]
#[must_use = "say how the call went"]
pub struct Pass<'a> {
    upstream: &'a Upstream,
    /// Whether this call is to tell whether the service is back.
    trial: bool,
    /// Whether an answer has begun of which nobody has said yet how it went on.
    begun: AtomicBool,
    _place: SemaphorePermit<'a>,
}

impl Pass<'_> {
    /// The service begins an answer: it is back, if it was away; whether it is well its end will tell.
    pub fn begins(&self) {
        let mut breaker = self.upstream.lock();
        if breaker.open_until.take().is_some() {
            tracing::info!(service = self.upstream.name, "it answers again");
        }
        breaker.late = false;
        drop(breaker);
        self.begun.store(true, Ordering::Relaxed);
    }

    /// The service answers.
    pub fn answered(&self) {
        self.well(0);
    }

    /// The service is there, but will not answer this.
    pub fn declined(&self) {
        let declined = self.upstream.lock().declined;
        self.well(declined.saturating_add(1));
    }

    fn well(&self, declined: u32) {
        self.begun.store(false, Ordering::Relaxed);
        let mut breaker = self.upstream.lock();
        if breaker.open_until.is_some() {
            tracing::info!(service = self.upstream.name, "it answers again");
        }
        *breaker = Breaker { declined, ..Breaker::default() };
    }

    /// The service failed.
    pub fn failed(&self) {
        self.ill(false);
    }

    /// The service did not answer in time.
    pub fn timed_out(&self) {
        self.ill(true);
    }

    fn ill(&self, late: bool) {
        self.begun.store(false, Ordering::Relaxed);
        let mut breaker = self.upstream.lock();
        breaker.late = late;
        breaker.failures = breaker.failures.saturating_add(1);
        // What began before the service was left alone says nothing new of it.
        if breaker.failures < FAILURES || (breaker.open_until.is_some() && !self.trial) {
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

impl Drop for Pass<'_> {
    /// Whoever goes away in the middle of an answer has nothing to say against the service.
    fn drop(&mut self) {
        if self.begun.load(Ordering::Relaxed) {
            self.well(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_always_breaks_off_after_its_first_word_is_left_alone_too() {
        let service = Upstream::new("a service");
        for _ in 0..FAILURES {
            let pass = service.enter().await.expect("closed");
            pass.begins();
            pass.failed();
        }
        assert!(service.is_open());
        // One that begins well and that people leave does not fail.
        let service = Upstream::new("another");
        for _ in 0..2 * FAILURES {
            service.enter().await.expect("closed").failed();
            service.enter().await.expect("closed").begins();
        }
        assert!(!service.is_open() && !service.is_troubled());
    }

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

    #[tokio::test(start_paused = true)]
    async fn calls_that_fail_together_leave_it_alone_once_and_not_for_longest() {
        let service = Upstream::new("a service");
        let mut together = Vec::new();
        for _ in 0..20 {
            together.push(service.enter().await.expect("closed"));
        }
        together.iter().for_each(Pass::failed);
        drop(together);
        tokio::time::advance(PAUSE).await;
        service.enter().await.expect("a trial after the first pause").answered();
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_held_to_the_end_and_no_queue_grows_without_end() {
        let service = Upstream::new("a service");
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            let pass = service.enter().await.expect("a place");
            pass.answered();
            held.push(pass);
        }
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(service.enter())).collect();
        for one in &mut waiting {
            assert!(futures_util::poll!(one.as_mut()).is_pending());
        }
        assert!(matches!(service.enter().await, Err(Failure::Busy)));
        drop(waiting);
        held.pop();
        service.enter().await.expect("a place").answered();
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_declines_everything_is_in_trouble() {
        let service = Upstream::new("a service");
        for _ in 0..DECLINED {
            assert!(!service.is_troubled());
            service.enter().await.expect("a place").declined();
        }
        assert!(service.is_troubled() && !service.is_open());
        service.enter().await.expect("a place").answered();
        assert!(!service.is_troubled());
    }
}
