//! ID tokens of Firebase and of Google (OpenID Connect Core 1.0, 3.1.3.7): RS256, held against the keys that Google
//! publishes, audience, issuer, time, and whom the house knows.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use karute_sync::google::{GoogleError, Host};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::people::{People, Person};
use super::role::Role;
use super::signature;
use crate::config::Settings;
use crate::error::Failure;
use crate::retrieve::caller::Caller;

/// Seconds that clocks may differ by.
const SKEW: i64 = 60;
/// How long keys are good if Google does not say, and at most.
const KEYS_FOR: Duration = Duration::from_secs(3600);
/// How long keys that could not be fetched again are still used.
const KEYS_AT_MOST: Duration = Duration::from_secs(24 * 3600);
/// A key that is not known is looked for again, but not more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long Google's keys are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest list of keys that is read.
const MOST_BYTES: usize = 1 << 20;

/// Whether a credential has the form of a token: three parts.
pub fn looks_like_one(credential: &str) -> bool {
    credential.split('.').count() == 3
}

/// Whoever gives tokens out.
#[derive(Debug)]
struct Issuer {
    names: Vec<String>,
    audiences: Vec<String>,
    keys: Keys,
}

/// Verifies ID tokens.
#[derive(Debug)]
pub struct IdTokens {
    issuers: Vec<Issuer>,
    people: People,
    domains: Vec<String>,
    default_role: Option<Role>,
}

/// What a token says. Anything else in it is passed over.
#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    exp: i64,
    iat: i64,
    #[serde(default)]
    nbf: Option<i64>,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    email_verified: bool,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    clients: Option<BTreeSet<String>>,
    #[serde(default)]
    domains: Option<BTreeSet<String>>,
}

impl IdTokens {
    /// As the settings say; `None` where no one gives tokens out.
    ///
    /// # Errors
    /// An HTTP client that cannot be set up.
    pub(super) fn of(settings: &Settings, people: People) -> Result<Option<Self>, GoogleError> {
        signature::choose();
        let host = &settings.google_endpoint;
        let mut issuers = Vec::new();
        if !settings.firebase_project.is_empty() {
            let project = settings.firebase_project.clone();
            issuers.push(Issuer {
                names: vec![format!("https://securetoken.google.com/{project}")],
                audiences: vec![project],
                keys: Keys::at(host, "/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com")?,
            });
        }
        if !settings.google_clients.0.is_empty() {
            issuers.push(Issuer {
                names: vec!["https://accounts.google.com".into(), "accounts.google.com".into()],
                audiences: settings.google_clients.0.clone(),
                keys: Keys::at(host, "/oauth2/v3/certs")?,
            });
        }
        let domains = settings.allowed_domains.0.iter().map(|domain| domain.to_lowercase()).collect();
        let tokens = Self { issuers, people, domains, default_role: settings.default_role };
        Ok((!tokens.issuers.is_empty()).then_some(tokens))
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// [`Failure::Unauthorised`] for a token that does not hold, [`Failure::Forbidden`] for somebody who has no role here,
    /// [`Failure::SignIn`] where Google's keys cannot be had.
    pub async fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Caller, Failure> {
        let invalid = || Failure::Unauthorised("Invalid ID token");
        let header = decode_header(token).map_err(|_| invalid())?;
        let (Algorithm::RS256, Some(kid)) = (header.alg, header.kid) else { return Err(invalid()) };
        // What a token declares to be critical must be understood (RFC 7515, 4.1.11), and nothing of that kind is here.
        if header.crit.is_some() {
            return Err(invalid());
        }
        // Who says to have given it out decides whose keys are asked, and nothing more: the keys decide the rest.
        let claimed: Claims =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| invalid())?;
        let issuer =
            self.issuers.iter().find(|issuer| issuer.names.contains(&claimed.iss)).ok_or_else(invalid)?;
        let key = issuer.keys.find(&kid).await?.ok_or_else(invalid)?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| invalid())?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&issuer.audiences);
        validation.set_issuer(&issuer.names);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are held against the clock of the app, which tests can stop.
        validation.validate_exp = false;
        let claims: Claims = decode(token, &key, &validation).map_err(|_| invalid())?.claims;
        let now = now.unix_timestamp();
        if claims.exp.saturating_add(SKEW) < now {
            return Err(Failure::Unauthorised("Token expired"));
        }
        let early = claims.iat.saturating_sub(SKEW) > now;
        if early || claims.nbf.is_some_and(|from| from.saturating_sub(SKEW) > now) || claims.sub.is_empty() {
            return Err(invalid());
        }
        self.place(claims)
    }

    /// What somebody who is who he says may do here.
    fn place(&self, claims: Claims) -> Result<Caller, Failure> {
        let email = claims.email.trim().to_ascii_lowercase();
        if !claims.email_verified || email.is_empty() {
            return Err(Failure::Forbidden);
        }
        let person = match self.people.find(&email) {
            Some(person) => person.clone(),
            // Somebody whom the file does not name must be of an allowed domain.
            None => {
                let domain = email.rsplit('@').next().unwrap_or_default();
                if !self.domains.iter().any(|allowed| allowed == domain) {
                    return Err(Failure::Forbidden);
                }
                // A role that is not known here is no reason to give another, which may see more.
                let claimed =
                    claims.role.map(|role| role.parse().map_err(|_| Failure::Forbidden)).transpose()?;
                let role = claimed.or(self.default_role).ok_or(Failure::Forbidden)?;
                Person {
                    email: email.clone(),
                    role,
                    clients: claims.clients,
                    domains: claims.domains,
                    unowned: false,
                }
            }
        };
        Ok(person.caller(email))
    }
}

