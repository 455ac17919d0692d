//! Keeping what is served sound and current: snapshots that another process publishes are picked up, and every
//! snapshot is verified whole in the background. One that fails is replaced by the newest good one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use karute_engine::{Index, SnapshotId, Store};
use karute_sync::forget::{self, ForgetError};
use karute_sync::job::{How, Pass, Silent};

use crate::app::{App, Serving};
use crate::{setup, start};

/// How often the pointer is looked at. One read of a 65-byte file.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a verification holds: a disk may spoil what it once gave soundly.
const VERIFIED_FOR: Duration = Duration::from_secs(300);
/// How long a snapshot is served on while somebody in it is being forgotten: as long as it may take to build it anew.
const FORGETTING_FOR: Duration = Duration::from_secs(120);

/// Watches until the program ends. Requests under way finish on the snapshot that they began with.
pub(crate) async fn watch(app: App, store: Store) {
    let mut watch =
        Watch { app, store, verified: None, bad: Vec::new(), last_problem: String::new(), tainted: None };
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        // Verification reads the whole file, so it must not hold up a thread that serves connections.
        watch = match tokio::task::spawn_blocking(move || watch.look()).await {
            Ok(watch) => watch,
            Err(error) => return tracing::error!(%error, "the snapshot is no longer watched"),
        };
    }
}

/// Syncs now and then until the program ends, where the settings ask for it. What is published is picked up by [`watch`].
pub(crate) async fn sync(app: App) {
    let pause = Duration::from_secs(app.settings.sync_every);
    loop {
        tokio::time::sleep(pause).await;
        let app = app.clone();
        let synced = tokio::task::spawn_blocking(move || -> Result<(), start::StartError> {
            let (settings, store) = (&app.settings, Store::open(&app.settings.data_dir)?);
            let source = setup::source(settings)?;
            let how = setup::how(settings, start::guarded(settings))?;
            if start::is_chosen(&store) {
                tracing::info!(
                    "the store was rolled back: nothing is synced until somebody orders it by `karute sync`"
                );
            } else {
                start::sync(source.as_ref(), app.embedder.as_ref(), &store, how, &Silent)?;
            }
            Ok(())
        });
        match synced.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the sync failed; the snapshot before is still served"),
            Err(error) => return tracing::error!(%error, "no more syncs are made"),
        }
    }
}

struct Watch {
    app: App,
    store: Store,
    /// The last snapshot that passed full verification, and when.
    verified: Option<(SnapshotId, Instant)>,
    /// Snapshots that failed it, each with when its file was written: a file that is written anew may be sound.
    bad: Vec<(SnapshotId, Option<SystemTime>)>,
    last_problem: String,
    /// What is served although it holds somebody who is forgotten, the pointer, and since when neither has moved.
    tainted: Option<(SnapshotId, Option<SnapshotId>, Instant)>,
}

/// When the file of a snapshot was written; `None` if it is gone.
fn written(store: &Store, id: SnapshotId) -> Option<SystemTime> {
    std::fs::metadata(store.path_of(id)).and_then(|file| file.modified()).ok()
}

impl Watch {
    fn is_bad(&self, id: SnapshotId) -> bool {
        self.bad.iter().any(|(bad, _)| *bad == id)
    }

