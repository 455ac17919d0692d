//! The admin key, and the one before it while it is being replaced.

use crate::config::Settings;

/// Digests of the keys. Digests are all of one length and [`blake3::Hash`] compares in constant time, so that how long a
/// comparison takes says nothing of a key.
#[derive(Debug)]
pub(super) struct Keys(Vec<blake3::Hash>);

impl Keys {
    pub(super) fn of(settings: &Settings) -> Self {
        let keys = [&settings.admin_key, &settings.admin_key_previous];
        Self(
            keys.into_iter().filter_map(|key| key.reveal()).map(|key| blake3::hash(key.as_bytes())).collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn holds(&self, credential: &str) -> bool {
        let given = blake3::hash(credential.as_bytes());
        // Every key is looked at, whichever fits.
        self.0.iter().fold(false, |found, key| found | (*key == given))
    }
}
