//! Who saw whose records, in a chain that shows every change to it.
//!
//! Each run of each instance has a chain of its own; its first link holds the ends of all chains before it, and one each hour
//! those of the chains beside it, so that neither a chain nor the end of one can vanish without a trace. With
//! `KARUTE_AUDIT_KEY` digests are keyed, so that whoever can write to the database but has not the key cannot forge a chain
//! either.
//!
//! A link is kept before anything that it tells of is shown. Links that come together are kept together.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use karute_engine::Row;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::config::{AuditLevel, Secret, Settings};
use crate::retrieve::caller::{Caller, Scope};
use crate::state::{Database, Link, Sealed, StateError};

/// What the key of the chain is derived for.
const CONTEXT: &str = "karute 2026-11-26 audit chain";
/// What stands before the first link.
const GENESIS: &str = "";
/// The action of a chain's first link.
const BEGUN: &str = "chain_begun";
/// The action of a link that says where the chains beside it end.
const WITNESSED: &str = "chains_witnessed";

/// What somebody does with records.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// `search`, `ask`, `row`, ...
    pub action: &'static str,
    /// The question, if there was one.
    pub question: Option<&'a str>,
    /// The snapshot.
    pub snapshot: Option<String>,
    /// The answer.
    pub answer_id: Option<&'a str>,
    /// Clients that are named besides those of the rows.
    pub clients: Vec<String>,
}

/// Where the chain stands.
#[derive(Debug)]
struct End {
    chain: String,
    sequence: i64,
    digest: String,
}

type Waiting = (Link, oneshot::Sender<Result<(), Arc<StateError>>>);

/// The audit of one instance.
#[derive(Debug)]
pub struct Audit {
    level: AuditLevel,
    hasher: blake3::Hasher,
    waiting: Mutex<Vec<Waiting>>,
    end: tokio::sync::Mutex<Option<End>>,
    /// Where other chains ended when they were last told of.
    witnessed: Mutex<BTreeMap<String, i64>>,
}

/// A hasher with the key of the chain, if it has one.
fn hasher(key: &Secret) -> blake3::Hasher {
    match key.reveal() {
        Some(key) => blake3::Hasher::new_keyed(&blake3::derive_key(CONTEXT, key.as_bytes())),
        None => blake3::Hasher::new(),
    }
}