    /// One look: another snapshot in force? then open it. A snapshot that was not verified yet? then verify it.
    fn look(mut self) -> Self {
        let Serving::Ready { index, problems } = self.app.serving() else { return self.begin_again() };
        let store = &self.store;
        let was_bad = self.is_bad(index.id());
        self.bad.retain(|(id, when)| written(store, *id) == *when);
        // What is served is still mapped from the file that was damaged.
        let again = was_bad && !self.is_bad(index.id());
        let newer = match again {
            true => self.store.current().map(|opened| Some(opened.index)),
            false => self.store.refresh(index.id()),
        };
        // Who is being forgotten is served no longer than it takes to build the snapshot anew.
        let is_tainted = matches!(self.is_free(&index), Ok(false));
        let (served, pointer) = (index.id(), self.store.current_id());
        // A pointer that moves says that somebody is at work.
        let is_same = |tainted: &(SnapshotId, Option<SnapshotId>, Instant)| {
            is_tainted && (tainted.0, tainted.1) == (served, pointer)
        };
        let begun = || is_tainted.then(|| (served, pointer, Instant::now()));
        self.tainted = self.tainted.filter(is_same).or_else(begun);
        let is_gone = !self.store.path_of(index.id()).try_exists().unwrap_or(true);
        let is_due = self.tainted.is_some_and(|(_, _, since)| since.elapsed() > FORGETTING_FOR);
        let may_serve = |newer: &Option<Index>| newer.as_ref().is_some_and(|newer| self.may_serve(newer));
        if is_tainted && !newer.as_ref().is_ok_and(may_serve) && (is_gone || is_due) {
            self.serve_another(problems.to_vec(), is_due);
            return self.verify();
        }
        match newer {
            Ok(Some(newer)) if !matches!(self.is_free(&newer), Ok(true)) => {
                let id = newer.id().short();
                let problem = match self.is_free(&newer) {
                    Err(error) => format!("snapshot {id} is not served: {error}"),
                    Ok(_) => format!("snapshot {id} holds somebody who is forgotten, and is not served"),
                };
                self.tell(index, &problems, problem);
            }
            Ok(Some(newer)) if newer.identity() != self.app.embedder.identity() => {
                let (found, expected) = (newer.identity(), self.app.embedder.identity());
                let problem = format!(
                    "snapshot {} was published but cannot be served: its vectors are of {found}, questions are embedded by {expected}",
                    newer.id().short()
                );
                self.tell(index, &problems, problem);
            }
            Ok(Some(newer)) if !self.is_bad(newer.id()) => self.serve(newer, Vec::new()),
            Ok(_) => self.tell(index, &problems, String::new()),
            Err(error) => {
                let problem = format!("another snapshot was published but cannot be served: {error}");
                self.tell(index, &problems, problem);
            }
        }
        self.verify()
    }

    /// Serves what can be served again, after there was nothing.
    fn begin_again(mut self) -> Self {
        let bad: Vec<SnapshotId> = self.bad.iter().map(|(id, _)| *id).collect();
        if let Ok(opened) = self.store.current_avoiding(&bad)
            && self.may_serve(&opened.index)
        {
            self.serve(opened.index, Vec::new());
        }
        self
    }

    /// Whether nobody in it is forgotten, as far as anybody knows here.
    fn is_free(&self, index: &Index) -> Result<bool, ForgetError> {
        forget::is_free_of_forgotten(self.store.directory(), index)
    }

    /// Whether questions can be answered from it, and may be.
    fn may_serve(&self, index: &Index) -> bool {
        let is_free = matches!(self.is_free(index), Ok(true));
        is_free && !self.is_bad(index.id()) && index.identity() == self.app.embedder.identity()
    }

    /// Serves what takes the place of what must not be served any more. Where there is no such thing, the newest that may be
    /// served, or nothing, but only if it `must` be.
    fn serve_another(&mut self, problems: Vec<String>, must: bool) {
        let bad: Vec<SnapshotId> = self.bad.iter().map(|(id, _)| *id).collect();
        let instead = self.store.current_avoiding(&bad).ok().map(|opened| opened.index);
        if let Some(index) = instead.filter(|index| self.may_serve(index)) {
            return self.serve(index, problems);
        }
        if !must {
            return;
        }
        let listed = self.store.list().unwrap_or_default();
        let mut indexes = listed.into_iter().filter_map(|listed| listed.index.ok());
        match indexes.find(|index| self.may_serve(index)) {
            Some(index) => self.serve(index, problems),
            None => {
                tracing::error!(
                    "what is served holds somebody who is forgotten, and nothing else can be served"
                );
                self.app.serve(Serving::Starting);
            }
        }
    }

