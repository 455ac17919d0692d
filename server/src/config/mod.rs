//! Every setting: its name, meaning, default and check, in one table.
//!
//! A value comes from the first of: `--set NAME=VALUE`, the environment, `.env` in the working directory, the TOML
//! file of `--config` or `KARUTE_CONFIG`, the default. All wrong values are reported together.

mod dotenv;
mod legacy;
mod load;
mod value;

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::PathBuf;

use karute_engine::{LexicalSettings, Precision};
use karute_sync::bucket::{BucketUrl, Endpoint};
use karute_sync::google::Host;
use karute_sync::source::SheetNames;

use crate::access::role::Role;

pub use legacy::{LEGACY, Legacy};
pub use load::{Given, Invalid, Loaded, Problem, Sources};
pub use value::{
    AnswererKind, Answerers, AuditLevel, EmbedderKind, Environment, LogLevel, Names, Origins, RerankerKind,
    Secret, SourceKind, SpreadsheetId, Value,
};

/// What is known about a setting besides its value.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its name in the environment; in a TOML file the same in lower case.
    pub name: &'static str,
    /// Other names that are understood, from the system that karute replaces.
    pub aliases: &'static [&'static str],
    /// The default, as one would write it.
    pub default: &'static str,
    /// Meaning, unit and range.
    pub meaning: &'static str,
}

macro_rules! settings {
    ($($field:ident: $type:ty = $name:literal $(or $alias:literal)*, default $default:literal, $check:expr, $meaning:literal;)*) => {
        /// The settings in force.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings { $(#[doc = $meaning] pub $field: $type,)* }

        impl Settings {
            /// Every setting, in the order of this file.
            pub const ALL: &[Described] = &[$(Described {
                name: $name, aliases: &[$($alias),*], default: $default, meaning: $meaning,
            },)*];

            fn read(given: &mut load::Reader<'_>) -> Option<Self> {
                $(let $field = given.value::<$type>(&Described {
                    name: $name, aliases: &[$($alias),*], default: $default, meaning: $meaning,
                }, $check);)*
                Some(Self { $($field: $field?,)* })
            }

            /// The values in force as one would write them, in the order of [`Settings::ALL`].
            pub fn shown(&self) -> Vec<String> {
                vec![$(self.$field.show(),)*]
            }
        }
    };
}

/// No further check.
fn any<T>(_: &T) -> Result<(), String> {
    Ok(())
}

/// A number from `low` to `high`.
fn within<T: PartialOrd + std::fmt::Display>(low: T, high: T) -> impl Fn(&T) -> Result<(), String> {
    move |value| match *value >= low && *value <= high {
        true => Ok(()),
        false => Err(format!("must be {low} to {high}")),
    }
}

/// A key that cannot be guessed, or none.
fn long_or_none(key: &Secret) -> Result<(), String> {
    match key.reveal() {
        Some(key) if key.len() < 16 => {
            Err("must have at least 16 characters: `karute keygen` makes one".into())
        }
        _ => Ok(()),
    }
}

fn not_empty<T: AsRef<OsStr>>(text: &T) -> Result<(), String> {
    if text.as_ref().is_empty() { Err("must not be empty".into()) } else { Ok(()) }
}

