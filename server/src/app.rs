//! What requests share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use karute_engine::{Index, Row, Store};
use karute_sync::embed::Embedder;
use karute_sync::job::looked_at;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::access::Access;
use crate::access::pace::Paces;
use crate::answer::Answerer;
use crate::audit::{Audit, Seen};
use crate::cache::{Caches, Key};
use crate::catalogue::Catalogue;
use crate::config::Settings;
use crate::error::Failure;
use crate::health::Measured;
use crate::metrics::Metrics;
use crate::money::{Money, Payer, Till};
use crate::retrieve::Silence;
use crate::retrieve::caller::Caller;
use crate::retrieve::gate::Gate;
use crate::retrieve::rerank::Reranker;
use crate::retrieve::wording::Wordings;
use crate::shutdown::STREAM_GRACE;
use crate::start::Prepared;
use crate::state::Database;
use crate::upstream::Upstream;

/// Answers that may be in the making at once and still be shared; beyond that some are made twice.
const FLIGHTS: u64 = 1000;
/// How long the audit is waited for.
const AUDIT_PATIENCE: Duration = Duration::from_secs(5);

/// The snapshot in force and what is wrong around it.
#[derive(Clone, Debug)]
pub enum Serving {
    /// The snapshot is being found or built.
    Starting,
    /// Questions are answered from this snapshot.
    Ready {
        /// The snapshot.
        index: Arc<Index>,
        /// What an operator should know; empty when all is well.
        problems: Arc<[String]>,
    },
}

impl From<Prepared> for Serving {
    fn from(prepared: Prepared) -> Self {
        Self::Ready { index: Arc::new(prepared.index), problems: prepared.problems.into() }
    }
}

/// Everything that a request may use. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The settings in force.
    pub settings: Arc<Settings>,
    /// Turns questions into vectors.
    pub embedder: Arc<dyn Embedder>,
    /// What turns evidence into answers: the first that answers does.
    pub answerers: Arc<[Arc<dyn Answerer>]>,
    /// Puts rows in their last order, if anything but this machine does.
    pub reranker: Option<Arc<dyn Reranker>>,
    /// Decides whether there is an answer.
    pub gate: Arc<Gate>,
    /// Rows that questions have met lately, taken apart.
    pub(crate) wordings: Arc<Wordings>,
    /// Arms of the search that bring up nothing.
    pub silence: Arc<Silence>,
    /// Tells the time; a function, so that tests can stop it.
    pub now: fn() -> OffsetDateTime,
    /// Conversations, answers, feedback, once they are open; empty where they are not kept.
    state: Arc<OnceLock<Database>>,
    /// Finds out who asks.
    pub access: Arc<Access>,
    /// How much one caller may ask.
    pub paces: Arc<Paces>,
    /// What an operator watches.
    pub metrics: Arc<Metrics>,
    /// What models may cost.
    pub money: Arc<Money>,
    /// Who saw whose records.
    pub audit: Arc<Audit>,
    /// The services that are called.
    pub upstreams: Arc<Upstreams>,
    /// Whether the bucket could not be followed when it was last looked at.
    pub(crate) lags: Arc<AtomicBool>,
    /// What was last found of the program's health.
    pub(crate) health: Arc<Mutex<Option<Measured>>>,
    /// What is kept in memory.
    pub caches: Arc<Caches>,
    /// Answers that are being made, by their keys, where answers are kept.
    pub(crate) flights: moka::future::Cache<Key, Arc<Mutex<()>>>,
    catalogue: Arc<std::sync::Mutex<Arc<Catalogue>>>,
    serving: Arc<watch::Sender<Serving>>,
    work: Arc<Semaphore>,
    /// Places for those who wait for a place in `work`.
    queue: Arc<Semaphore>,
    ending: Arc<watch::Sender<bool>>,
}

/// The services that are called.
#[derive(Debug)]
pub struct Upstreams {
    /// What embeds questions.
    pub embedder: Upstream,
    /// What ranks rows.
    pub reranker: Upstream,
    /// What answers, in the order in which it is asked.
    pub answerers: Vec<Upstream>,
}

impl Upstreams {
    /// Each of them.
    pub fn all(&self) -> impl Iterator<Item = &Upstream> {
        [&self.embedder, &self.reranker].into_iter().chain(&self.answerers)
    }
}

impl App {
    /// An app that serves nothing yet.
    pub fn new(settings: Settings, embedder: Arc<dyn Embedder>, answerers: Arc<[Arc<dyn Answerer>]>) -> Self {
        let wordings = Arc::new(Wordings::new(settings.cache_bytes));
        Self {
            work: Arc::new(Semaphore::new(settings.max_concurrent)),
            queue: Arc::new(Semaphore::new(settings.max_concurrent + settings.max_queue)),
            ending: Arc::default(),
            access: Arc::new(Access::by_keys(&settings)),
            paces: Arc::new(Paces::new(&settings)),
            metrics: Arc::default(),
            money: Arc::new(Money::new(&settings)),
            audit: Arc::new(Audit::new(&settings)),
            upstreams: Arc::new(Upstreams {
                embedder: Upstream::new(&embedder.identity().model),
                reranker: Upstream::new(&settings.reranker_model),
                answerers: answerers.iter().map(|answerer| Upstream::new(answerer.model())).collect(),
            }),
            lags: Arc::default(),
            health: Arc::default(),
            caches: Arc::new(Caches::new(&settings)),
            settings: Arc::new(settings),
            gate: Arc::new(Gate::shipped(&embedder.identity().model)),
            embedder,
            answerers,
            reranker: None,
            state: Arc::default(),
            flights: moka::future::Cache::new(FLIGHTS),
            catalogue: Arc::default(),
            silence: Arc::default(),
            wordings,
            now: OffsetDateTime::now_utc,
            serving: Arc::new(watch::Sender::new(Serving::Starting)),
        }
    }