    /// Puts `problem`, or nothing if it is empty, in the place of what the last look had to tell.
    fn tell(&mut self, index: Arc<Index>, problems: &[String], problem: String) {
        if problem == self.last_problem {
            return;
        }
        let mut problems = problems.to_vec();
        problems.retain(|known| *known != self.last_problem);
        if !problem.is_empty() {
            tracing::error!("{problem}");
            problems.push(problem.clone());
        }
        self.last_problem = problem;
        self.app.serve(Serving::Ready { index, problems: problems.into() });
    }

    fn verify(mut self) -> Self {
        let Serving::Ready { index, .. } = self.app.serving() else { return self };
        let id = index.id();
        let sound = self.verified.is_some_and(|(known, when)| known == id && when.elapsed() < VERIFIED_FOR);
        if sound || self.is_bad(id) {
            return self;
        }
        match index.verify() {
            Ok(_) => self.verified = Some((id, Instant::now())),
            Err(error) => {
                tracing::error!(snapshot = id.short(), %error, "the snapshot in force failed verification");
                self.bad.push((id, written(&self.store, id)));
                self.replace(&index, &error.to_string());
            }
        }
        self
    }

    /// Serves the newest snapshot that is not known to be bad; if there is none, builds it again.
    fn replace(&mut self, damaged: &Arc<Index>, error: &str) {
        let id = damaged.id();
        let bad: Vec<SnapshotId> = self.bad.iter().map(|(id, _)| *id).collect();
        match self.store.current_avoiding(&bad) {
            Ok(opened) if self.may_serve(&opened.index) => {
                let problem =
                    format!("snapshot {} is damaged, so an earlier one is served: {error}", id.short());
                self.serve(opened.index, vec![problem]);
            }
            Ok(_) | Err(_) => self.rebuild(damaged, error),
        }
    }

    /// The last resort: the source, if it is still there, gives the snapshot again. Until then, and if it does not, the
    /// damaged one stays in force, since no read of it can leave its bounds, and the problem is told.
    fn rebuild(&mut self, damaged: &Arc<Index>, error: &str) {
        let settings = &self.app.settings;
        let built = setup::source(settings).map_err(|error| error.to_string()).and_then(|source| {
            // Another source than the one it was built from would not give it again, but something else in its place.
            if damaged.provenance().place != source.place() || settings.bucket.is_some() {
                return Err(
                    "the source that it came from is not the one that is set; sync that one, or pull again"
                        .into(),
                );
            }
            let how = setup::how(settings, start::guarded(settings)).map_err(|error| error.to_string())?;
            let how = How { pass: Pass::Full, ..how };
            let embedder = self.app.embedder.as_ref();
            start::sync(source.as_ref(), embedder, &self.store, how, &Silent)
                .map_err(|error| error.to_string())
        });
        match built {
            Ok(outcome) => {
                self.bad.clear();
                self.serve(outcome.index, Vec::new());
            }
            Err(failure) => {
                let id = damaged.id().short();
                let problem =
                    format!("snapshot {id} is damaged ({error}) and could not be built again: {failure}");
                tracing::error!("{problem}");
                self.app.serve(Serving::Ready { index: damaged.clone(), problems: [problem].into() });
            }
        }
    }

    fn serve(&mut self, index: Index, problems: Vec<String>) {
        tracing::info!(snapshot = index.id().short(), rows = index.len(), "serving another snapshot");
        self.last_problem.clear();
        self.app.serve(Serving::Ready { index: Arc::new(index), problems: problems.into() });
        // What was found in the snapshot before is never asked for again, and may be of somebody who is to be forgotten.
        self.app.wordings.clear();
        tokio::runtime::Handle::current().block_on(self.app.caches.clear(None));
    }
}
