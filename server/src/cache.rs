//! What is kept in memory so that it need not be bought or found again: vectors of questions, search results, answers.
//!
//! Entries are found by a digest of everything that they depend on, the snapshot and the caller's rights among it, so that
//! another snapshot or another caller never meets them. Of several who ask for the same at once, one works and the others
//! wait for it. Nothing leaves the process.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use karute_engine::Embedding;
use moka::future::Cache;
use moka::notification::RemovalCause;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::answer::remembered::Remembered;
use crate::config::Settings;
use crate::retrieve::Retrieved;

/// Yen are counted in these: a short question costs some hundred thousandths of one.
const BILLIONTHS: f64 = 1e9;

/// A digest of everything that an entry depends on.
pub type Key = [u8; 32];

/// The key for these parts: each is told from the next by its length.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}

/// A value to be kept.
#[derive(Clone, Debug)]
pub struct Fresh<T> {
    /// The value.
    pub value: T,
    /// Bytes that it takes, about.
    pub bytes: usize,
    /// What it cost, yen: what each later use of it saves.
    pub yen: f64,
}

struct Kept<T> {
    value: T,
    bytes: u64,
    yen: f64,
    hits: AtomicU64,
    created_at: OffsetDateTime,
}

impl<T> Kept<T> {
    fn new(Fresh { value, bytes, yen }: Fresh<T>, created_at: OffsetDateTime) -> Self {
        Self { value, bytes: bytes as u64, yen, hits: AtomicU64::new(0), created_at }
    }
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    expired: AtomicU64,
    crowded_out: AtomicU64,
    /// Thousandths of a yen.
    saved: AtomicU64,
}

/// One kind of what is kept.
pub struct Namespace<T> {
    name: &'static str,
    ttl: Duration,
    /// `None` where nothing is kept.
    cache: Option<Cache<Key, Arc<Kept<T>>>>,
    counts: Arc<Counts>,
}

impl<T: Clone + Send + Sync + 'static> Namespace<T> {
    fn new(name: &'static str, enabled: bool, ttl: u64, settings: &Settings) -> Self {
        let counts: Arc<Counts> = Arc::default();
        let (entries, bytes) = (settings.cache_entries, settings.cache_bytes);
        // An entry weighs at least its share of the bytes, so that one bound keeps both.
        let least = u32::try_from(bytes.div_ceil(entries)).unwrap_or(u32::MAX);
        let noted = counts.clone();
        let build = || {
            Cache::builder()
                .name(name)
                .max_capacity(bytes)
                .weigher(move |_, kept: &Arc<Kept<T>>| {
                    u32::try_from(kept.bytes).unwrap_or(u32::MAX).max(least)
                })
                .time_to_live(Duration::from_secs(ttl))
                .eviction_listener(move |_, _, cause| {
                    match cause {
                        RemovalCause::Expired => noted.expired.fetch_add(1, Ordering::Relaxed),
                        RemovalCause::Size => noted.crowded_out.fetch_add(1, Ordering::Relaxed),
                        RemovalCause::Explicit | RemovalCause::Replaced => 0,
                    };
                })
                .build()
        };
        let ttl = Duration::from_secs(ttl);
        Self { name, ttl, cache: (enabled && settings.cache).then(build), counts }
    }

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.cache.is_some()
    }

    /// What is kept for `key`, or else what `make` makes, which is then kept; and whether it was there, or somebody else
    /// was making it.
    ///
    /// # Errors
    /// What `make` says; nothing is kept then.
    pub async fn get<E: Clone + Send + Sync + 'static>(
        &self,
        key: Key,
        now: OffsetDateTime,
        make: impl Future<Output = Result<Fresh<T>, E>>,
    ) -> Result<(T, bool), E> {
        let Some(cache) = &self.cache else { return Ok((make.await?.value, false)) };
        let make = async { Ok(Arc::new(Kept::new(make.await?, now))) };
        let entry =
            cache.entry(key).or_try_insert_with(make).await.map_err(|error: Arc<E>| (*error).clone())?;
        let hit = !entry.is_fresh();
        let kept = entry.into_value();
        self.count(hit.then_some(&kept));
        Ok((kept.value.clone(), hit))
    }

    /// What is kept for `key`.
    pub async fn look(&self, key: &Key) -> Option<T> {
        let kept = self.cache.as_ref()?.get(key).await;
        self.count(kept.as_ref());
        kept.map(|kept| kept.value.clone())
    }

    /// Keeps a value.
    pub async fn put(&self, key: Key, now: OffsetDateTime, fresh: Fresh<T>) {
        if let Some(cache) = &self.cache {
            cache.insert(key, Arc::new(Kept::new(fresh, now))).await;
        }
    }

    fn count(&self, hit: Option<&Arc<Kept<T>>>) {
        match hit {
            Some(kept) => {
                kept.hits.fetch_add(1, Ordering::Relaxed);
                self.counts.hits.fetch_add(1, Ordering::Relaxed);
                self.counts.saved.fetch_add((kept.yen * BILLIONTHS).round() as u64, Ordering::Relaxed);
            }
            None => {
                self.counts.misses.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn metrics(&self) -> Metrics {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (expired, lru_evictions) = (count(&self.counts.expired), count(&self.counts.crowded_out));
        let mut metrics = Metrics {
            hits: count(&self.counts.hits),
            misses: count(&self.counts.misses),
            evictions: expired + lru_evictions,
            lru_evictions,
            saved_jpy: count(&self.counts.saved) as f64 / BILLIONTHS,
            ..Metrics::default()
        };
        if let Some(cache) = &self.cache {
            cache.run_pending_tasks().await;
            for (_, kept) in cache {
                metrics.cache_size += 1;
                metrics.bytes += kept.bytes;
                metrics.total_hits_in_cache += count(&kept.hits);
            }
        }
        metrics.finish()
    }

    fn entries(&self, now: OffsetDateTime) -> Vec<CacheEntry> {
        let Some(cache) = &self.cache else { return Vec::new() };
        let entry = |(key, kept): (Arc<Key>, Arc<Kept<T>>)| {
            let expires_at = kept.created_at + self.ttl;
            let left = (expires_at - now).whole_seconds();
            let text = |moment: OffsetDateTime| {
                moment.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
            };
            CacheEntry {
                // A digest: the question itself is nobody's business.
                key: format!("{}:{}", self.name, &blake3::Hash::from(*key).to_hex()[..16]),
                hits: kept.hits.load(Ordering::Relaxed),
                bytes: kept.bytes,
                created_at: text(kept.created_at),
                expires_at: text(expires_at),
                ttl_remaining: left.max(0),
                is_expired: left <= 0,
            }
        };
        cache.iter().map(entry).collect()
    }

    async fn clear(&self) -> u64 {
        let Some(cache) = &self.cache else { return 0 };
        cache.run_pending_tasks().await;
        let held = cache.iter().count() as u64;
        cache.invalidate_all();
        cache.run_pending_tasks().await;
        held
    }
}

/// What became of the uses of a cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Metrics {
    /// Uses that were served from it.
    pub hits: u64,
    /// Uses that were not.
    pub misses: u64,
    /// Entries that it gave up: expired or crowded out.
    pub evictions: u64,
    /// Hits and misses.
    pub total_requests: u64,
    /// Entries that were crowded out.
    pub lru_evictions: u64,
    /// Hits per use, percent, two decimals.
    pub hit_rate: f64,
    /// Entries.
    pub cache_size: u64,
    /// Hits of the entries that it still holds.
    pub total_hits_in_cache: u64,
    /// Bytes of the entries, about.
    pub bytes: u64,
    /// Yen that hits saved: what the entries cost when they were made.
    pub saved_jpy: f64,
}

impl Metrics {
    fn finish(mut self) -> Self {
        self.total_requests = self.hits + self.misses;
        let share = self.hits as f64 / (self.total_requests.max(1)) as f64;
        self.hit_rate = (share * 1e4).round() / 1e2;
        self
    }

    fn with(self, other: &Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            evictions: self.evictions + other.evictions,
            lru_evictions: self.lru_evictions + other.lru_evictions,
            cache_size: self.cache_size + other.cache_size,
            total_hits_in_cache: self.total_hits_in_cache + other.total_hits_in_cache,
            bytes: self.bytes + other.bytes,
            saved_jpy: self.saved_jpy + other.saved_jpy,
            ..Self::default()
        }
        .finish()
    }
}

