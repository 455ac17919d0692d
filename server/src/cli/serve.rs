//! `karute serve`: answer questions over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use karute_engine::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Outcome, app, prepare};
use crate::app::App;
use crate::config::{Environment, Settings};
use crate::preflight::{self, Verdict};
use crate::state::{Database, StateError};
use crate::{costs, follow, health, listen, reload, routes, shutdown};

/// Listens first, so that a port in use is known before any work, and so that `/health/ready` tells how things stand
/// while the snapshot is built.
pub(super) async fn run(settings: Settings) -> Outcome {
    refuse_unsafe(&settings)?;
    let address = SocketAddr::new(settings.host, settings.port);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}. Set PORT or HOST, or stop the program that has it")
    })?;
    let address = listener.local_addr()?;
    if !settings.sign_in_required() {
        tracing::warn!(
            "sign-in is not required: everyone who reaches {address} can read every record (REQUIRE_AUTHENTICATION)"
        );
    }
    let app = app(settings)?;
    open_state(&app).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (service, served) = (routes::app(app.clone()), app.clone());
    let mut server = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        listen::serve(listener, &served, service, stopped).await;
    });

    let mut asked_to_end = std::pin::pin!(shutdown::requested());
    tokio::select! {
        prepared = prepare(&app) => app.serve(prepared?),
        () = &mut asked_to_end => return Ok(()),
    }
    tokio::spawn(reload::watch(app.clone(), Store::open(&app.settings.data_dir)?));
    tokio::spawn(retain(app.clone()));
    tokio::spawn(flush(app.clone()));
    tokio::spawn(health::watch(app.clone()));
    shutdown::tell_ready();
    tokio::spawn(shutdown::watchdog(app.clone()));
    tokio::spawn(costs::watch(app.clone()));
    tokio::spawn(costs::export(app.clone()));
    tokio::spawn(forget(app.clone()));
    if app.settings.sync_every > 0 {
        tokio::spawn(reload::sync(app.clone()));
    }
    if app.settings.pull_every > 0
        && let Some(url) = app.settings.bucket.clone()
    {
        tokio::spawn(follow::follow(app.clone(), url));
    }
    if let Err(error) = greet(address) {
        tracing::warn!(%error, "the greeting could not be printed");
    }
    tokio::select! {
        () = asked_to_end => {}
        ended = &mut server => return Ok(ended?),
    }
    let _ = stop.send(());
    let ended = server.await;
    if let Some(state) = app.state() {
        state.flush().await?;
    }
    Ok(ended?)
}

/// The files of the data directory are their owner's alone, wherever it lies; who made it may have let others look into it.
#[cfg(unix)]
fn warn_if_open(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
        let directory = directory.display();
        tracing::warn!(
            "others on this machine can list {directory} (KARUTE_DATA_DIR), though they cannot read its files: chmod 700"
        );
    }
}

#[cfg(not(unix))]
fn warn_if_open(_: &std::path::Path) {}

/// In production nothing is served with settings that leave records open or lose what must be kept.
fn refuse_unsafe(settings: &Settings) -> Outcome {
    if settings.environment != Environment::Production {
        return Ok(());
    }
    let failed: Vec<String> = preflight::safety(settings)
        .into_iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .map(|check| format!("{}: {}. {}", check.name, check.detail, check.mend))
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Unsafe(failed.join("\n  ")).into()),
    }
}

/// Settings that no production may have.
#[derive(Debug, thiserror::Error)]
#[error("not safe for production:\n  {0}")]
pub(super) struct Unsafe(String);

/// Opens what outlives a request, where it is to be kept, and says if it will not outlive the instance. A database that
/// cannot be reached is tried again while questions are answered; a file that cannot be opened ends the start.
pub(super) async fn open_state(app: &App) -> Outcome {
    let settings = app.settings.clone();
    Store::open(&settings.data_dir)?;
    warn_if_open(&settings.data_dir);
    let is_file = settings.database.reveal().is_none();
    match Database::open(&settings.database, &settings.data_dir).await {
        Ok(state) => {
            // The file has one instance: whatever it left half done, nobody else is doing.
            if is_file {
                let now = (app.now)();
                app.money.presume(&state, now, now).await?;
            }
            app.keep_in(state);
        }
        Err(error) if is_file || matches!(error, StateError::Address) => return Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "until the database is reached conversations are not kept and no paid model is asked");
            tokio::spawn(reach_state(app.clone()));
        }
    }
    if is_file && !settings.cloud_run.is_empty() {
        tracing::warn!(
            "conversations and feedback are kept in a file that ends with this instance of Cloud Run: set DATABASE_URL"
        );
    }
    Ok(())
}

