//! Whoever gives ID tokens out: an emulator of Google's published keys, and a pen to sign tokens with, rightly or wrongly.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

/// Keys made for these tests and used nowhere else.
const ONE: &[u8] = include_bytes!("../keys/one.pkcs8");
const TWO: &[u8] = include_bytes!("../keys/two.pkcs8");

/// A key pair.
pub struct Pen {
    /// The name of the key.
    pub kid: &'static str,
    pair: RsaKeyPair,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Pen {
    /// The first key.
    ///
    /// # Panics
    /// A key that is none.
    pub fn one() -> Self {
        Self { kid: "one", pair: RsaKeyPair::from_pkcs8(ONE).expect("a key") }
    }

    /// The second key.
    ///
    /// # Panics
    /// A key that is none.
    pub fn two() -> Self {
        Self { kid: "two", pair: RsaKeyPair::from_pkcs8(TWO).expect("a key") }
    }

    fn parts(&self) -> PublicKeyComponents<Vec<u8>> {
        PublicKeyComponents::from(self.pair.public())
    }

    /// The public key, as it is published.
    pub fn published(&self) -> Value {
        let parts = self.parts();
        json!({ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": self.kid, "n": encoded(parts.n), "e": encoded(parts.e) })
    }

    /// A token with this header and these claims.
    ///
    /// # Panics
    /// A signature that cannot be made.
    pub fn sign(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let random = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("signed");
        format!("{message}.{}", encoded(signature))
    }

    /// A token as it should be.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "RS256", "typ": "JWT", "kid": self.kid }), claims)
    }

    /// A token signed by HS256 with the public key as its secret: the trick that fools careless verifiers.
    pub fn hs256(&self, claims: &Value) -> String {
        let head = json!({ "alg": "HS256", "typ": "JWT", "kid": self.kid });
        let message = format!("{}.{}", encoded(head.to_string()), encoded(claims.to_string()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.parts().n);
        format!("{message}.{}", encoded(ring::hmac::sign(&key, message.as_bytes())))
    }
}

/// The published keys, at an address.
pub struct Issuer {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    down: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    /// Publishes these keys.
    ///
    /// # Panics
    /// A port that cannot be had.
    pub async fn start(pens: &[&Pen]) -> Self {
        let keys = Arc::new(Mutex::new(pens.iter().map(|pen| pen.published()).collect::<Vec<_>>()));
        let (down, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let handler = {
            let (keys, down, asked) = (keys.clone(), down.clone(), asked.clone());
            move || {
                asked.fetch_add(1, Ordering::SeqCst);
                let body = json!({ "keys": *keys.lock().expect("a lock") }).to_string();
                let is_down = down.load(Ordering::SeqCst);
                async move {
                    match is_down {
                        true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                        false => ([(header::CACHE_CONTROL, "public, max-age=600")], body).into_response(),
                    }
                }
            }
        };
        let app = Router::new()
            .route("/service_accounts/v1/jwk/{who}", get(handler.clone()))
            .route("/oauth2/v3/certs", get(handler));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, keys, down, asked }
    }

    /// Publishes other keys.
    ///
    /// # Panics
    /// A lock that was poisoned.
    pub fn publish(&self, pens: &[&Pen]) {
        *self.keys.lock().expect("a lock") = pens.iter().map(|pen| pen.published()).collect();
    }

    /// Answers no more, or again.
    pub fn is_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How often the keys were asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
