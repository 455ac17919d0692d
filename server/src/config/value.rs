//! Values that settings can have: how they are written and read.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use karute_engine::lexical::FIELDS;
use karute_engine::{LexicalSettings, Precision};
use karute_sync::bucket::{BucketUrl, Endpoint};
use karute_sync::google::Host;
use karute_sync::source::SheetNames;
use serde_json::{Map, json};

use crate::access::role::Role;

/// A type of setting.
pub trait Value: Sized {
    /// Reads a value; the error says what was expected.
    ///
    /// # Errors
    /// A text that is no such value.
    fn parse(text: &str) -> Result<Self, String>;

    /// The value as one would write it.
    fn show(&self) -> String;
}

macro_rules! plain {
    ($($type:ty, $expected:literal;)*) => {$(
        impl Value for $type {
            fn parse(text: &str) -> Result<Self, String> {
                <$type>::from_str(text.trim()).map_err(|_| concat!("must be ", $expected).to_owned())
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

impl Value for IpAddr {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "localhost" => Ok(Self::V4(std::net::Ipv4Addr::LOCALHOST)),
            text => text.parse().map_err(|_| "must be an IP address such as 127.0.0.1 or 0.0.0.0".into()),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

plain! {
    u32, "a whole number";
    u16, "a whole number, 0 to 65535";
    f64, "a number";
    i64, "a whole number";
    u64, "a whole number";
    usize, "a whole number";
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("must be true or false".into()),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl<T: Value> Value for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(String::new, T::show)
    }
}

impl Value for BucketUrl {
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|fault: karute_sync::bucket::UrlFault| fault.to_string())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Endpoint {
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|fault: karute_sync::bucket::UrlFault| fault.to_string())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Precision {
    fn parse(text: &str) -> Result<Self, String> {
        let named = |precision: &Self| precision.name() == text.trim().to_lowercase();
        Self::ALL.into_iter().find(named).ok_or_else(|| "must be f32 or f16".into())
    }
    fn show(&self) -> String {
        self.name().into()
    }
}

impl Value for LexicalSettings {
    fn parse(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for part in text.split_whitespace() {
            let (name, number) = part.split_once('=').ok_or_else(|| format!("{part:?} is no name=number"))?;
            let number: f32 = number.parse().map_err(|_| format!("{part:?} is no name=number"))?;
            match name {
                "k1" => settings.k1 = number,
                "b" => settings.b = [number; FIELDS],
                _ => match WORDS.iter().position(|field| *field == name) {
                    Some(field) => settings.weight[field] = number,
                    None => return Err(format!("{name:?} is none of k1, b, {}", WORDS.join(", "))),
                },
            }
        }
        settings.fault().map_or(Ok(settings), Err)
    }
    fn show(&self) -> String {
        let weights = WORDS.iter().zip(self.weight).map(|(name, weight)| format!(" {name}={weight}"));
        format!("k1={} b={}{}", self.k1, self.b[0], weights.collect::<String>())
    }
}

/// The fields whose words are searched.
const WORDS: [&str; FIELDS] = ["title", "content", "tags", "keywords"];

impl Value for Host {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }
    fn show(&self) -> String {
        self.other().unwrap_or_default().to_owned()
    }
}

/// The id of a Google spreadsheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadsheetId(pub String);

impl Value for SpreadsheetId {
    fn parse(text: &str) -> Result<Self, String> {
        let id = text.trim();
        match id.len() >= 8 && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            true => Ok(Self(id.to_owned())),
            false => Err("must be the part of the spreadsheet's address between /d/ and /edit".into()),
        }
    }
    fn show(&self) -> String {
        self.0.clone()
    }
}

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $first:literal $(| $other:literal)*;)* } $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl Value for $name {
            fn parse(text: &str) -> Result<Self, String> {
                match text.trim().to_lowercase().as_str() {
                    $($first $(| $other)* => Ok(Self::$variant),)*
                    _ => Err(concat!("must be ", $expected).into()),
                }
            }
            fn show(&self) -> String {
                match self { $(Self::$variant => $first.into(),)* }
            }
        }
    };
}

choices! {
    /// Where the program runs.
    Environment {
        /// On somebody's desk.
        Development = "development" | "dev";
        /// A rehearsal.
        Staging = "staging";
        /// Where real records are.
        Production = "production" | "prod";
    }
    "development, staging or production"
}

choices! {
    /// Least important messages that are logged.
    LogLevel {
        /// Everything that helps to find a fault. May be chatty, holds no record text either.
        Debug = "debug" | "trace" | "notset";
        /// What happened.
        Info = "info";
        /// What somebody should look at.
        Warn = "warning" | "warn";
        /// What failed.
        Error = "error" | "critical" | "fatal";
    }
    "DEBUG, INFO, WARNING or ERROR"
}