/// Keys that are published somewhere, and change. Cheap to clone.
#[derive(Clone, Debug)]
struct Keys(Arc<Published>);

#[derive(Debug)]
struct Published {
    http: karute_sync::google::Plain,
    url: String,
    held: std::sync::Mutex<Held>,
    fetching: Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    keys: Vec<Jwk>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    good_for: Duration,
}

impl Held {
    fn find(&self, kid: &str) -> Option<Jwk> {
        self.keys.iter().find(|key| key.common.key_id.as_deref() == Some(kid)).cloned()
    }

    fn is_fresh(&self) -> bool {
        self.fetched.is_some_and(|when| when.elapsed() < self.good_for)
    }

    fn is_usable(&self) -> bool {
        self.fetched.is_some_and(|when| when.elapsed() < KEYS_AT_MOST)
    }

    fn may_look(&self) -> bool {
        self.tried.is_none_or(|when| when.elapsed() >= LOOK_EVERY)
    }
}

impl Keys {
    fn at(host: &Host, path: &str) -> Result<Self, GoogleError> {
        Ok(Self(Arc::new(Published {
            http: karute_sync::google::Plain::new(PATIENCE)?,
            url: format!("{}{path}", host.of("https://www.googleapis.com")),
            held: std::sync::Mutex::default(),
            fetching: Mutex::default(),
        })))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of this name. A key that is known is given at once, and looked for again beside that once it is old; only for
    /// one that is not known are the published keys waited for. A flood of tokens with invented keys costs one call in
    /// [`LOOK_EVERY`].
    ///
    /// # Errors
    /// [`Failure::SignIn`] where there are none, or only ones that are too old.
    async fn find(&self, kid: &str) -> Result<Option<Jwk>, Failure> {
        let (found, fresh, usable, may_look) = {
            let held = self.held();
            (held.find(kid), held.is_fresh(), held.is_usable(), held.may_look())
        };
        match found.filter(|_| usable) {
            Some(key) if fresh || !may_look => return Ok(Some(key)),
            Some(key) => {
                self.look();
                return Ok(Some(key));
            }
            // Whoever goes away meanwhile does not take the keys of the others along.
            None if may_look => drop(self.look().await),
            // Whoever comes while somebody looks waits for what is found.
            None => drop(self.0.fetching.lock().await),
        }
        let held = self.held();
        match held.is_usable() {
            true => Ok(held.find(kid)),
            false => Err(Failure::SignIn),
        }
    }

    /// Fetches the keys beside whoever asks.
    fn look(&self) -> tokio::task::JoinHandle<()> {
        let keys = self.clone();
        tokio::spawn(async move { keys.fetch().await })
    }

    /// Fetches the keys, unless somebody else has just done so.
    async fn fetch(&self) {
        let _one = self.0.fetching.lock().await;
        {
            let mut held = self.held();
            if !held.may_look() {
                return;
            }
            held.tried = Some(Instant::now());
        }
        let url = &self.0.url;
        match self.0.http.get(url, MOST_BYTES).await {
            Ok((body, good_for)) => match serde_json::from_slice::<JwkSet>(&body) {
                Ok(set) => {
                    let mut held = self.held();
                    held.keys = set.keys;
                    held.fetched = Some(Instant::now());
                    held.good_for = good_for.unwrap_or(KEYS_FOR).min(KEYS_FOR);
                }
                Err(_) => tracing::error!(url, "what came is no list of keys for ID tokens"),
            },
            Err(error) => tracing::error!(url, %error, "the keys for ID tokens cannot be fetched"),
        }
    }
}
