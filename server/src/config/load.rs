//! Finding values, and reporting everything that is wrong with them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::dotenv::{self, BadLine};
use super::legacy::LEGACY;
use super::value::{Environment, Value};
use super::{Described, Settings};

/// Texts that were given for settings, and where.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    layers: Vec<(String, BTreeMap<String, String>)>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

/// Where a value in force came from.
pub type Given = String;

/// A setting that cannot be taken as it was given. Never holds the value, which may be a secret pasted by mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, or the file.
    pub name: String,
    /// Where it was given.
    pub given: Given,
    /// What is wrong, and what is expected.
    pub fault: String,
}

/// All problems of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} {} wrong:", if count == 1 { "setting is" } else { "settings are" })?;
        for Problem { name, given, fault } in &self.0 {
            write!(f, "\n  {name} (from {given}) {fault}")?;
        }
        Ok(())
    }
}

/// Settings in force, with where each came from and what the operator should know about them.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each value came from, in the order of [`Settings::ALL`].
    pub given: Vec<Given>,
    /// One line for each setting that is not, or not wholly, honoured.
    pub warnings: Vec<String>,
}

impl Sources {
    /// Nothing is given: every setting has its default.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a layer that gives way to all earlier ones.
    #[must_use]
    pub fn then(
        mut self,
        given: impl Into<Given>,
        values: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        self.layers.push((given.into(), upper_case(values)));
        self
    }

    /// The layers of a program start: `--set` values, environment, `.env`, TOML file.
    pub fn of_process(overrides: &[(String, String)], config: Option<&Path>) -> Self {
        // Variables that are not Unicode cannot be settings of ours; their names are all ASCII.
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let config =
            config.map(PathBuf::from).or_else(|| environment.get("KARUTE_CONFIG").map(PathBuf::from));
        let mut sources =
            Self::none().then("--set", overrides.iter().cloned()).then("the environment", environment);
        sources.add_dotenv(Path::new(".env"));
        if let Some(path) = config.filter(|path| !path.as_os_str().is_empty()) {
            sources.add_toml(&path);
        }
        sources
    }

    /// Adds a `.env` file, if there is one.
    pub fn add_dotenv(&mut self, path: &Path) {
        let given = path.display().to_string();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.fail(given, format!("cannot be read: {error}")),
        };
        let (values, bad) = dotenv::parse(&String::from_utf8_lossy(&bytes));
        for BadLine(number) in bad {
            // The line itself is not shown: it may hold a secret.
            self.warnings.push(format!("line {number} of {given} is not NAME=value and was passed over"));
        }
        self.layers.push((given, upper_case(values)));
    }

    /// Adds a TOML file, whose keys are setting names in lower case.
    pub fn add_toml(&mut self, path: &Path) {
        let given = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.fail(given, format!("cannot be read: {error}")),
        };
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let error: toml::de::Error = error;
                return self.fail(given, format!("is not TOML: {}", error.message()));
            }
        };
        let mut values = BTreeMap::new();
        for (key, value) in table {
            let name = key.to_uppercase();
            if !known(&name) {
                self.fail(given.clone(), format!("has the unknown key {key:?}"));
            }
            // Numbers, truths and lists are written as JSON writes them, which is how settings are read.
            let text = match serde_json::to_value(value) {
                Ok(serde_json::Value::String(text)) => text,
                Ok(other) => other.to_string(),
                Err(error) => {
                    return self.fail(given, format!("has a value that is none of a setting: {error}"));
                }
            };
            values.insert(name, text);
        }
        self.layers.push((given, values));
    }

    fn fail(&mut self, name: Given, fault: String) {
        self.problems.push(Problem { given: name.clone(), name, fault });
    }

    /// The first layer that gives `name`.
    fn find(&self, name: &str) -> Option<(&Given, &str)> {
        self.layers.iter().find_map(|(given, values)| values.get(name).map(|value| (given, value.as_str())))
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// Every wrong value together.
    pub fn load(self) -> Result<Loaded, Invalid> {
        let mut reader = Reader { sources: &self, problems: self.problems.clone(), given: Vec::new() };
        let settings = Settings::read(&mut reader);
        reader.problems.extend(settings.as_ref().and_then(open_production));
        for (given, values) in &self.layers {
            for name in values.keys().filter(|name| name.starts_with("KARUTE_") && !known(name)) {
                let fault = "is no setting: `karute config` lists them all".to_owned();
                reader.problems.push(Problem { name: name.clone(), given: given.clone(), fault });
            }
        }
        match settings {
            Some(settings) if reader.problems.is_empty() => {
                let mut warnings = self.warnings.clone();
                warnings.extend(self.legacy_warnings());
                if self
                    .find("ALLOWED_ORIGINS")
                    .or(self.find("CORS_ORIGINS"))
                    .is_some_and(|(_, t)| t.contains('*'))
                {
                    warnings
                        .push("* in ALLOWED_ORIGINS is not honoured: name the origins that may call".into());
                }
                Ok(Loaded { settings, given: reader.given, warnings })
            }
            _ => Err(Invalid(reader.problems)),
        }
    }

    /// One warning for each variable of the replaced system that is given and not read.
    fn legacy_warnings(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.layers.iter().flat_map(|(_, values)| values.keys()).collect();
        let warning = |name: &String| {
            let legacy = LEGACY.iter().find(|legacy| !known(name) && legacy.matches(name))?;
            Some(format!("{name} is {}", legacy.successor))
        };
        names.into_iter().filter_map(warning).collect()
    }
}

