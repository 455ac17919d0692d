//! How much one caller may ask: questions and searches a minute, and requests at the same time.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Settings;
use crate::error::Failure;

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing that is counted.
    Free,
    /// A search, or a look at a record.
    Search,
    /// A question to a model.
    Chat,
}

/// Callers that are remembered before those who have been quiet are forgotten.
const MANY: usize = 10_000;

/// The limits of every caller.
#[derive(Debug)]
pub struct Paces {
    chats: Option<DefaultKeyedRateLimiter<String>>,
    searches: Option<DefaultKeyedRateLimiter<String>>,
    at_once: usize,
    under_way: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Paces {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        let limiter = |per_minute: u32| {
            let quota = NonZeroU32::new(per_minute).map(Quota::per_minute);
            quota.map(RateLimiter::hashmap)
        };
        Self {
            chats: limiter(settings.chats_per_minute),
            searches: limiter(settings.searches_per_minute),
            at_once: settings.caller_concurrency,
            under_way: Mutex::default(),
        }
    }

    /// Lets a request of `caller` in. What comes back is held until the last byte of the answer.
    ///
    /// # Errors
    /// [`Failure::TooMany`].
    pub fn enter(&self, caller: &str, kind: Kind) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let limiter = match kind {
            Kind::Free => return Ok(None),
            Kind::Search => &self.searches,
            Kind::Chat => &self.chats,
        };
        if let Some(limiter) = limiter {
            if limiter.len() > MANY {
                limiter.retain_recent();
            }
            limiter.check_key(&caller.to_owned()).map_err(|not_until| {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                Failure::TooMany { after_seconds: wait.as_secs() + 1 }
            })?;
        }
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way.len() > MANY {
            under_way.retain(|_, places| places.available_permits() < self.at_once);
        }
        let places =
            under_way.entry(caller.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.at_once)));
        places.clone().try_acquire_owned().map(Some).map_err(|_| Failure::TooMany { after_seconds: 1 })
    }
}
