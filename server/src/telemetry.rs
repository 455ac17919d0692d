//! Logging to standard error. No question, answer or record text is ever logged at the default level.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogLevel;

/// Starts logging. Libraries are kept to warnings: what they say at finer levels may quote what they handle.
pub(crate) fn start(level: LogLevel) {
    let own = match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let others = if level == LogLevel::Error { "error" } else { "warn" };
    let directives = format!("{others},karute_server={own},karute_sync={own},karute_engine={own}");
    let filter = EnvFilter::builder().parse_lossy(directives);
    let terminal = std::io::stderr().is_terminal();
    // A second start in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(terminal)
        .with_target(false)
        .with_writer(std::io::stderr)
        .try_init();
}
