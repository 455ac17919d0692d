//! One HTTP client for a run: paced below Google's quota, retried with patience, bounded in calls and in time.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::Instant;

use super::auth::Credentials;
use super::error::Said;
use super::trace::Trace;
use super::{GoogleError, Host, scope};

/// Largest answer that is held.
const MOST_BYTES: usize = 64 << 20;
/// Google gives a request up after 180 s; a little later so do we.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(190);
/// Longest pause that is made because of a `Retry-After`; beyond it the run is better given up.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Calls of all clients of this process, and those that had to be made again.
static CALLS: AtomicU64 = AtomicU64::new(0);
static RETRIES: AtomicU64 = AtomicU64::new(0);

/// Calls of all clients of this process, retries among them, and retries.
pub fn totals() -> (u64, u64) {
    (CALLS.load(Ordering::Relaxed), RETRIES.load(Ordering::Relaxed))
}

/// What a run may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Read requests in any minute; Google gives a user 60.
    pub reads_per_minute: u32,
    /// Calls of one run, retries among them.
    pub max_calls: u64,
    /// Length of one run.
    pub deadline: Duration,
    /// Attempts of one call.
    pub attempts: u32,
    /// Attempts beyond the first, of all calls together, in any minute.
    pub retries_per_minute: u32,
    /// Pause before the second attempt; doubled for each further one, with jitter.
    pub first_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reads_per_minute: 50,
            max_calls: 2_000,
            deadline: Duration::from_secs(3_600),
            attempts: 6,
            retries_per_minute: 60,
            first_pause: Duration::from_secs(1),
        }
    }
}

/// What a run has used up so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Calls, retries among them; requests for tokens are not counted.
    pub calls: u64,
    /// Calls that had to be made again.
    pub retries: u64,
    /// Bytes of answers, unpacked.
    pub bytes: u64,
}

/// The pace of calls and of retries. Of spreadsheets one pair for each place and its limits in a process: runs that follow each
/// other, and those side by side, draw on one quota.
fn paces(host: &Host, scopes: &[&str], limits: Limits) -> Paces {
    static SHARED: Mutex<BTreeMap<Place, Paces>> = Mutex::new(BTreeMap::new());
    let Limits { reads_per_minute, retries_per_minute, .. } = limits;
    let made = || {
        let number = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        // A bucket that holds a quarter of the quota and is filled with the rest: no minute can see more than the quota.
        let burst = (reads_per_minute / 4).max(1);
        let rate = reads_per_minute.saturating_sub(burst).max(1);
        let calls = Quota::per_minute(number(rate)).allow_burst(number(burst));
        let retries = Quota::per_minute(number(retries_per_minute));
        (Arc::new(RateLimiter::direct(calls)), Arc::new(RateLimiter::direct(retries)))
    };
    if scopes == scope::CLOUD {
        return made();
    }
    let place = (host.other().map(str::to_owned), reads_per_minute, retries_per_minute);
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).entry(place).or_insert_with(made).clone()
}

/// Another address than Google's, calls a minute, retries a minute.
type Place = (Option<String>, u32, u32);
/// Of calls, and of retries.
type Paces = (Arc<DefaultDirectRateLimiter>, Arc<DefaultDirectRateLimiter>);

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            retries: self.retries + other.retries,
            bytes: self.bytes + other.bytes,
        }
    }
}

impl std::ops::Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            retries: self.retries.saturating_sub(before.retries),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }
}

/// What a call does, which decides how it may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing changes: any attempt that failed may be made again.
    Read,
    /// It costs money each time that it is carried out, and stands in a ledger: it is made once, and whoever makes it decides, and
    /// writes down, whether it is made again.
    Paid,
    /// As [`Effect::Paid`], but one of thousands: made again where the service itself refused, so that nothing was done.
    PaidAlong,
    /// Something may have changed although the answer says otherwise: only a refusal for quota is tried again.
    Write,
}

/// One call.
#[derive(Debug)]
pub struct Call<'a> {
    /// Which of Google's services, for people.
    pub service: &'static str,
    /// Its name for `gcloud services enable`.
    pub api: &'static str,
    /// What is asked for, for people.
    pub what: String,
    /// GET, POST, ...
    pub method: Method,
    /// The whole address.
    pub url: Url,
    /// A JSON body.
    pub body: Option<&'a Value>,
    /// Whether it changes anything.
    pub effect: Effect,
}

/// The client of one run.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    host: Host,
    credentials: Credentials,
    scopes: &'static [&'static str],
    limits: Limits,
    pace: Arc<DefaultDirectRateLimiter>,
    retry_budget: Arc<DefaultDirectRateLimiter>,
    until: Instant,
    calls: AtomicU64,
    retries: AtomicU64,
    bytes: AtomicU64,
}

