//! `karute serve`: answer questions over HTTP.

use std::net::SocketAddr;

use karute_engine::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{Outcome, app, prepare};
use crate::config::Settings;
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
    let app = app(settings)?;
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
