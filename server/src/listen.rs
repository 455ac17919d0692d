//! Taking connections: so many at a time, each with so long to say what it wants, and an end that leaves none hanging.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;

use crate::app::App;
use crate::shutdown::GRACE;

/// How long the head of a request may take; also how long a connection may idle before the next one.
const HEAD_WITHIN: Duration = Duration::from_secs(20);
/// How long whoever asked may leave what is sent to him unread.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// Largest head of a request, its line and all its headers. It is looked at after each read, so a head of less than twice as
/// much may pass.
const LARGEST_HEAD: usize = 64 << 10;
/// After a failure to take a connection, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopped`, then for as long as requests under way take, but not longer than the grace that there is.
pub(crate) async fn serve(
    listener: TcpListener,
    app: &App,
    service: Router,
    stopped: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(app.settings.max_connections));
    let graceful = GracefulShutdown::new();
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => break,
            accepted = async {
                // Beyond so many connections the system's own queue holds them.
                let place = places.clone().acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (Ok(place), Ok((stream, _))) = accepted else {
            tracing::warn!("a connection could not be taken");
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Pieces of a stream go out as they come.
        let _ = stream.set_nodelay(true);
        // Who does not read what is sent to him gives his place up.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(READ_WITHIN));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(LARGEST_HEAD);
        let connection = builder
            .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // What a connection dies of is its caller's business.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    tracing::info!("ending: requests under way may finish");
    app.end();
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still under way were broken off");
    }
}
