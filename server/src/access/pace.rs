//! How much one caller may ask: questions and searches a minute, and requests at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::Settings;
use crate::error::Failure;
use crate::window::Window;

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

/// What one caller does.
#[derive(Debug)]
struct Pace {
    chats: Window,
    searches: Window,
    places: Arc<Semaphore>,
}

/// The limits of every caller of this process.
#[derive(Debug)]
pub struct Paces {
    chats: usize,
    searches: usize,
    at_once: usize,
    callers: Mutex<HashMap<String, Pace>>,
}

impl Paces {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        Self {
            chats: settings.chats_per_minute as usize,
            searches: settings.searches_per_minute as usize,
            at_once: settings.caller_concurrency,
            callers: Mutex::default(),
        }
    }

    /// Lets a request of `caller` in. What comes back is held until the last byte of the answer.
    ///
    /// # Errors
    /// [`Failure::TooMany`].
    pub fn enter(&self, caller: &str, kind: Kind) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        if kind == Kind::Free {
            return Ok(None);
        }
        let now = Instant::now();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() > MANY {
            let idle = |pace: &Pace| pace.places.available_permits() == self.at_once;
            callers
                .retain(|_, pace| !(idle(pace) && pace.chats.is_quiet(now) && pace.searches.is_quiet(now)));
        }
        let pace = callers.entry(caller.to_owned()).or_insert_with(|| Pace {
            chats: Window::default(),
            searches: Window::default(),
            places: Arc::new(Semaphore::new(self.at_once)),
        });
        // A request that finds no place is not counted: it was not let in.
        let place = pace.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Failure::TooMany { after_seconds: 1 })?;
        let (window, most) = match kind {
            Kind::Chat => (&mut pace.chats, self.chats),
            _ => (&mut pace.searches, self.searches),
        };
        // Zero is no limit.
        if most > 0 {
            let wait = |wait: std::time::Duration| Failure::TooMany { after_seconds: wait.as_secs() + 1 };
            window.take(most, now).map_err(wait)?;
        }
        Ok(Some(place))
    }
}