choices! {
    /// How much of a question the audit keeps.
    AuditLevel {
        /// Who saw whose records when.
        Minimal = "minimal";
        /// Which rows, too, and a digest of the question.
        Metadata = "metadata";
        /// The question itself, too.
        Full = "full";
    }
    "minimal, metadata or full"
}

choices! {
    /// Where records come from.
    SourceKind {
        /// The spreadsheet if one is named and no workbook is, else the workbook.
        Auto = "auto";
        /// A file, a folder, or the sample.
        Workbook = "workbook";
        /// A Google spreadsheet.
        Sheets = "sheets";
    }
    "workbook, sheets or auto"
}

choices! {
    /// What turns texts into vectors.
    EmbedderKind {
        /// Google's model for a spreadsheet, the local one otherwise.
        Auto = "auto";
        /// The local one.
        Lexical = "lexical";
        /// Google's model.
        Vertex = "vertex";
    }
    "lexical, vertex or auto"
}

choices! {
    /// What puts found records in their last order.
    RerankerKind {
        /// This machine.
        Local = "local";
        /// Nothing: the mix of both arms stays.
        None = "none";
        /// Google's ranking.
        Vertex = "vertex";
    }
    "local, vertex or none"
}

choices! {
    /// What turns evidence into answers.
    AnswererKind {
        /// A Gemini model.
        Vertex = "vertex";
        /// A model behind OpenAI's chat interface.
        OpenAi = "openai";
        /// Quotations, on this machine.
        Extractive = "extractive";
    }
    "vertex, openai or extractive"
}

/// What turns evidence into answers, in the order in which it is asked; empty for what fits the other settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answerers(pub Vec<AnswererKind>);

impl Value for Answerers {
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "auto" {
            return Ok(Self::default());
        }
        let kinds: Vec<AnswererKind> = text.split(',').map(AnswererKind::parse).collect::<Result<_, _>>()?;
        Ok(Self(kinds))
    }

    fn show(&self) -> String {
        match self.0.as_slice() {
            [] => "auto".into(),
            kinds => kinds.iter().map(Value::show).collect::<Vec<_>>().join(","),
        }
    }
}

impl Value for Role {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be admin, care_manager, nurse or readonly".into())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// A list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Value for Names {
    fn parse(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(Self(names.map(str::to_owned).collect()))
    }
    fn show(&self) -> String {
        self.0.join(",")
    }
}

/// A text that nobody is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for where it is needed; `None` if it is empty.
    pub fn reveal(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

impl Value for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.trim().to_owned()))
    }

    /// Three stars, whatever it is.
    fn show(&self) -> String {
        if self.0.is_empty() { String::new() } else { "***".into() }
    }
}

/// A list of web origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(pub Vec<String>);

impl Value for Origins {
    fn parse(text: &str) -> Result<Self, String> {
        let listed: Vec<String> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(|error| format!("is not a JSON list of texts: {error}"))?
        } else {
            text.split(',').map(str::to_owned).collect()
        };
        let origins = listed.iter().map(|origin| origin.trim().trim_end_matches('/').to_owned());
        // `*`, which the replaced system took, would open records to every page on the web: it is left out, and whoever
        // loads the settings warns of it.
        let origins: Vec<String> = origins.filter(|origin| !origin.is_empty() && origin != "*").collect();
        match origins.iter().find(|origin| !is_origin(origin)) {
            Some(_) => Err("must be a list of origins such as https://example.com".into()),
            None => Ok(Self(origins)),
        }
    }
    fn show(&self) -> String {
        self.0.join(",")
    }
}

/// Scheme, host and perhaps a port; nothing behind.
fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|host| {
        !host.is_empty()
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'))
    })
}

impl Value for SheetNames {
    fn parse(text: &str) -> Result<Self, String> {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let given: Map<String, serde_json::Value> = serde_json::from_str(text).map_err(|error| {
            format!("is not a JSON object such as {{\"knowledge_base\":\"KnowledgeBase\"}}: {error}")
        })?;
        let mut names = Self::default();
        for (key, value) in given {
            let name = match key.as_str() {
                "knowledge_base" => &mut names.knowledge_base,
                "embeddings" => &mut names.embeddings,
                "medical_terms" => &mut names.medical_terms,
                "clients" => &mut names.clients,
                "chat_history" => &mut names.chat_history,
                _ => return Err(format!("has the unknown key {key:?}")),
            };
            match value.as_str() {
                Some(text) if !text.is_empty() => text.clone_into(name),
                _ => return Err(format!("{key:?} must be the name of a sheet")),
            }
        }
        Ok(names)
    }
    fn show(&self) -> String {
        let Self { knowledge_base, embeddings, medical_terms, clients, chat_history } = self;
        json!({
            "knowledge_base": knowledge_base,
            "embeddings": embeddings,
            "medical_terms": medical_terms,
            "clients": clients,
            "chat_history": chat_history,
        })
        .to_string()
    }
}
