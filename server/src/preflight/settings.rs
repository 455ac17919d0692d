//! What can be told from the settings alone. A production does not start where one of these fails.

use super::Check;
use crate::access::people::People;
use crate::config::{Environment, LogLevel, RerankerKind, Settings};
use crate::setup;

/// Characters of a key that nobody guesses: 32 random bytes in hexadecimal have 64, `karute keygen` gives 43.
const STRONG: usize = 32;
/// Different characters of one: 32 random hexadecimal digits hardly ever have fewer.
const DIFFERENT: usize = 6;

/// Checks of the settings.
pub fn safety(settings: &Settings) -> Vec<Check> {
    vec![
        environment(settings),
        admin_key(settings),
        sign_in(settings),
        origins(settings),
        tls(settings),
        log_level(settings),
        region(settings),
        state_store(settings),
        budget(settings),
        audit(settings),
    ]
}

fn environment(settings: &Settings) -> Check {
    match settings.environment {
        Environment::Production => Check::pass("environment", "production"),
        _ => Check::warn("environment", "not production", "ENVIRONMENT=production"),
    }
}

/// Either key opens every door that a credential opens, whether those of admins are there or not.
fn admin_key(settings: &Settings) -> Check {
    let name = "admin key";
    let keys =
        [("ADMIN_API_KEY", &settings.admin_key), ("ADMIN_API_KEY_PREVIOUS", &settings.admin_key_previous)];
    let weak =
        keys.iter().find_map(|(name, key)| key.reveal().filter(|key| is_weak(key)).map(|key| (name, key)));
    match (weak, settings.admin_key.reveal()) {
        (Some((key, weak)), _) => Check::fail(
            name,
            format!("{key} can be guessed: {} characters", weak.chars().count()),
            format!("{key}=$(karute keygen)"),
        ),
        (None, None) if settings.admin_endpoints => Check::warn(
            name,
            "ADMIN_API_KEY not configured: only a token of an admin opens /admin and the caches",
            "ADMIN_API_KEY=$(karute keygen), or ENABLE_ADMIN_ENDPOINTS=false",
        ),
        (None, None) => Check::pass(name, "none, and admin endpoints are switched off"),
        (None, Some(_)) => Check::pass(name, "set, and long enough"),
    }
}

/// Whether a key can be guessed: it is short, or of few different characters.
fn is_weak(key: &str) -> bool {
    let different: std::collections::BTreeSet<char> = key.chars().collect();
    key.chars().count() < STRONG || different.len() < DIFFERENT
}

fn sign_in(settings: &Settings) -> Check {
    let name = "sign-in";
    let people = !settings.firebase_project.is_empty() || !settings.google_clients.0.is_empty();
    match (settings.sign_in_required(), people) {
        (false, _) if settings.host.is_loopback() => Check::warn(
            name,
            "not required, but only this machine can connect",
            "REQUIRE_AUTHENTICATION=true",
        ),
        (false, _) => Check::fail(
            name,
            "not required: every record is open to the network",
            "REQUIRE_AUTHENTICATION=true",
        ),
        (true, true) if settings.people.is_none() && settings.allowed_domains.0.is_empty() => Check::warn(
            name,
            "required; ID tokens are taken, but nobody who has one has a role here",
            "KARUTE_PEOPLE=people.toml, or KARUTE_ALLOWED_DOMAINS=... with KARUTE_DEFAULT_ROLE=...",
        ),
        (true, true) => match People::load(settings.people.as_deref()) {
            Ok(_) => Check::pass(name, "required; ID tokens and API tokens are taken"),
            Err(error) => Check::fail(name, error.to_string(), "KARUTE_PEOPLE"),
        },
        (true, false) => Check::warn(
            name,
            "required; only API tokens are taken, since no project gives out ID tokens",
            "FIREBASE_PROJECT_ID=..., or `karute token create` for each machine",
        ),
    }
}

