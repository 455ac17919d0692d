//! Logging to standard error, for people or for Google Cloud Logging. No question, answer or record text is ever logged at
//! the default level.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IsTerminal, Write};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogLevel, Settings};

/// Starts logging. Libraries are kept to warnings: what they say at finer levels may quote what they handle.
pub(crate) fn start(settings: &Settings) {
    let own = match settings.log_level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let others = if settings.log_level == LogLevel::Error { "error" } else { "warn" };
    let directives = format!("{others},karute_server={own},karute_sync={own},karute_engine={own}");
    let filter = EnvFilter::builder().parse_lossy(directives);
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in one process (tests) keeps the first subscriber.
    let _ = match settings.cloud_logging {
        true => registry.with(CloudLogging { project: settings.gcp_project.clone() }).try_init(),
        false => {
            let terminal = std::io::stderr().is_terminal();
            let people = tracing_subscriber::fmt::layer().with_ansi(terminal).with_target(false);
            registry.with(people.with_writer(std::io::stderr)).try_init()
        }
    };
}

/// One JSON object a line, with the keys that Cloud Logging reads (LogEntry: "Special fields in structured payloads").
struct CloudLogging {
    project: String,
}

/// What a span or an event says.
#[derive(Default)]
struct Said(BTreeMap<&'static str, Value>);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), json!(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), json!(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), json!(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), json!(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), json!(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), json!(value));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for CloudLogging {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut said = Said::default();
        attributes.record(&mut said);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(said);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Said(fields)) = span.extensions().get::<Said>() {
                self.add(&mut line, fields);
            }
        }
        let mut said = Said::default();
        event.record(&mut said);
        self.add(&mut line, &said.0);
        let severity = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        line.insert("severity".into(), json!(severity));
        line.insert("time".into(), json!(OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()));
        // In one write: standard error has no buffer, and a line must be whole or not there, whatever ends the program. There is
        // nowhere to tell that it cannot be written.
        let line = format!("{}\n", Value::Object(line));
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl CloudLogging {
    /// Adds fields, those of the trace under the names that join a line to its request.
    fn add(&self, line: &mut Map<String, Value>, fields: &BTreeMap<&'static str, Value>) {
        for (name, value) in fields {
            let (name, value) = match (*name, value) {
                ("trace_id", Value::String(id)) if !self.project.is_empty() => {
                    let trace = format!("projects/{}/traces/{id}", self.project);
                    ("logging.googleapis.com/trace", json!(trace))
                }
                ("parent_id", value) => ("logging.googleapis.com/spanId", value.clone()),
                ("sampled", value) => ("logging.googleapis.com/trace_sampled", value.clone()),
                (name, value) => (name, value.clone()),
            };
            line.insert(name.to_owned(), value);
        }
    }
}
