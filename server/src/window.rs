//! So many of something in any minute: a window that slides, so that no minute sees more, wherever it begins.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// What happened in the last minute.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<Instant>);

impl Window {
    /// Lets one more happen now, if fewer than `most` did in the minute before.
    ///
    /// # Errors
    /// How long to wait until one more may.
    pub(crate) fn take(&mut self, most: usize, now: Instant) -> Result<(), Duration> {
        while self.0.front().is_some_and(|first| now.duration_since(*first) >= MINUTE) {
            self.0.pop_front();
        }
        match self.0.front() {
            _ if self.0.len() < most => {
                self.0.push_back(now);
                Ok(())
            }
            Some(first) => Err(MINUTE - now.duration_since(*first)),
            None => Err(MINUTE),
        }
    }

    /// Whether nothing happened for a minute.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.0.back().is_none_or(|last| now.duration_since(*last) >= MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_minute_sees_more_wherever_it_begins(
            most in 0usize..6, pauses in prop::collection::vec(0u64..40_000, 0..60),
        ) {
            let (mut window, mut now, mut let_in) = (Window::default(), Instant::now(), Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                match window.take(most, now) {
                    Ok(()) => let_in.push(now),
                    Err(wait) => {
                        prop_assert!(wait <= MINUTE);
                        let mut later = Window(window.0.clone());
                        prop_assert!(most == 0 || later.take(most, now + wait).is_ok());
                    }
                }
            }
            for first in &let_in {
                let within = let_in.iter().filter(|at| *at >= first && at.duration_since(*first) < MINUTE);
                prop_assert!(within.count() <= most);
            }
        }
    }
}
