//! What a production needs, checked for real: by `karute preflight`, and, as far as safety goes, before the server starts.

mod online;
mod settings;

pub use online::online;
pub use settings::safety;

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// It works, but somebody should look at it.
    Warn,
    /// It does not work, or is not safe.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found. Never a secret.
    pub detail: String,
    /// What mends it; empty where nothing need be.
    pub mend: String,
}

impl Check {
    /// As it should be.
    fn pass(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Pass, detail: detail.into(), mend: String::new() }
    }

    /// Somebody should look at it.
    fn warn(name: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, detail: detail.into(), mend: mend.into() }
    }

    /// Not as it should be.
    fn fail(name: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, detail: detail.into(), mend: mend.into() }
    }
}
