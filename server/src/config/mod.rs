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

use karute_sync::bucket::{BucketUrl, Endpoint};
use karute_sync::source::SheetNames;

pub use legacy::{LEGACY, Legacy};
pub use load::{Given, Invalid, Loaded, Problem, Sources};
pub use value::{Environment, LogLevel, Origins, Value};

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
    sheets: SheetNames = "VECTOR_DB_SHEETS", default "{}", any,
        "Names of the sheets, JSON with the keys knowledge_base, embeddings, medical_terms, chat_history";
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
    request_timeout: u64 = "REQUEST_TIMEOUT", default "30", within(1, 3600),
        "Seconds that a question may take before it is given up, 1 to 3600";
    max_concurrent: usize = "MAX_CONCURRENT_REQUESTS", default "32", within(1, 10_000),
        "Questions worked on at the same time, 1 to 10000; further ones wait";
    max_body_bytes: usize = "KARUTE_MAX_BODY_BYTES", default "65536", within(1024, 16 << 20),
        "Largest request body in bytes, 1024 to 16777216";
}