/// How one attempt ended, if not well.
enum Ended {
    /// For good.
    Failed(GoogleError),
    /// It may be tried again, not before the pause that the service asked for.
    Again { reason: String, after: Option<Duration>, refused: bool },
}

impl Client {
    /// A client whose run begins now.
    ///
    /// # Errors
    /// An HTTP client that cannot be set up.
    pub fn new(
        host: Host,
        credentials: Credentials,
        scopes: &'static [&'static str],
        limits: Limits,
    ) -> Result<Self, GoogleError> {
        crate::tls::choose();
        let http = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(Duration::from_secs(20))
            // Google packs its answers for clients that also name gzip here.
            .user_agent(concat!("karute/", env!("CARGO_PKG_VERSION"), " (gzip)"))
            .build()
            .map_err(|error| GoogleError::Setup { detail: error.to_string() })?;
        let (pace, retry_budget) = paces(&host, scopes, limits);
        Ok(Self {
            http,
            host,
            credentials,
            scopes,
            limits,
            pace,
            retry_budget,
            until: Instant::now().checked_add(limits.deadline).unwrap_or_else(far_away),
            calls: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// Where the services are.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What was used up so far.
    pub fn usage(&self) -> Usage {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage { calls: of(&self.calls), retries: of(&self.retries), bytes: of(&self.bytes) }
    }

    /// Makes a call and returns the body of its answer as it comes. What failed is tried again only until the first byte.
    /// Dropping the stream ends the call.
    ///
    /// # Errors
    /// A refusal; a service that stays unavailable. Each item, a connection that broke.
    pub async fn open(
        &self,
        call: &Call<'_>,
    ) -> Result<BoxStream<'static, Result<Bytes, GoogleError>>, GoogleError> {
        let response = match tokio::time::timeout_at(self.until, self.persist(call, Self::send)).await {
            Ok(response) => response?,
            Err(_) => return Err(GoogleError::Deadline { seconds: self.limits.deadline.as_secs() }),
        };
        let (service, what) = (call.service, call.what.clone());
        let broken = move |error: reqwest::Error| GoogleError::Unavailable {
            service,
            what: what.clone(),
            attempts: 1,
            last: told(&error),
            refused: false,
            after: None,
        };
        Ok(response.bytes_stream().map(move |piece| piece.map_err(&broken)).boxed())
    }

    /// Makes a call and returns the body of its answer.
    ///
    /// # Errors
    /// A refusal; a service that stays unavailable; the end of the run's budget.
    pub async fn call(&self, call: &Call<'_>) -> Result<Bytes, GoogleError> {
        match tokio::time::timeout_at(self.until, self.persist(call, Self::attempt)).await {
            Ok(answer) => answer,
            Err(_) => Err(GoogleError::Deadline { seconds: self.limits.deadline.as_secs() }),
        }
    }

    /// Makes attempts until one succeeds, or no further one would help.
    async fn persist<'a, T>(
        &'a self,
        call: &'a Call<'a>,
        attempt: impl AsyncFn(&'a Self, &'a Call<'a>) -> Result<T, Ended>,
    ) -> Result<T, GoogleError> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(self.limits.first_pause)
            .with_max_delay(Duration::from_secs(60))
            .with_max_times(match call.effect {
                Effect::Paid => 0,
                Effect::Read | Effect::PaidAlong | Effect::Write => {
                    self.limits.attempts.saturating_sub(1) as usize
                }
            })
            .with_jitter()
            .build();
        let (mut attempts, mut all_refused) = (0, true);
        loop {
            attempts += 1;
            let (reason, after, refused) = match attempt(self, call).await {
                Ok(body) => return Ok(body),
                Err(Ended::Failed(error)) => return Err(error),
                Err(Ended::Again { reason, after, refused }) => (reason, after, refused),
            };
            all_refused &= refused;
            // A service that is in trouble is not asked ever more often because of it, nor before it wants to be.
            let too_long = after.is_some_and(|asked| asked > LONGEST_PAUSE);
            let in_budget = || !too_long && self.retry_budget.check().is_ok();
            let Some(pause) = pauses.next().filter(|_| in_budget()) else {
                let (service, what) = (call.service, call.what.clone());
                let last = match after {
                    Some(asked) if too_long => format!("{reason} (it asks for {} s)", asked.as_secs()),
                    _ => reason,
                };
                return Err(GoogleError::Unavailable {
                    service,
                    what,
                    attempts,
                    last,
                    refused: all_refused,
                    after,
                });
            };
            let pause = after.map_or(pause, |asked| asked.max(pause));
            tracing::warn!(
                service = call.service,
                reason,
                pause_ms = pause.as_millis() as u64,
                "a call is tried again"
            );
            self.retries.fetch_add(1, Ordering::Relaxed);
            RETRIES.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
        }
    }

    /// One attempt, up to the answer's headers, which say success.
    async fn send(&self, call: &Call<'_>) -> Result<Response, Ended> {
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.limits.max_calls {
            self.calls.fetch_sub(1, Ordering::Relaxed);
            return Err(Ended::Failed(GoogleError::TooManyCalls { limit: self.limits.max_calls }));
        }
        self.pace.until_ready().await;
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        if let Some(token) = self.credentials.token(self.scopes).await.map_err(Ended::Failed)? {
            request = request.bearer_auth(token.as_str());
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        if let Some(trace) = Trace::current() {
            request = request.header("traceparent", trace.to_string());
        }
        CALLS.fetch_add(1, Ordering::Relaxed);
        let mut response = request.send().await.map_err(|error| broken(call, &error))?;
        let (status, after) = (response.status(), retry_after(response.headers()));
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(call, &mut response).await?;
        Err(self.refusal(call, status, after, &Said::read(&body)))
    }

    /// One attempt, answer and all.
    async fn attempt(&self, call: &Call<'_>) -> Result<Bytes, Ended> {
        let mut response = self.send(call).await?;
        self.body(call, &mut response).await
    }

    /// The whole body of an answer.
    async fn body(&self, call: &Call<'_>, response: &mut Response) -> Result<Bytes, Ended> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(call, &error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                let (service, what) = (call.service, call.what.clone());
                return Err(Ended::Failed(GoogleError::TooLarge { service, what, limit: MOST_BYTES }));
            }
            body.extend_from_slice(&chunk);
        }
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        Ok(body.freeze())
    }

    /// What a status that is no success means.
    fn refusal(&self, call: &Call<'_>, status: StatusCode, after: Option<Duration>, said: &Said) -> Ended {
        let (service, what) = (call.service, call.what.clone());
        // What a model's service says of a refusal may quote the request, which holds records.
        let private = ["aiplatform", "discoveryengine"].iter().any(|api| call.api.starts_with(api));
        let message = if private { String::new() } else { said.message.clone() };
        let in_time = status == StatusCode::TOO_MANY_REQUESTS
            // Drive says 403 for its quotas.
            || said.has("rateLimitExceeded")
            || said.has("userRateLimitExceeded");
        let passing = matches!(status.as_u16(), 500 | 502 | 503 | 504);
        // Who is busy has done nothing; a gateway that lost patience cannot know.
        let nothing_done = in_time || status == StatusCode::SERVICE_UNAVAILABLE;
        let again = match call.effect {
            Effect::Read => in_time || passing,
            Effect::Paid | Effect::PaidAlong => nothing_done,
            Effect::Write => in_time,
        };
        if again {
            let reason = format!("{status} {message}").trim_end().to_owned();
            return Ended::Again { reason, after, refused: true };
        }
        Ended::Failed(match status.as_u16() {
            401 => GoogleError::Unauthorised { service },
            403 if said.has("SERVICE_DISABLED") || said.has("accessNotConfigured") => {
                GoogleError::Disabled { service, api: call.api }
            }
            403 if said.has("ACCESS_TOKEN_SCOPE_INSUFFICIENT") || said.has("insufficientPermissions") => {
                GoogleError::Scope { service, scopes: self.scopes.join(" ") }
            }
            403 if said.has("storageQuotaExceeded") => GoogleError::NoSpace,
            403 => GoogleError::Forbidden { service, what, message },
            404 => GoogleError::NotFound { service, what },
            _ if passing => GoogleError::Unavailable {
                service,
                what,
                attempts: 1,
                last: status.to_string(),
                refused: nothing_done,
                after: None,
            },
            _ => {
                let message = match message.is_empty() {
                    true => status.to_string(),
                    false => format!("{} {message}", said.status),
                };
                GoogleError::Refused { service, what, message }
            }
        })
    }
}

/// The end of a run that has none: a moment that can be counted to.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 3_600)
}

/// How a connection that broke ends an attempt. A request that never left is safe to repeat; of one that did, only a read
/// is.
fn broken(call: &Call<'_>, error: &reqwest::Error) -> Ended {
    match call.effect == Effect::Read || error.is_connect() {
        true => Ended::Again { reason: told(error), after: None, refused: error.is_connect() },
        false => Ended::Failed(GoogleError::Unavailable {
            service: call.service,
            what: call.what.clone(),
            attempts: 1,
            last: told(error),
            refused: false,
            after: None,
        }),
    }
}

/// A transport error with its causes; `reqwest` itself names only the first, and the address, which is long.
fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match error.is_timeout() {
        true => "no answer in time".into(),
        false => format!("the connection broke ({cause})"),
    }
}

/// `Retry-After`: seconds, or the moment (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Duration::try_from(moment - OffsetDateTime::now_utc()).ok()
}
