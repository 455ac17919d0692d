//! `karute serve`: answer questions over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use karute_engine::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Outcome, app, prepare};
use crate::app::App;
use crate::config::Settings;
use crate::state::Database;
use crate::{reload, routes, shutdown};

/// Listens first, so that a port in use is known before any work, and so that `/health/ready` tells how things stand
/// while the snapshot is built.
pub(super) async fn run(settings: Settings) -> Outcome {
    let address = SocketAddr::new(settings.host, settings.port);
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address}: {error}. Set PORT or HOST, or stop the program that has it")
    })?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        tracing::warn!(
            "listening on {address} without sign-in: everyone who reaches it can read every record"
        );
    }
    let mut app = app(settings)?;
    app.state = state(&app.settings).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = routes::app(app.clone());
    let mut server = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        axum::serve(listener, service).with_graceful_shutdown(stopped).await
    });

    let mut asked_to_end = std::pin::pin!(shutdown::requested());
    tokio::select! {
        prepared = prepare(&app) => app.serve(prepared?),
        () = &mut asked_to_end => return Ok(()),
    }
    tokio::spawn(reload::watch(app.clone(), Store::open(&app.settings.data_dir)?));
    tokio::spawn(retain(app.clone()));
    if app.settings.sync_every > 0 {
        tokio::spawn(reload::sync(app.clone()));
    }
    if let Err(error) = greet(address) {
        tracing::warn!(%error, "the greeting could not be printed");
    }
    tokio::select! {
        () = asked_to_end => {}
        ended = &mut server => return Ok(ended??),
    }
    tracing::info!("ending: requests under way may finish");
    let _ = stop.send(());
    match tokio::time::timeout(shutdown::GRACE, server).await {
        Ok(ended) => ended??,
        Err(_) => tracing::warn!("requests still under way were broken off"),
    }
    Ok(())
}

/// Opens what outlives a request, where it is to be kept, and says if it will not outlive the instance.
async fn state(settings: &Settings) -> Result<Option<Database>, Box<dyn std::error::Error>> {
    if !settings.history {
        return Ok(None);
    }
    Store::open(&settings.data_dir)?;
    let state = Database::open(&settings.database, &settings.data_dir).await?;
    if !settings.cloud_run.is_empty() && settings.database.reveal().is_none() {
        tracing::warn!(
            "conversations and feedback are kept in {}, which ends with this instance of Cloud Run: set DATABASE_URL",
            state.place()
        );
    }
    Ok(Some(state))
}

/// How often conversations that are kept no longer are looked for.
const RETAIN_EVERY: Duration = Duration::from_secs(3600);

/// Removes conversations that were last answered too long ago, now and every hour.
async fn retain(app: App) {
    let Some(state) = app.state.clone() else { return };
    let mut ticks = tokio::time::interval(RETAIN_EVERY);
    loop {
        ticks.tick().await;
        let oldest = (app.now)() - time::Duration::days(i64::from(app.settings.history_days));
        match state.remove_before(oldest).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "conversations were removed after KARUTE_HISTORY_DAYS"),
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