/// How often a database that could not be reached is tried again.
const REACH_EVERY: Duration = Duration::from_secs(10);

/// Tries until the database is reached.
async fn reach_state(app: App) {
    loop {
        tokio::time::sleep(REACH_EVERY).await;
        match Database::open(&app.settings.database, &app.settings.data_dir).await {
            Ok(state) => {
                tracing::info!("the database is reached: conversations are kept from now on");
                return app.keep_in(state);
            }
            Err(error) => tracing::warn!(%error, "conversations are still not kept"),
        }
    }
}

/// How often the database is asked whether somebody was forgotten on another machine.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// Forgets here whoever was forgotten elsewhere.
async fn forget(app: App) {
    let mut ticks = tokio::time::interval(FORGET_EVERY);
    loop {
        ticks.tick().await;
        // Without a database, too, whoever could not be removed at the start is tried again.
        let clients = match app.state() {
            Some(state) => state.forgotten().await,
            None => Ok(Vec::new()),
        };
        let clients = clients.unwrap_or_else(|error| {
            tracing::error!(%error, "it is not known whether somebody is to be forgotten");
            Vec::new()
        });
        let directory = app.settings.data_dir.clone();
        let forgetting =
            tokio::task::spawn_blocking(move || -> Result<(), karute_sync::forget::ForgetError> {
                let rebuilt = karute_sync::forget::follow(&Store::open(&directory)?, &clients)?;
                if !rebuilt.is_empty() {
                    tracing::info!(
                        snapshots = rebuilt.len(),
                        "who was forgotten elsewhere is forgotten here, too"
                    );
                }
                Ok(())
            });
        match forgetting.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "somebody is not forgotten here yet"),
            Err(error) => tracing::error!(%error, "somebody is not forgotten here yet"),
        }
    }
}

/// How long what is kept may wait for the disk, where it may wait at all.
const FLUSH_EVERY: Duration = Duration::from_secs(2);

/// Brings what was kept to the disk, so that nobody waits for that who wants an answer.
async fn flush(app: App) {
    let mut ticks = tokio::time::interval(FLUSH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(state) = app.state() else { continue };
        if let Err(error) = state.flush().await {
            tracing::error!(%error, "what was kept has not reached the disk yet");
        }
    }
}

/// How often conversations that are kept no longer are looked for.
const RETAIN_EVERY: Duration = Duration::from_secs(3600);

/// Removes what was asked and answered too long ago, now and every hour.
async fn retain(app: App) {
    let mut ticks = tokio::time::interval(RETAIN_EVERY);
    loop {
        ticks.tick().await;
        let Some(state) = app.state() else { continue };
        let oldest = (app.now)() - time::Duration::days(i64::from(app.settings.history_days));
        match state.remove_before(oldest).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(
                removed,
                "conversations, or parts of them, were removed after KARUTE_HISTORY_DAYS"
            ),
            Err(error) => tracing::error!(%error, "old conversations were not removed"),
        }
    }
}

/// Tells how to ask, with lines that can be pasted.
fn greet(address: SocketAddr) -> std::io::Result<()> {
    let url = match address.ip().is_unspecified() {
        true => format!("http://127.0.0.1:{}", address.port()),
        false => format!("http://{address}"),
    };
    let json = "-H 'Content-Type: application/json' -d";
    say!(
        "\nkarute answers on {url}\n\n\
         curl {url}/health\n\
         curl {url}/search {json} '{{\"query\": \"膀胱留置カテーテルの交換\", \"top_k\": 3}}'\n\
         curl -N {url}/chat/stream {json} '{{\"message\": \"久保田さんのバルーンの交換はいつですか\"}}'\n"
    )
}
