//! Every figure that an operator watches, in the text form of OpenMetrics 1.0, which Prometheus reads. No label holds
//! anything that a caller wrote.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::retrieve::{Retrieved, Stages};
use crate::state::Spent;

/// Upper ends of the buckets of durations, seconds: from a search in memory to an answer that takes its time.
const BUCKETS: [f64; 18] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
    60.0,
];

type Real = Gauge<f64, AtomicU64>;
type Whole = Gauge<i64, AtomicI64>;
type Sum = Counter<f64, AtomicU64>;

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($field: $type),* }
    )*};
}

labels! {
    RequestLabels { route: String, method: String, status: u16 }
    RouteLabels { route: String }
    StageLabels { stage: &'static str }
    CodeLabels { code: &'static str }
    AnswerLabels { mode: &'static str, reason: &'static str }
    ArmLabels { arm: &'static str }
    CacheLabels { cache: &'static str }
    TokenLabels { model: String, kind: &'static str }
    ModelLabels { model: String }
    LimitLabels { limit: &'static str }
    ServiceLabels { service: String }
}

/// What is counted as it happens.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    stages: Family<StageLabels, Histogram>,
    under_way: Whole,
    failures: Family<CodeLabels, Counter>,
    answers: Family<AnswerLabels, Counter>,
    arms: Family<ArmLabels, Counter>,
}

/// What calls to models took and cost, as the ledger has it: what broke off counts at the most.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    tokens: Family<TokenLabels, Counter>,
    yen: Family<ModelLabels, Sum>,
}

impl Counted {
    /// A call ended.
    pub(crate) fn add(&self, model: &str, spent: &Spent, yen: f64) {
        let kinds = [
            ("input", spent.input_tokens),
            ("cached", spent.cached_tokens),
            ("output", spent.output_tokens),
            ("thought", spent.thought_tokens),
        ];
        for (kind, count) in kinds {
            let labels = TokenLabels { model: model.to_owned(), kind };
            self.tokens.get_or_create(&labels).inc_by(u64::try_from(count).unwrap_or(0));
        }
        self.yen.get_or_create(&ModelLabels { model: model.to_owned() }).inc_by(yen);
    }
}

/// What is looked up when somebody asks.
#[derive(Debug, Default)]
pub struct Looked {
    /// Each cache: its name, hits, misses, bytes, yen saved.
    pub caches: Vec<(&'static str, u64, u64, u64, f64)>,
    /// Yen spent of each limit, and the limit.
    pub limits: Vec<(&'static str, f64, f64)>,
    /// Paid calls for questions on this day, and the most there may be.
    pub calls: Option<(i64, i64)>,
    /// Seconds since the records were last found to be those of the snapshot, its rows, its quarantined rows.
    pub snapshot: Option<(f64, i64, i64)>,
    /// Whether each arm of the search has brought up nothing for long.
    pub silent: Vec<&'static str>,
    /// Whether each service is left alone.
    pub open: Vec<(String, bool)>,
    /// Calls to Google, and those that had to be made again.
    pub google: (u64, u64),
    /// What was spent.
    pub counted: Counted,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            stages: Family::new_with_constructor(histogram),
            under_way: Whole::default(),
            failures: Family::default(),
            answers: Family::default(),
            arms: Family::default(),
        }
    }
}

impl Metrics {
    /// A request begins.
    pub fn begun(&self) {
        self.under_way.inc();
    }

    /// A request has been answered to its last byte.
    pub fn ended(&self, route: &str, method: &str, status: u16, took: Duration) {
        self.under_way.dec();
        let labels = RequestLabels { route: route.to_owned(), method: method.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&RouteLabels { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// A request, or a part of one, failed.
    pub fn failed(&self, code: &'static str) {
        self.failures.get_or_create(&CodeLabels { code }).inc();
    }

    /// Rows were found anew.
    pub fn retrieved(&self, retrieved: &Retrieved) {
        let Stages { embed, understand, search, rank, rerank } = retrieved.stages;
        let stages = [
            ("embed", embed),
            ("understand", understand),
            ("search", search),
            ("rank", rank),
            ("rerank", rerank),
        ];
        for (stage, micros) in stages {
            self.stages.get_or_create(&StageLabels { stage }).observe(micros as f64 / 1e6);
        }
        let count = |arm, count: usize| self.arms.get_or_create(&ArmLabels { arm }).inc_by(count as u64);
        count("vectors", retrieved.evidence.iter().filter(|found| found.by_vector.is_some()).count());
        count("words", retrieved.evidence.iter().filter(|found| found.by_words.is_some()).count());
    }

    /// A question was answered.
    pub fn answered(&self, summary: &crate::answer::Summary) {
        let labels = AnswerLabels { mode: summary.mode, reason: summary.reason.unwrap_or("") };
        self.answers.get_or_create(&labels).inc();
        if summary.cached {
            return;
        }
        let seconds = summary.generation_time_ms as f64 / 1e3;
        self.stages.get_or_create(&StageLabels { stage: "generate" }).observe(seconds);
    }

    /// Everything, as text.
    pub fn text(&self, looked: &Looked) -> String {
        let mut registry = Registry::with_prefix("karute");
        registry.register("requests", "Requests that were answered", self.requests.clone());
        registry.register("failures", "Failures by their code", self.failures.clone());
        registry.register("answers", "Answers by how they came about", self.answers.clone());
        registry.register(
            "arm_rows",
            "Rows of results that each arm of the search brought up",
            self.arms.clone(),
        );
        let Counted { tokens, yen } = &looked.counted;
        registry.register("tokens", "Tokens that calls to models took", tokens.clone());
        registry.register(
            "yen",
            "Yen that calls to models cost, at the most where that is not known",
            yen.clone(),
        );
        registry.register("requests_under_way", "Requests that are being answered", self.under_way.clone());
        registry.register_with_unit(
            "request_duration",
            "From a request to the last byte of its answer",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register_with_unit(
            "stage_duration",
            "Stages of a question",
            Unit::Seconds,
            self.stages.clone(),
        );
        look(&mut registry, looked);
        process(&mut registry);
        let mut text = String::new();
        // Writing into a text cannot fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

fn counter(value: u64) -> Counter {
    let counter = Counter::default();
    counter.inc_by(value);
    counter
}

fn real(value: f64) -> Real {
    let gauge = Real::default();
    gauge.set(value);
    gauge
}

fn whole(value: i64) -> Whole {
    let gauge = Whole::default();
    gauge.set(value);
    gauge
}

fn look(registry: &mut Registry, looked: &Looked) {
    let (hits, misses) =
        (Family::<CacheLabels, Counter>::default(), Family::<CacheLabels, Counter>::default());
    let (bytes, saved) = (Family::<CacheLabels, Whole>::default(), Family::<CacheLabels, Sum>::default());
    for &(cache, hit, missed, held, yen) in &looked.caches {
        let labels = CacheLabels { cache };
        hits.get_or_create(&labels).inc_by(hit);
        misses.get_or_create(&labels).inc_by(missed);
        bytes.get_or_create(&labels).set(i64::try_from(held).unwrap_or(i64::MAX));
        saved.get_or_create(&labels).inc_by(yen);
    }
    registry.register("cache_hits", "Uses of a cache that it served", hits);
    registry.register("cache_misses", "Uses of a cache that it did not serve", misses);
    registry.register_with_unit("cache_size", "What a cache holds", Unit::Bytes, bytes);
    registry.register("cache_saved_yen", "Yen that hits saved", saved);
    let (spent, most, calls) = (
        Family::<LimitLabels, Real>::default(),
        Family::<LimitLabels, Real>::default(),
        Family::<LimitLabels, Whole>::default(),
    );
    for &(limit, yen, of) in &looked.limits {
        let labels = LimitLabels { limit };
        spent.get_or_create(&labels).set(yen);
        most.get_or_create(&labels).set(of);
    }
    if let Some((made, of)) = looked.calls {
        for (limit, number) in [("made", made), ("most", of)] {
            calls.get_or_create(&LimitLabels { limit }).set(number);
        }
    }
    registry.register("budget_spent_yen", "Yen spent of a limit, reserved calls among them", spent);
    registry.register("budget_limit_yen", "Most yen", most);
    registry.register(
        "budget_calls",
        "Paid calls for questions on this day, and the most there may be",
        calls,
    );
    if let Some((age, rows, quarantined)) = looked.snapshot {
        registry.register_with_unit(
            "snapshot_age",
            "Since the records were last found to be those of the snapshot",
            Unit::Seconds,
            real(age),
        );
        registry.register("snapshot_rows", "Rows of the snapshot", whole(rows));
        registry.register(
            "snapshot_rows_quarantined",
            "Rows of the source that could not be used",
            whole(quarantined),
        );
    }
    let silent = Family::<ArmLabels, Whole>::default();
    for arm in ["vectors", "words"] {
        silent.get_or_create(&ArmLabels { arm }).set(looked.silent.contains(&arm).into());
    }
    registry.register(
        "arm_silent",
        "1 where an arm of the search has brought up nothing for many questions",
        silent,
    );
    let open = Family::<ServiceLabels, Whole>::default();
    for (service, is_open) in &looked.open {
        open.get_or_create(&ServiceLabels { service: service.clone() }).set((*is_open).into());
    }
    registry.register("upstream_left_alone", "1 while a service that failed is left alone", open);
    registry.register("google_calls", "Calls to Google, retries among them", counter(looked.google.0));
    registry.register(
        "google_retries",
        "Calls to Google that had to be made again",
        counter(looked.google.1),
    );
}

/// Memory and processor of this process.
#[cfg(target_os = "linux")]
fn process(registry: &mut Registry) {
    use procfs::process::Process;
    let Ok(own) = Process::myself() else { return };
    let Ok(stat) = own.stat() else { return };
    let ticks = procfs::ticks_per_second() as f64;
    let cpu = Sum::default();
    cpu.inc_by((stat.utime + stat.stime) as f64 / ticks);
    let resident = stat.rss * procfs::page_size();
    let own_metrics = registry.sub_registry_with_prefix("process");
    own_metrics.register_with_unit("cpu", "Processor time", Unit::Seconds, cpu);
    let resident = whole(i64::try_from(resident).unwrap_or(i64::MAX));
    own_metrics.register_with_unit("resident_memory", "Memory that is in use", Unit::Bytes, resident);
    if let Ok(count) = own.fd_count() {
        own_metrics.register("open_fds", "Open files", whole(i64::try_from(count).unwrap_or(i64::MAX)));
    }
    own_metrics.register("threads", "Threads", whole(stat.num_threads));
}

#[cfg(not(target_os = "linux"))]
fn process(_: &mut Registry) {}
