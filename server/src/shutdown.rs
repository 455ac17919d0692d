//! Ending: connections under way may finish for a while, then the program ends anyway.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::Stream;

use crate::app::App;
use crate::error::Failure;

/// How long requests may go on after the program was asked to end.
pub(crate) const GRACE: Duration = Duration::from_secs(9);
/// How long a stream may go on then before it is ended with an event that says so.
pub(crate) const STREAM_GRACE: Duration = Duration::from_secs(7);

/// Resolves when the program is asked to end, by Ctrl-C or SIGTERM.
pub(crate) async fn requested() {
    let interrupt = async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "Ctrl-C cannot be watched");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "SIGTERM cannot be watched");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}

/// Tells systemd, where it started this, that questions are answered.
pub(crate) fn tell_ready() {
    #[cfg(target_os = "linux")]
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!(%error, "systemd was not told that the program is ready");
    }
}

/// Tells systemd, where it watches over this, that searches still work: a program that hangs is started again.
pub(crate) async fn watchdog(app: App) {
    #[cfg(target_os = "linux")]
    {
        let Some(limit) = sd_notify::watchdog_enabled() else { return };
        let mut ticks = tokio::time::interval(limit / 3);
        loop {
            ticks.tick().await;
            // Work that goes through the same doors as a question's.
            if app.on_pool(|| ()).await.is_ok()
                && let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Watchdog])
            {
                tracing::warn!(%error, "systemd was not told that the program lives");
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    drop(app);
}

/// `steps` to their end, or, if the program ends before, a failure that says so: no stream just breaks off.
pub(crate) fn until_the_end<T>(
    app: App,
    steps: impl Stream<Item = Result<T, Failure>>,
) -> impl Stream<Item = Result<T, Failure>> {
    async_stream::stream! {
        let mut steps = std::pin::pin!(steps);
        let mut ending = std::pin::pin!(app.must_end());
        loop {
            tokio::select! {
                biased;
                step = steps.next() => match step {
                    Some(step) => yield step,
                    None => return,
                },
                () = &mut ending => {
                    yield Err(Failure::Ending);
                    return;
                }
            }
        }
    }
}
