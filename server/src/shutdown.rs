//! Ending: connections under way may finish for a while, then the program ends anyway.

use std::time::Duration;

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