fn origins(settings: &Settings) -> Check {
    let name = "origins";
    let origins = &settings.allowed_origins.0;
    let local = |origin: &&String| {
        ["http://localhost", "http://127.0.0.1", "http://[::1]"].iter().any(|own| origin.starts_with(own))
    };
    if let Some(plain) = origins.iter().find(|origin| origin.starts_with("http://") && !local(origin)) {
        return Check::fail(name, format!("{plain} is not encrypted"), "ALLOWED_ORIGINS=https://...");
    }
    match origins.iter().find(local) {
        Some(origin) => {
            Check::warn(name, format!("{origin} may call the API"), "ALLOWED_ORIGINS=https://your-domain")
        }
        None => Check::pass(name, if origins.is_empty() { "none".into() } else { origins.join(", ") }),
    }
}

fn tls(settings: &Settings) -> Check {
    let name = "TLS";
    match () {
        () if !settings.cloud_run.is_empty() => Check::pass(name, "Cloud Run ends it"),
        () if settings.host.is_loopback() => {
            Check::pass(name, "only this machine can connect: a proxy must end it")
        }
        () => Check::warn(
            name,
            format!("karute listens on {} without it", settings.host),
            "HOST=127.0.0.1 behind deploy/proxy, or a firewall that lets only the proxy in",
        ),
    }
}

fn log_level(settings: &Settings) -> Check {
    match settings.log_level {
        LogLevel::Debug => Check::fail("log level", "DEBUG is for a developer's machine", "LOG_LEVEL=INFO"),
        level => Check::pass("log level", format!("{level:?}")),
    }
}

fn region(settings: &Settings) -> Check {
    let name = "region";
    match settings.gcp_location.as_str() {
        _ if !setup::is_paid(settings) && settings.gcp_project.is_empty() => {
            Check::pass(name, "no model elsewhere is asked")
        }
        "global" => Check::warn(
            name,
            "global: questions and records may leave the country",
            "GCP_LOCATION=asia-northeast1",
        ),
        _ if settings.reranker == RerankerKind::Vertex => Check::warn(
            name,
            "Google's Ranking API is global: questions and records may leave the country",
            "KARUTE_RERANKER=local",
        ),
        location => Check::pass(name, location),
    }
}

fn state_store(settings: &Settings) -> Check {
    let name = "state store";
    match (settings.database.reveal().is_some(), settings.cloud_run.is_empty()) {
        (true, _) => Check::pass(name, "PostgreSQL: fit for several instances"),
        (false, false) => Check::fail(
            name,
            "a file that ends with this instance of Cloud Run: ledger, audit and conversations with it",
            "DATABASE_URL=postgres://...",
        ),
        (false, true) => Check::pass(name, "an SQLite file: fit for one instance"),
    }
}

fn budget(settings: &Settings) -> Check {
    let (day, month) = (settings.yen_per_day, settings.yen_per_month);
    match () {
        () if day <= 0.0 || month <= 0.0 => Check::warn(
            "budget",
            "no paid model may be asked",
            "KARUTE_YEN_PER_DAY=..., KARUTE_YEN_PER_MONTH=...",
        ),
        () if day > month => Check::warn(
            "budget",
            format!("a day may cost {day} yen, a month {month}"),
            "KARUTE_YEN_PER_DAY below KARUTE_YEN_PER_MONTH",
        ),
        () => Check::pass(
            "budget",
            format!("{day} yen a day, {month} a month, {} a caller's day", settings.yen_per_caller),
        ),
    }
}