/// Records in production are never open, not even to this machine alone, where a proxy may stand before it: whoever wants
/// that must say that it is no production.
fn open_production(settings: &Settings) -> Option<Problem> {
    let open =
        settings.require_authentication == Some(false) && settings.environment == Environment::Production;
    open.then(|| Problem {
        name: "REQUIRE_AUTHENTICATION".into(),
        given: "ENVIRONMENT".into(),
        fault: "must not be false where ENVIRONMENT is production".into(),
    })
}

/// Whether a name is one that this build understands.
fn known(name: &str) -> bool {
    name == "KARUTE_CONFIG"
        || Settings::ALL.iter().any(|setting| setting.name == name || setting.aliases.contains(&name))
}

/// Names are taken without case, as the replaced system took them; of two spellings the upper case one wins.
fn upper_case(values: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut folded: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in values {
        let upper = name.to_uppercase();
        if upper == name {
            folded.insert(upper, value);
        } else {
            folded.entry(upper).or_insert(value);
        }
    }
    folded
}

/// Reads settings one by one and collects what is wrong.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    problems: Vec<Problem>,
    given: Vec<Given>,
}

impl Reader<'_> {
    pub(super) fn value<T: Value>(
        &mut self,
        setting: &Described,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> Option<T> {
        let names = || std::iter::once(&setting.name).chain(setting.aliases);
        // An empty text is a value only where the type has an empty value; elsewhere it is as good as not given.
        let given = |(_, text): &(&Given, &str)| !text.trim().is_empty() || T::parse(text).is_ok();
        let found = names().find_map(|name| Some((*name, self.sources.find(name).filter(given)?)));
        let (name, given, text) = match found {
            Some((name, (given, text))) => (name, given.clone(), text),
            None => (setting.name, "default".to_owned(), setting.default),
        };
        let parsed = T::parse(text).and_then(|value| check(&value).map(|()| value));
        self.given.push(given.clone());
        parsed.map_err(|fault| self.problems.push(Problem { name: name.to_owned(), given, fault })).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(values: &[(&str, &str)]) -> Sources {
        Sources::none().then("a test", values.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn defaults_are_valid_and_read_back_as_they_are_shown() {
        let loaded = Sources::none().load().expect("defaults");
        let shown = loaded.settings.shown();
        let again: Vec<(&str, &str)> =
            Settings::ALL.iter().zip(&shown).map(|(setting, value)| (setting.name, value.as_str())).collect();
        assert_eq!(from(&again).load().expect("what was shown").settings, loaded.settings);
    }

    #[test]
    fn all_wrong_values_are_named_together_and_never_shown() {
        let wrong = from(&[
            ("PORT", "99999"),
            ("LOG_LEVEL", "s3cret"),
            ("REQUEST_TIMEOUT", "0"),
            ("KARUTE_DATADIR", "x"),
        ]);
        let Invalid(problems) = wrong.load().expect_err("four wrong values");
        let mut names: Vec<&str> = problems.iter().map(|problem| problem.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["KARUTE_DATADIR", "LOG_LEVEL", "PORT", "REQUEST_TIMEOUT"]);
        assert!(!Invalid(problems).to_string().contains("s3cret"));
    }

    #[test]
    fn an_earlier_layer_wins_and_an_alias_gives_way_to_the_name() {
        let sources = from(&[("PORT", "1"), ("CORS_ORIGINS", "http://old")])
            .then("later", [("PORT".into(), "2".into()), ("ALLOWED_ORIGINS".into(), "http://new".into())]);
        let loaded = sources.load().expect("valid");
        assert_eq!(loaded.settings.port, 1);
        assert_eq!(loaded.settings.allowed_origins.0, ["http://new"]);
    }

    #[test]
    fn sign_in_is_required_in_production_and_where_it_is_asked_for() {
        let required =
            |values: &[(&str, &str)]| from(values).load().expect("valid").settings.sign_in_required();
        assert!(!required(&[]));
        assert!(required(&[("ENVIRONMENT", "production"), ("HOST", "0.0.0.0")]));
        assert!(required(&[("REQUIRE_AUTHENTICATION", "true")]));
        for host in ["0.0.0.0", "127.0.0.1"] {
            let open = [("HOST", host), ("REQUIRE_AUTHENTICATION", "false"), ("ENVIRONMENT", "production")];
            let Invalid(problems) = from(&open).load().expect_err("records that are open");
            assert_eq!(problems[0].name, "REQUIRE_AUTHENTICATION");
        }
        assert!(
            from(&[("REQUIRE_AUTHENTICATION", "ture")]).load().is_err(),
            "what cannot be read is no choice"
        );
    }

    #[test]
    fn a_short_key_is_refused_without_being_shown() {
        let Invalid(problems) = from(&[("ADMIN_API_KEY", "hunter2")]).load().expect_err("a short key");
        assert!(problems[0].fault.contains("karute keygen") && !problems[0].fault.contains("hunter2"));
    }

    #[test]
    fn an_empty_value_is_as_good_as_none_unless_it_means_something() {
        let loaded = from(&[("PORT", ""), ("ALLOWED_ORIGINS", "")]).load().expect("valid");
        assert_eq!(loaded.settings.port, 8000);
        assert!(loaded.settings.allowed_origins.0.is_empty());
    }

    #[test]
    fn a_toml_file_gives_values_in_lower_case_and_unknown_keys_are_errors() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("karute.toml");
        std::fs::write(&path, "port = 9\nallowed_origins = [\"https://a.example\"]\n").expect("written");
        let mut sources = Sources::none();
        sources.add_toml(&path);
        let loaded = sources.load().expect("valid");
        assert_eq!(loaded.settings.port, 9);
        assert_eq!(loaded.settings.allowed_origins.0, ["https://a.example"]);

        std::fs::write(&path, "prot = 9\n").expect("written");
        let mut sources = Sources::none();
        sources.add_toml(&path);
        assert!(sources.load().expect_err("a typo").to_string().contains("\"prot\""));
    }

    #[test]
    fn a_broken_env_file_is_named_without_its_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(".env");
        std::fs::write(&path, "PORT=7\nADMIN_API_KEY s3cret\n").expect("written");
        let mut sources = Sources::none();
        sources.add_dotenv(&path);
        let message = sources.load().expect("the other lines are sound").warnings.join(" ");
        assert!(message.contains("line 2") && !message.contains("s3cret"), "{message}");
    }
}