impl Audit {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        Self {
            level: settings.audit,
            hasher: hasher(&settings.audit_key),
            waiting: Mutex::default(),
            end: tokio::sync::Mutex::default(),
            witnessed: Mutex::default(),
        }
    }

    /// Where the chain stands: its name, its last place, and the digest there. Whoever notes that elsewhere can tell whether the
    /// end was cut off since.
    pub async fn end(&self) -> Option<(String, i64, String)> {
        self.end.lock().await.as_ref().map(|end| (end.chain.clone(), end.sequence, end.digest.clone()))
    }

    /// The link for what `caller` sees.
    pub fn link<'a>(
        &self,
        caller: &Caller,
        seen: &Seen<'_>,
        rows: impl Iterator<Item = &'a Row>,
        at: OffsetDateTime,
    ) -> Link {
        let (mut clients, mut ids): (BTreeSet<&str>, Vec<&str>) =
            (seen.clients.iter().map(String::as_str).collect(), Vec::new());
        for row in rows {
            ids.push(&row.id);
            clients.extend(Some(row.client_id.as_str()).filter(|client| !client.is_empty()));
        }
        let mut detail = Map::from_iter([("clients".into(), json!(clients))]);
        if self.level != AuditLevel::Minimal {
            detail.insert("rows".into(), json!(ids));
            let mut put = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    detail.insert(name.into(), value);
                }
            };
            put("snapshot", seen.snapshot.as_ref().map(|id| json!(id)));
            put("answer_id", seen.answer_id.map(|id| json!(id)));
            put("question", seen.question.filter(|_| self.level == AuditLevel::Full).map(|text| json!(text)));
            put(
                "question_digest",
                seen.question.map(|text| {
                    json!(self.hasher.clone().update(text.as_bytes()).finalize().to_hex().as_str())
                }),
            );
        }
        Link::new(at, &caller.name, caller.role.name(), seen.action, &Value::Object(detail))
    }

    /// Keeps a link; it is there when this returns.
    ///
    /// # Errors
    /// The database. Nothing that the link tells of may be shown then.
    pub async fn keep(&self, state: &Database, link: Link) -> Result<(), Arc<StateError>> {
        let (done, kept) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((link, done));
        // Whoever comes first keeps what all have brought by then; the others find theirs kept.
        let mut end = self.end.lock().await;
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !waiting.is_empty() {
            let (links, dones): (Vec<Link>, Vec<_>) = waiting.into_iter().unzip();
            let outcome = self.extend(state, &mut end, links).await.map_err(Arc::new);
            for done in dones {
                // Who no longer waits has shown nothing either.
                let _ = done.send(outcome.clone());
            }
        }
        drop(end);
        kept.await.unwrap_or_else(|_| {
            Err(Arc::new(StateError::Statement {
                action: "kept",
                detail: "the audit was interrupted".into(),
            }))
        })
    }

    /// Keeps a link that says where the chains beside this one end, if any has grown since the last one: what they hold by then
    /// cannot be cut off without a trace. Nothing before this chain has begun.
    ///
    /// # Errors
    /// The database.
    pub async fn witness(&self, state: &Database, at: OffsetDateTime) -> Result<(), Arc<StateError>> {
        let Some((own, ..)) = self.end().await else { return Ok(()) };
        let ends = state.ends().await.map_err(Arc::new)?.into_iter().filter(|end| end.chain != own);
        let ends: Vec<Sealed> = ends.collect();
        {
            let mut witnessed = self.witnessed.lock().unwrap_or_else(PoisonError::into_inner);
            // A chain that has told of others and no more is not told of again for that, or two would go on for ever.
            let is_known = |end: &Sealed| {
                let own_telling = i64::from(end.link.action == WITNESSED);
                let known = witnessed.get(&end.chain);
                known.is_some_and(|&known| known == end.sequence || known + own_telling == end.sequence)
            };
            if ends.iter().all(is_known) {
                return Ok(());
            }
            *witnessed = ends.iter().map(|end| (end.chain.clone(), end.sequence)).collect();
        }
        let ends: Map<String, Value> =
            ends.into_iter().map(|end| (end.chain, json!([end.sequence, end.digest]))).collect();
        self.keep(state, Link::new(at, "karute", "system", WITNESSED, &json!({ "chains": ends }))).await
    }

    /// Adds links to the chain, which begins with the first.
    async fn extend(
        &self,
        state: &Database,
        end: &mut Option<End>,
        links: Vec<Link>,
    ) -> Result<(), StateError> {
        let (mut last, mut sealed) = match end.take() {
            Some(end) => (end, Vec::new()),
            None => {
                let chain = Uuid::new_v4().to_string();
                let mut known = HashSet::new();
                for begun in state.beginnings().await? {
                    known.extend(ends_in(&begun));
                }
                // An end that a chain before this one holds already need not be held again.
                let before: Map<String, Value> = state
                    .ends()
                    .await?
                    .into_iter()
                    .filter(|end| !known.contains(&(end.chain.clone(), end.sequence, end.digest.clone())))
                    .map(|end| (end.chain, json!([end.sequence, end.digest])))
                    .collect();
                let at = links.first().map_or(OffsetDateTime::UNIX_EPOCH, |link| link.at);
                let link = Link::new(at, "karute", "system", BEGUN, &json!({ "chains": before }));
                let digest = link.digest(&self.hasher, &chain, 0, GENESIS);
                let first = Sealed { chain: chain.clone(), sequence: 0, link, digest: digest.clone() };
                (End { chain, sequence: 0, digest }, vec![first])
            }
        };
        for link in links {
            last.sequence += 1;
            last.digest = link.digest(&self.hasher, &last.chain, last.sequence, &last.digest);
            let (chain, sequence, digest) = (last.chain.clone(), last.sequence, last.digest.clone());
            sealed.push(Sealed { chain, sequence, link, digest });
        }
        // After a failure, or if this is dropped half way, nobody knows whether the links stand in the database: `end` is
        // empty then, and another chain begins.
        state.append(&sealed).await?;
        *end = Some(last);
        Ok(())
    }
}