    /// Serves another snapshot from now on. Requests under way end on the one that they began with.
    pub fn serve(&self, serving: impl Into<Serving>) {
        self.serving.send_replace(serving.into());
    }

    /// What is served at this moment.
    pub fn serving(&self) -> Serving {
        self.serving.borrow().clone()
    }

    /// The snapshot in force.
    ///
    /// # Errors
    /// [`Failure::NotReady`] before there is one.
    pub fn index(&self) -> Result<Arc<Index>, Failure> {
        match self.serving() {
            Serving::Ready { index, .. } => Ok(index),
            Serving::Starting => Err(Failure::NotReady),
        }
    }

    /// How long ago the records were last found to be those of `index`; `None` where nothing says it.
    pub fn age(&self, index: &Index) -> Option<time::Duration> {
        let directory = &self.settings.data_dir;
        // Whoever serves without a store must not get one.
        let store = directory.is_dir().then(|| Store::open(directory).ok()).flatten();
        let built = || OffsetDateTime::parse(&index.provenance().built_at, &Rfc3339).ok();
        let read = store.map_or_else(built, |store| looked_at(index, &store));
        read.map(|read| (self.now)() - read)
    }

    /// What `index` says besides its rows; read once for each snapshot.
    ///
    /// # Errors
    /// A damaged snapshot.
    pub fn catalogue(&self, index: &Index) -> Result<Arc<Catalogue>, Failure> {
        let mut held = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        if held.snapshot != Some(index.id()) {
            *held = Arc::new(Catalogue::of(index)?);
        }
        Ok(held.clone())
    }

    /// Keeps conversations, answers and feedback in `state` from now on.
    pub fn keep_in(&self, state: Database) {
        // Whoever was first stays: there is one state.
        let _ = self.state.set(state);
    }

    /// The state, where it is kept and open.
    pub fn state(&self) -> Option<&Database> {
        self.state.get()
    }

    /// Where paid calls of `payer` are reserved.
    pub fn till(&self, payer: Payer) -> Till {
        Till::new(self.money.clone(), self.state().cloned(), payer, self.now)
    }

    /// Keeps in the audit what `caller` is about to see. It is there when this returns.
    ///
    /// # Errors
    /// [`Failure::State`] where it could not be kept and sign-in is required: then nothing may be shown. Elsewhere that is
    /// logged.
    pub async fn seen<'a>(
        &self,
        caller: &Caller,
        seen: Seen<'_>,
        rows: impl Iterator<Item = &'a Row>,
    ) -> Result<(), Failure> {
        let required = self.access.is_required();
        let Some(state) = self.state() else {
            return match required {
                true => Err(Failure::State("the audit cannot be kept, so nothing is shown".into())),
                false => Ok(()),
            };
        };
        let link = self.audit.link(caller, &seen, rows, (self.now)());
        // Kept to its end even if whoever asked goes away meanwhile: the chain does not end in the middle.
        let (audit, state) = (self.audit.clone(), state.clone());
        let keeping = tokio::spawn(async move { audit.keep(&state, link).await });
        let failure = match tokio::time::timeout(AUDIT_PATIENCE, keeping).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the audit was not kept in time".into(),
        };
        if required {
            return Err(Failure::State(failure));
        }
        tracing::error!(detail = failure, "the audit has a gap");
        Ok(())
    }

    /// The program is ending: streams end, too.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Resolves when the program is ending.
    pub async fn ending(&self) {
        // The sender lives as long as this app.
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }

    /// What `work` comes to, or, if the program ends and it takes too long, a failure that says so.
    ///
    /// # Errors
    /// What `work` says; [`Failure::Ending`].
    pub async fn unless_ending<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.must_end() => Err(Failure::Ending),
        }
    }

    /// Resolves when what is still under way must end, for the program will.
    pub async fn must_end(&self) {
        self.ending().await;
        tokio::time::sleep(STREAM_GRACE).await;
    }

    /// The state, where conversations are kept.
    ///
    /// # Errors
    /// [`Failure::NoHistory`] where nothing is kept, [`Failure::State`] where the database has not been reached yet.
    pub fn kept(&self) -> Result<&Database, Failure> {
        match (self.state(), self.settings.history) {
            (_, false) => Err(Failure::NoHistory),
            (Some(state), true) => Ok(state),
            (None, true) => Err(Failure::State("the database has not been reached yet".into())),
        }
    }

    /// How long a question may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.settings.request_timeout)
    }

    /// How long an answer may take to its end.
    pub fn stream_deadline(&self) -> Duration {
        Duration::from_secs(self.settings.stream_timeout.max(self.settings.request_timeout))
    }

    /// Runs work that keeps a processor busy away from the threads that serve connections, a bounded number of
    /// pieces at a time.
    ///
    /// # Errors
    /// [`Failure::Busy`] when too many wait, [`Failure::TimedOut`] when no place became free in time,
    /// [`Failure::Internal`] when the work panicked.
    pub async fn on_pool<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        // Whoever could not be served in time had better know at once.
        let queued = self.queue.clone().try_acquire_owned().map_err(|_| Failure::Busy)?;
        let permit = tokio::time::timeout(self.deadline(), self.work.clone().acquire_owned());
        let permit = permit.await.map_err(|_| Failure::TimedOut)?.map_err(|_| Failure::NotReady)?;
        let task = tokio::task::spawn_blocking(move || {
            let _permits = (permit, queued);
            work()
        });
        let done = tokio::time::timeout(self.deadline(), task).await.map_err(|_| Failure::TimedOut)?;
        done.map_err(|error| Failure::Internal(error.to_string()))
    }
}
