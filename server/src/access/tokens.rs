//! API tokens: for machines, with a role or scopes and an end. The database holds a digest, never a token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt;
use uuid::Uuid;

/// How every token begins, so that one is known wherever it turns up.
pub const PREFIX: &str = "kt_";

/// Whether a credential has the form of a token.
pub fn looks_like_one(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

/// A new token: its id, and what its holder is told, once.
pub fn fresh() -> (String, String) {
    let id = Uuid::new_v4().simple().to_string()[..12].to_owned();
    let token = format!("{PREFIX}{id}_{}", secret());
    (id, token)
}

/// 256 random bits.
pub fn secret() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The id in a token.
pub fn id(token: &str) -> Option<&str> {
    token.strip_prefix(PREFIX)?.split_once('_').map(|(id, _)| id)
}

/// What the database holds of a token. A token has 256 random bits, so that no slower digest would make it safer.
pub fn digest(token: &str) -> blake3::Hash {
    blake3::hash(token.as_bytes())
}