fn audit(settings: &Settings) -> Check {
    match settings.audit_key.reveal() {
        Some(key) if is_weak(key) => {
            Check::fail("audit", "KARUTE_AUDIT_KEY can be guessed", "KARUTE_AUDIT_KEY=$(karute keygen)")
        }
        Some(_) => Check::pass("audit", "its chain has a key"),
        None => Check::warn(
            "audit",
            "its chain has no key: whoever can write to the database could forge it",
            "KARUTE_AUDIT_KEY=$(karute keygen)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::preflight::Verdict;

    fn verdict(name: &str, given: &[(&str, &str)]) -> Verdict {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let settings = Sources::none().then("a test", given).load().expect("valid").settings;
        let checks = safety(&settings);
        let check = checks.iter().find(|check| check.name == name).expect("a check");
        assert_eq!(
            check.verdict == Verdict::Pass,
            check.mend.is_empty(),
            "what is wrong can be mended: {check:?}"
        );
        check.verdict
    }

    #[test]
    fn every_check_can_pass_and_can_find_something() {
        use Verdict::{Fail, Pass, Warn};
        let strong = "x0123456789012345678901234567890123456789";
        for (name, given, expected) in [
            ("environment", &[("ENVIRONMENT", "production")][..], Pass),
            ("environment", &[], Warn),
            ("admin key", &[("ADMIN_API_KEY", strong)], Pass),
            ("admin key", &[("ENABLE_ADMIN_ENDPOINTS", "false")], Pass),
            (
                "admin key",
                &[("ENABLE_ADMIN_ENDPOINTS", "false"), ("ADMIN_API_KEY", "sixteen letters.")],
                Fail,
            ),
            ("admin key", &[("ADMIN_API_KEY", strong), ("ADMIN_API_KEY_PREVIOUS", "sixteen letters.")], Fail),
            ("admin key", &[], Warn),
            ("admin key", &[("ADMIN_API_KEY", "sixteen letters.")], Fail),
            ("admin key", &[("ADMIN_API_KEY", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")], Fail),
            (
                "sign-in",
                &[
                    ("REQUIRE_AUTHENTICATION", "true"),
                    ("FIREBASE_PROJECT_ID", "house"),
                    ("KARUTE_ALLOWED_DOMAINS", "house.example"),
                    ("KARUTE_DEFAULT_ROLE", "nurse"),
                ],
                Pass,
            ),
            ("sign-in", &[("REQUIRE_AUTHENTICATION", "true"), ("FIREBASE_PROJECT_ID", "house")], Warn),
            (
                "sign-in",
                &[
                    ("REQUIRE_AUTHENTICATION", "true"),
                    ("FIREBASE_PROJECT_ID", "house"),
                    ("KARUTE_PEOPLE", "/nowhere.toml"),
                ],
                Fail,
            ),
            ("sign-in", &[("REQUIRE_AUTHENTICATION", "true")], Warn),
            ("sign-in", &[], Warn),
            ("sign-in", &[("HOST", "0.0.0.0")], Fail),
            ("origins", &[("ALLOWED_ORIGINS", "https://a.example")], Pass),
            ("origins", &[], Warn),
            ("origins", &[("ALLOWED_ORIGINS", "http://a.example")], Fail),
            ("TLS", &[], Pass),
            ("TLS", &[("HOST", "0.0.0.0"), ("K_SERVICE", "karute")], Pass),
            ("TLS", &[("HOST", "0.0.0.0")], Warn),
            ("log level", &[], Pass),
            ("log level", &[("LOG_LEVEL", "DEBUG")], Fail),
            ("region", &[("GCP_PROJECT_ID", "p")], Pass),
            ("region", &[("GCP_PROJECT_ID", "p"), ("GCP_LOCATION", "global")], Warn),
            ("region", &[("GCP_PROJECT_ID", "p"), ("KARUTE_RERANKER", "vertex")], Warn),
            ("state store", &[], Pass),
            ("state store", &[("K_SERVICE", "karute"), ("DATABASE_URL", "postgres://h/n")], Pass),
            ("state store", &[("K_SERVICE", "karute")], Fail),
            ("budget", &[], Pass),
            ("budget", &[("KARUTE_YEN_PER_DAY", "9000")], Warn),
            ("budget", &[("KARUTE_YEN_PER_DAY", "0")], Warn),
            ("audit", &[("KARUTE_AUDIT_KEY", strong)], Pass),
            ("audit", &[("KARUTE_AUDIT_KEY", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")], Fail),
            ("audit", &[], Warn),
        ] {
            assert_eq!(verdict(name, given), expected, "{name} {given:?}");
        }
    }
}