/// An entry, without what it holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CacheEntry {
    /// Its cache and the beginning of its digest.
    pub key: String,
    /// How often it was used.
    pub hits: u64,
    /// Bytes, about.
    pub bytes: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub expires_at: String,
    /// Seconds.
    pub ttl_remaining: i64,
    /// Whether it will never be used again.
    pub is_expired: bool,
}

/// Everything that is kept.
pub struct Caches {
    /// Vectors of questions; `None` for a question without a word.
    pub embeddings: Namespace<Option<Embedding>>,
    /// Search results.
    pub search_results: Namespace<Arc<Retrieved>>,
    /// Answers.
    pub answers: Namespace<Arc<Remembered>>,
}

impl Caches {
    /// Names of the caches, as `namespace` takes them.
    pub const NAMES: [&'static str; 3] = ["embeddings", "search_results", "answers"];

    /// Empty.
    pub fn new(settings: &Settings) -> Self {
        let [embeddings, search_results, answers] = Self::NAMES;
        Self {
            embeddings: Namespace::new(embeddings, true, settings.cache_embeddings_ttl, settings),
            search_results: Namespace::new(search_results, true, settings.cache_search_ttl, settings),
            answers: Namespace::new(answers, settings.cache_answers, settings.cache_answers_ttl, settings),
        }
    }

    /// All together, and each by its name.
    pub async fn metrics(&self) -> (Metrics, Vec<(&'static str, Metrics)>) {
        let each = vec![
            (self.embeddings.name, self.embeddings.metrics().await),
            (self.search_results.name, self.search_results.metrics().await),
            (self.answers.name, self.answers.metrics().await),
        ];
        let all = each.iter().fold(Metrics::default(), |all, (_, own)| all.with(own));
        (all, each)
    }

    /// Entries of the cache of this name, or of all; the most used first.
    pub fn entries(&self, namespace: Option<&str>, now: OffsetDateTime) -> Vec<CacheEntry> {
        let wanted = |name: &str| namespace.is_none_or(|namespace| namespace == name);
        let mut entries = Vec::new();
        if wanted(self.embeddings.name) {
            entries.extend(self.embeddings.entries(now));
        }
        if wanted(self.search_results.name) {
            entries.extend(self.search_results.entries(now));
        }
        if wanted(self.answers.name) {
            entries.extend(self.answers.entries(now));
        }
        entries.sort_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.key.cmp(&b.key)));
        entries
    }

    /// Empties the cache of this name, or all. How many entries there were.
    pub async fn clear(&self, namespace: Option<&str>) -> u64 {
        let wanted = |name: &str| namespace.is_none_or(|namespace| namespace == name);
        let mut cleared = 0;
        if wanted(self.embeddings.name) {
            cleared += self.embeddings.clear().await;
        }
        if wanted(self.search_results.name) {
            cleared += self.search_results.clear().await;
        }
        if wanted(self.answers.name) {
            cleared += self.answers.clear().await;
        }
        cleared
    }
}