/// A link that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Broken {
    /// The chain.
    pub chain: String,
    /// The place in it.
    pub sequence: i64,
    /// What is wrong.
    pub fault: &'static str,
}

/// The ends of other chains that a link holds.
fn ends_in(telling: &Sealed) -> Vec<(String, i64, String)> {
    let detail = serde_json::from_str::<Value>(&telling.link.detail).unwrap_or_default();
    let chains = detail["chains"].as_object().cloned().unwrap_or_default();
    let end = |(chain, end): (String, Value)| {
        (chain, end[0].as_i64().unwrap_or(-1), end[1].as_str().unwrap_or_default().to_owned())
    };
    chains.into_iter().map(end).collect()
}

/// Every place where the chains are broken: for each chain the first link that does not hold, and links that a later chain
/// knows of and that are not there.
pub fn verify(links: &[Sealed], key: &Secret) -> Vec<Broken> {
    let hasher = hasher(key);
    let mut broken = Vec::new();
    for chain in links.chunk_by(|a, b| a.chain == b.chain) {
        let mut previous = GENESIS;
        for (place, sealed) in (0..).zip(chain) {
            let fault = if sealed.sequence != place {
                "a link before it is missing"
            } else if sealed.link.digest(&hasher, &sealed.chain, sealed.sequence, previous) != sealed.digest {
                "it was changed, or the one before it"
            } else {
                previous = &sealed.digest;
                continue;
            };
            broken.push(Broken { chain: sealed.chain.clone(), sequence: place, fault });
            break;
        }
    }
    let there: HashSet<(&str, i64, &str)> =
        links.iter().map(|link| (link.chain.as_str(), link.sequence, link.digest.as_str())).collect();
    let tells_of_ends = |sealed: &&Sealed| {
        [(BEGUN, true), (WITNESSED, false)].contains(&(&sealed.link.action, sealed.sequence == 0))
    };
    for telling in links.iter().filter(tells_of_ends) {
        for (chain, sequence, digest) in ends_in(telling) {
            if !there.contains(&(chain.as_str(), sequence, digest.as_str())) {
                broken.push(Broken { chain, sequence, fault: "it is missing, or was replaced" });
            }
        }
    }
    broken.sort_by(|a, b| (&a.chain, a.sequence).cmp(&(&b.chain, b.sequence)));
    broken.dedup();
    broken
}

/// The clients that a link tells of.
fn clients_of(link: &Link) -> Vec<String> {
    let detail = serde_json::from_str::<Value>(&link.detail).unwrap_or_default();
    let clients = detail["clients"].as_array().into_iter().flatten();
    clients.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a link tells of this client. One that somebody has damaged does where it holds the name at all.
pub fn tells_of(link: &Link, client: &str) -> bool {
    let is_whole = serde_json::from_str::<IgnoredAny>(&link.detail).is_ok();
    clients_of(link).iter().any(|known| known == client) || (!is_whole && link.detail.contains(client))
}

/// Leaves of a link what `caller` may know: whoever may not see everybody, neither the question, which may name anybody, nor
/// the rows.
pub fn narrow(link: &mut Link, caller: &Caller) {
    if caller.clients != Scope::All || caller.domains != Scope::All {
        let known: Vec<_> =
            clients_of(link).into_iter().filter(|client| caller.may_see_all([client])).collect();
        link.detail = json!({ "clients": known }).to_string();
    }
}