settings! {
    data_dir: PathBuf = "KARUTE_DATA_DIR", default "karute-data", not_empty,
        "Directory of the snapshot store; created if it is missing, readable by its owner alone";
    workbook: Option<PathBuf> = "KARUTE_WORKBOOK", default "", any,
        "Workbook to serve: an .xlsx file or a folder of .csv files; empty for the built-in sample";
    bucket: Option<BucketUrl> = "KARUTE_BUCKET", default "", any,
        "Bucket of snapshots, gs://bucket/prefix, s3://bucket/prefix or file:///path: a start pulls from it and then serves what the store holds, and syncs only if KARUTE_WORKBOOK is set too; empty for none";
    bucket_endpoint: Option<Endpoint> = "KARUTE_BUCKET_ENDPOINT", default "", any,
        "Another address for the service behind KARUTE_BUCKET, such as http://127.0.0.1:9000; empty for Google's or Amazon's own";
    bucket_deadline: u64 = "KARUTE_BUCKET_DEADLINE", default "60", within(1, 3600),
        "Seconds that a start which has a local copy waits for the bucket before it serves that copy, 1 to 3600";
    pull_every: u64 = "KARUTE_PULL_EVERY", default "0", within(0, 86_400),
        "Seconds between two looks of the server at the pointer of KARUTE_BUCKET, 0 for none to 86400: what it names is pulled, and all but the two newest snapshots on this disk are removed";
    bucket_keep: usize = "KARUTE_BUCKET_KEEP", default "30", within(1, 100_000),
        "Snapshots that `karute sync --push` leaves in the bucket, 1 to 100000: the newest, and the current one in any case";
    sheets: SheetNames = "VECTOR_DB_SHEETS", default "{}", any,
        "Names of the sheets, JSON with the keys knowledge_base, embeddings, medical_terms, clients, chat_history";
    source: SourceKind = "KARUTE_SOURCE", default "auto", any,
        "Where records come from: workbook (KARUTE_WORKBOOK or the sample), sheets (VECTOR_DB_SPREADSHEET_ID), or auto: sheets if a spreadsheet is named and no workbook";
    spreadsheet: Option<SpreadsheetId> = "VECTOR_DB_SPREADSHEET_ID", default "", any,
        "Google spreadsheet that holds the records: the part of its address between /d/ and /edit";
    google_endpoint: Host = "KARUTE_GOOGLE_ENDPOINT", default "", any,
        "Another address for all of Google's APIs, such as an emulator's; empty for Google's own";
    google_anonymous: bool = "KARUTE_GOOGLE_ANONYMOUS", default "false", any,
        "Whether calls to KARUTE_GOOGLE_ENDPOINT go out without a token: true or false; never to Google";
    google_key: Option<PathBuf> = "GOOGLE_APPLICATION_CREDENTIALS", default "", any,
        "Service-account key file; empty for the user's credentials, the metadata server or gcloud, whichever is found first";
    reads_per_minute: u32 = "KARUTE_SHEETS_READS_PER_MINUTE", default "50", within(1, 10_000),
        "Read requests that a sync makes in any minute, 1 to 10000; Google gives an account 60";
    payload_bytes: usize = "KARUTE_SHEETS_PAYLOAD_BYTES", default "2000000", within(10_000, 32 << 20),
        "About how many bytes one answer of Google Sheets may have, 10000 to 33554432; Google advises 2 MB";
    sync_max_calls: u64 = "KARUTE_SYNC_MAX_CALLS", default "2000", within(1, 1_000_000),
        "Calls that one sync may make, retries among them, 1 to 1000000";
    sync_deadline: u64 = "KARUTE_SYNC_DEADLINE", default "3600", within(1, 86_400),
        "Seconds that one sync may take, 1 to 86400";
    full_pass_hours: u64 = "KARUTE_FULL_PASS_HOURS", default "24", within(0, 8_760),
        "Hours after which a sync reads every vector again, 0 (each time) to 8760: an edit of vector cells alone is seen only then";
    sync_every: u64 = "KARUTE_SYNC_EVERY", default "0", within(0, 86_400),
        "Seconds between two syncs that the server does itself, 0 for none to 86400; `karute sync` as a job is the better way";
    embedder: EmbedderKind = "KARUTE_EMBEDDER", default "auto", any,
        "What turns texts into vectors: lexical (on this machine, by wording), vertex (Google), or auto: vertex if records come from a spreadsheet";
    vectors: Precision = "KARUTE_VECTORS", default "f32", any,
        "Bits of each number of a vector in a snapshot: f32, or f16, which takes half the room and rounds to 11 significant bits";
    words: LexicalSettings = "KARUTE_BM25", default "k1=0.9 b=0.75 title=2.5 content=1 tags=1 keywords=1", any,
        "How a sync weighs words (BM25F): k1 more than 0, b 0 to 1, and what a word in each field is worth, 0 or more; what is not named keeps its default";
    recall_questions: Option<PathBuf> = "KARUTE_RECALL_QUESTIONS", default "", any,
        "File of real questions, one a line, on which the recall that a snapshot promises is measured too; empty for its own records alone";
    gcp_project: String = "GCP_PROJECT_ID", default "", any,
        "Google Cloud project that pays for the model";
    gcp_location: String = "GCP_LOCATION", default "asia-northeast1", not_empty,
        "Where the model runs, such as asia-northeast1; global only if you say so, since it may leave the country";
    embedding_model: String = "VERTEX_AI_EMBEDDINGS_MODEL", default "gemini-embedding-001", not_empty,
        "Embedding model; must be the one that made the vectors of the spreadsheet";
    embedding_dimensions: u32 = "VERTEX_AI_EMBEDDINGS_DIMENSION", default "3072", within(1, 16_384),
        "Numbers in a vector of that model, 1 to 16384";
    reranker: RerankerKind = "KARUTE_RERANKER", default "local", any,
        "What puts found records in their last order: local (on this machine), vertex (Google's ranking, whose only location is global), or none: the mix of both arms as it is";
    reranker_model: String = "RERANKER_MODEL", default "semantic-ranker-default-004", not_empty,
        "Model of KARUTE_RERANKER=vertex";
    models: Option<PathBuf> = "KARUTE_MODELS", default "", any,
        "Table of models with their limits and prices (TOML); empty for the one of this version";
    embed_max_yen: f64 = "KARUTE_EMBED_MAX_YEN", default "500", within(0.0, 10_000_000.0),
        "Most yen that one `karute sync --embed-missing` may spend, 0 to 10000000";
    backup_folder: String = "KARUTE_BACKUP_FOLDER", default "", any,
        "Id of the shared-drive folder that copies of the spreadsheet go to; empty for the copier's own space, which a service account lacks";
    backup_user: String = "KARUTE_BACKUP_USER", default "", any,
        "User of the domain as whom a service account copies, by domain-wide delegation; empty for itself";
    backup_keep: usize = "KARUTE_BACKUP_KEEP", default "14", within(1, 10_000),
        "Copies in Drive that stay whatever their age, the newest, 1 to 10000";
    backup_days: u64 = "KARUTE_BACKUP_DAYS", default "30", within(0, 36_500),
        "Days that every copy in Drive stays, 0 to 36500";
    usd_jpy: f64 = "USD_JPY", default "155", within(1.0, 10_000.0),
        "Yen of a US dollar, 1 to 10000";
    host: IpAddr = "HOST", default "127.0.0.1", any,
        "Address to listen on; 0.0.0.0 for every network";
    port: u16 = "PORT", default "8000", any,
        "TCP port to listen on, 0 to 65535; 0 lets the system choose";
    environment: Environment = "ENVIRONMENT", default "development", any,
        "development, staging or production";
    log_level: LogLevel = "LOG_LEVEL", default "INFO", any,
        "Least important messages to log: DEBUG, INFO, WARNING, ERROR";
    max_lost: f64 = "KARUTE_MAX_LOST_ROWS", default "0.2", within(0.0, 1.0),
        "Largest share of the rows before that a new snapshot may lack, 0 to 1; beyond it is not published";
    max_quarantine_growth: f64 = "KARUTE_MAX_QUARANTINE_GROWTH", default "0.1", within(0.0, 1.0),
        "Largest growth of the quarantine that is published, as a share of the rows read, 0 to 1";
    app_name: String = "APP_NAME", default "karute", not_empty,
        "Name that GET / shows";
    app_description: String = "APP_DESCRIPTION", default "訪問看護の記録に、出典を付けて答えます。", any,
        "Description that GET / shows";
    allowed_origins: Origins = "ALLOWED_ORIGINS" or "CORS_ORIGINS", default "http://localhost:3000", any,
        "Web origins that may call the API: a comma list or a JSON list; empty for none";
    cors_credentials: bool = "CORS_CREDENTIALS", default "true", any,
        "Whether browsers may send credentials from those origins: true or false";
    search_top_k: usize = "SEARCH_FINAL_TOP_K", default "10", within(1, 50),
        "Rows that a search returns unless the request says how many, 1 to 50";
    answerers: Answerers = "KARUTE_ANSWERERS", default "auto", any,
        "What answers, in the order in which it is asked: a list of vertex (a Gemini model), openai (KARUTE_OPENAI_URL) and extractive (quotes records, on this machine); auto: vertex if GCP_PROJECT_ID is set and records come from a spreadsheet, else extractive";
    generation_model: String = "VERTEX_AI_GENERATION_MODEL", default "gemini-3.5-flash-lite", not_empty,
        "Model that answers; it must be in the table of models";
    max_output_tokens: u32 = "VERTEX_AI_MAX_OUTPUT_TOKENS", default "2048", within(64, 65_536),
        "Most tokens of an answer, thoughts among them, 64 to 65536";
    prompt_tokens: usize = "KARUTE_PROMPT_TOKENS", default "12000", within(1_000, 1_000_000),
        "About how many tokens a prompt may have, 1000 to 1000000";
    templates: Option<PathBuf> = "KARUTE_TEMPLATES", default "", any,
        "Directory with ja.txt and en.txt, the rules that a model is given; empty for those of this version";
    openai_url: String = "KARUTE_OPENAI_URL", default "", any,
        "Address of a service with OpenAI's chat interface, such as http://127.0.0.1:11434/v1";
    openai_model: String = "KARUTE_OPENAI_MODEL", default "", any,
        "Model of that service";
    openai_key: Secret = "KARUTE_OPENAI_KEY", default "", any,
        "Key for that service, if it wants one";
    database: Secret = "DATABASE_URL", default "", any,
        "PostgreSQL that conversations, feedback and answers are kept in, postgres://USER:PASSWORD@HOST/NAME, for more than one instance; empty for an SQLite file in KARUTE_DATA_DIR";
    history: bool = "KARUTE_CHAT_HISTORY" or "USE_FIRESTORE_CHAT_HISTORY", default "true", any,
        "Whether conversations are kept: true or false; without them there is neither history nor feedback";
    history_days: u32 = "KARUTE_HISTORY_DAYS", default "90", within(1, 36_500),
        "Days that a question and its answer are kept, 1 to 36500; the record of a later answer keeps the questions that it followed";
    history_exchanges: usize = "CHAT_MAX_HISTORY", default "10", within(0, 100),
        "Questions and answers of a conversation that its next question is understood by, the latest, 0 to 100";
    cloud_run: String = "K_SERVICE" or "CLOUD_RUN_JOB", default "", any,
        "Name of the service, or of the job, on Cloud Run, which sets it: files there end with the instance";
    cache: bool = "CACHE_ENABLED", default "true", any,
        "Whether vectors of questions, search results and, with KARUTE_CACHE_ANSWERS, answers are kept in memory: true or false";
    cache_answers: bool = "KARUTE_CACHE_ANSWERS", default "false", any,
        "Whether a question that was asked word for word before, with the same rights, over the same snapshot, is answered as before: true or false";
    cache_entries: u64 = "CACHE_MAX_SIZE", default "1000", within(1, 10_000_000),
        "Entries of each cache, 1 to 10000000";
    cache_bytes: u64 = "KARUTE_CACHE_BYTES", default "33554432", within(65_536, 1 << 40),
        "Bytes of each cache, 65536 to 1099511627776";
    cache_embeddings_ttl: u64 = "CACHE_EMBEDDINGS_TTL", default "86400", within(1, 31_536_000),
        "Seconds that the vector of a question is kept, 1 to 31536000";
    cache_search_ttl: u64 = "CACHE_SEARCH_RESULTS_TTL", default "1800", within(1, 31_536_000),
        "Seconds that search results are kept, 1 to 31536000; another snapshot ends them at once";
    cache_answers_ttl: u64 = "CACHE_DEFAULT_TTL", default "3600", within(1, 31_536_000),
        "Seconds that answers are kept, 1 to 31536000; another snapshot ends them at once";
    require_authentication: Option<bool> = "REQUIRE_AUTHENTICATION", default "", any,
        "Whether every record needs a caller who has signed in: true or false; empty for true in production and false elsewhere";
    admin_key: Secret = "ADMIN_API_KEY", default "", long_or_none,
        "Key for /admin and the caches, 16 characters or more; empty for none, and then nobody may use them but by a token";
    admin_key_previous: Secret = "ADMIN_API_KEY_PREVIOUS", default "", long_or_none,
        "The admin key before, which is still good while it is being replaced; empty for none";
    admin_endpoints: bool = "ENABLE_ADMIN_ENDPOINTS", default "true", any,
        "Whether /admin and the endpoints that list or empty the caches are there at all: true or false";
    firebase_project: String = "FIREBASE_PROJECT_ID", default "", any,
        "Firebase project whose ID tokens are taken; empty for none";
    google_clients: Names = "KARUTE_GOOGLE_CLIENT_IDS", default "", any,
        "OAuth client ids whose Google ID tokens are taken, a comma list; empty for none";
    allowed_domains: Names = "KARUTE_ALLOWED_DOMAINS", default "", any,
        "Domains of e-mail addresses that may sign in without standing in KARUTE_PEOPLE, a comma list; empty for none";
    people: Option<PathBuf> = "KARUTE_PEOPLE", default "", any,
        "TOML file that says who has which role and sees which clients; empty for none";
    default_role: Option<Role> = "KARUTE_DEFAULT_ROLE", default "", any,
        "Role of somebody of an allowed domain whose token names none: admin, care_manager, nurse or readonly; empty to refuse him";
    chats_per_minute: u32 = "KARUTE_CHATS_PER_MINUTE", default "20", within(0, 1_000_000),
        "Questions that one caller who has signed in may ask a minute, 1 to 1000000; 0 for no limit";
    searches_per_minute: u32 = "KARUTE_SEARCHES_PER_MINUTE", default "100", within(0, 1_000_000),
        "Searches that one caller who has signed in may make a minute, 1 to 1000000; 0 for no limit";
    caller_concurrency: usize = "KARUTE_CALLER_CONCURRENCY", default "16", within(1, 100_000),
        "Requests that one caller who has signed in may have under way, 1 to 100000";
    max_queue: usize = "KARUTE_MAX_QUEUE", default "256", within(0, 1_000_000),
        "Questions that may wait for MAX_CONCURRENT_REQUESTS, 0 to 1000000; further ones are sent away with 503";
    max_connections: usize = "KARUTE_MAX_CONNECTIONS", default "16384", within(1, 1_000_000),
        "Connections that are held at the same time, 1 to 1000000; further ones wait to be taken";
    yen_per_day: f64 = "KARUTE_YEN_PER_DAY", default "1000", within(0.0, 1e9),
        "Most yen that models may cost in a day of Japan, 0 to 1000000000";
    yen_per_month: f64 = "KARUTE_YEN_PER_MONTH", default "5000", within(0.0, 1e9),
        "Most yen that models may cost in a month, 0 to 1000000000";
    yen_per_caller: f64 = "KARUTE_YEN_PER_CALLER", default "500", within(0.0, 1e9),
        "Most yen that models may cost for one caller in a day, 0 to 1000000000";
    calls_per_day: i64 = "KARUTE_CALLS_PER_DAY", default "5000", within(0, 1_000_000_000),
        "Most calls to models for questions in a day, of whatever kind, free ones too, 0 to 1000000000; a sync is bound by yen alone";
    calls_per_caller: i64 = "KARUTE_CALLS_PER_CALLER", default "1000", within(0, 1_000_000_000),
        "Most calls to paid models for one caller in a day, 0 to 1000000000";
    cost_log: Option<SpreadsheetId> = "COST_LOG_SPREADSHEET_ID", default "", any,
        "Google spreadsheet that a row for each paid call is appended to; empty for none";
    cost_log_sheet: String = "KARUTE_COST_LOG_SHEET", default "コスト管理", not_empty,
        "Sheet of COST_LOG_SPREADSHEET_ID, with the 37 columns of the replaced system's cost log";
    audit: AuditLevel = "KARUTE_AUDIT", default "metadata", any,
        "What the audit keeps of who saw whose records: minimal, metadata (which rows and a digest of the question, too) or full (the question, too)";
    audit_key: Secret = "KARUTE_AUDIT_KEY", default "", long_or_none,
        "Key of the audit's chain, 16 characters or more: without it nobody can forge the chain, whatever he does to the database; empty for a chain without a key";
    cloud_logging: bool = "ENABLE_CLOUD_LOGGING", default "false", any,
        "Whether logs are JSON in the form of Google Cloud Logging: true or false";
    request_timeout: u64 = "REQUEST_TIMEOUT", default "30", within(1, 3600),
        "Seconds until the first word of an answer must be there, 1 to 3600";
    stream_timeout: u64 = "STREAM_TIMEOUT", default "120", within(1, 3600),
        "Seconds that a whole answer may take, 1 to 3600; at least REQUEST_TIMEOUT";
    max_concurrent: usize = "MAX_CONCURRENT_REQUESTS", default "32", within(1, 10_000),
        "Questions worked on at the same time, 1 to 10000; further ones wait";
    max_body_bytes: usize = "KARUTE_MAX_BODY_BYTES", default "65536", within(1024, 16 << 20),
        "Largest request body in bytes, 1024 to 16777216";
}

impl Settings {
    /// Whether every record needs a caller who has signed in.
    pub fn sign_in_required(&self) -> bool {
        self.require_authentication.unwrap_or(self.environment == Environment::Production)
    }
}
