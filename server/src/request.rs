//! Request bodies: read within a limit, checked field by field, every fault reported together in the shape that
//! clients of the replaced system know.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use karute_engine::Day;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::app::App;
use crate::error::{Failure, Fault};
use crate::retrieve::caller::Caller;
use crate::retrieve::limits::Limits;

/// The fields of a JSON object.
#[derive(Debug)]
pub(crate) struct Fields {
    /// Where they came from: `body` or `query`.
    place: &'static str,
    object: Map<String, Value>,
    faults: Vec<Fault>,
}

impl FromRequest<App> for Fields {
    type Rejection = Failure;

    async fn from_request(request: Request<Body>, app: &App) -> Result<Self, Failure> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or("").trim();
        let is_json = media_type.eq_ignore_ascii_case("application/json")
            || media_type.to_ascii_lowercase().starts_with("application/") && media_type.ends_with("+json");
        if !is_json {
            return Err(Failure::NotJson);
        }
        let limit = app.settings.max_body_bytes;
        let body = tokio::time::timeout(app.deadline(), to_bytes(request.into_body(), limit));
        // A body that breaks off is the caller's to know of, who has gone; one that is too long is refused.
        let bytes = body.await.map_err(|_| Failure::TimedOut)?.map_err(|_| Failure::TooLarge { limit })?;
        Self::parse(&bytes)
    }
}

/// The parameters behind the `?` of an address, checked like the fields of a body.
#[derive(Debug)]
pub(crate) struct Parameters(pub(crate) Fields);

impl FromRequestParts<App> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) else {
            let (loc, msg) = (vec!["query".into()], "the parameters cannot be read".into());
            return Err(Failure::Invalid(vec![Fault { loc, msg, kind: "query_parsing", input: () }]));
        };
        let object = pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        Ok(Self(Fields { place: "query", object, faults: Vec::new() }))
    }
}

/// The last part of an address: the id of something.
#[derive(Debug)]
pub(crate) struct Id(pub(crate) String);

/// Most bytes of an id.
const LONGEST_ID: usize = 512;

impl FromRequestParts<App> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        // What cannot be an id names nothing.
        let Ok(Path(id)) = Path::<String>::from_request_parts(parts, app).await else {
            return Err(Failure::NotFound);
        };
        if is_id(&id) { Ok(Self(id)) } else { Err(Failure::NotFound) }
    }
}

/// Whether a text may be the id of something. The two names of directories vanish from an address before it is sent.
fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len())
        && !text.chars().any(char::is_control)
        && !matches!(text, "." | "..")
}

impl FromRequestParts<App> for Caller {
    type Rejection = Failure;

    /// Whoever was let in.
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let unasked = || Failure::Internal("a route that shows records let somebody in unasked".into());
        parts.extensions.get::<Self>().cloned().ok_or_else(unasked)
    }
}

impl Fields {
    fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.is_empty() {
            let (loc, msg) = (vec!["body".into()], "Field required".into());
            return Err(Failure::Invalid(vec![Fault { loc, msg, kind: "missing", input: () }]));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self { place: "body", object, faults: Vec::new() }),
            Ok(_) => Err(Failure::Invalid(vec![Fault {
                loc: vec!["body".into()],
                msg: "Input should be a valid dictionary or object to extract fields from".into(),
                kind: "model_attributes_type",
                input: (),
            }])),
            Err(error) => Err(Failure::Invalid(vec![Fault {
                loc: vec!["body".into(), error.column().into()],
                msg: format!("JSON decode error at line {} column {}", error.line(), error.column()),
                kind: "json_invalid",
                input: (),
            }])),
        }
    }

    fn fault(&mut self, name: &str, kind: &'static str, msg: impl Into<String>) {
        self.faults.push(Fault {
            loc: vec![self.place.into(), name.into()],
            msg: msg.into(),
            kind,
            input: (),
        });
    }

    /// A text of 1 to `most` characters that must be there.
    pub(crate) fn required_text(&mut self, name: &str, most: usize) -> String {
        match self.object.get(name).cloned() {
            None => self.fault(name, "missing", "Field required"),
            Some(Value::String(text)) => match text.chars().count() {
                0 => self.fault(name, "string_too_short", "String should have at least 1 character"),
                count if count > most => {
                    self.fault(
                        name,
                        "string_too_long",
                        format!("String should have at most {most} characters"),
                    );
                }
                _ => return text,
            },
            Some(_) => self.fault(name, "string_type", "Input should be a valid string"),
        }
        String::new()
    }

    /// A text that may be missing, null or empty, which all mean that there is none.
    pub(crate) fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.object.get(name).cloned() {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(_) => {
                self.fault(name, "string_type", "Input should be a valid string");
                None
            }
        }
    }

    /// A day that may be missing, null or empty.
    fn optional_day(&mut self, name: &str) -> Option<Day> {
        let day = self.optional_text(name)?.parse();
        if day.is_err() {
            self.fault(name, "date_parsing", "Input should be a valid date, YYYY-MM-DD");
        }
        day.ok()
    }

    /// The limits of a question.
    pub(crate) fn limits(&mut self) -> Limits {
        let limits = Limits {
            client_id: self.optional_text("client_id"),
            domain: self.optional_text("domain"),
            source_type: self.optional_text("source_type"),
            tags: self.optional("tags", "a valid list of strings"),
            date_from: self.optional_day("date_from"),
            date_to: self.optional_day("date_to"),
        };
        self.check("date_to", limits.in_order(), "a day that is not before date_from");
        limits
    }

    /// An id that may be missing, null or empty.
    pub(crate) fn optional_id(&mut self, name: &str) -> Option<String> {
        let id = self.optional_text(name)?;
        if !is_id(&id) {
            let msg = format!("Input should have at most {LONGEST_ID} bytes and no control characters");
            self.fault(name, "string_pattern_mismatch", msg);
        }
        Some(id)
    }

    /// A text of at most `most` characters that may be missing or null.
    pub(crate) fn short_text(&mut self, name: &str, most: usize) -> String {
        let text = self.optional_text(name).unwrap_or_default();
        if text.chars().count() > most {
            self.fault(name, "string_too_long", format!("String should have at most {most} characters"));
        }
        text
    }

    /// Whatever `T` is, which may be missing or null; `expected` says what that is.
    pub(crate) fn optional<T: DeserializeOwned + Default>(&mut self, name: &str, expected: &str) -> T {
        match self.object.get(name).cloned() {
            None | Some(Value::Null) => T::default(),
            Some(value) => serde_json::from_value(value).unwrap_or_else(|_| {
                self.fault(name, "type_error", format!("Input should be {expected}"));
                T::default()
            }),
        }
    }

    /// `name` is wrong unless this `holds`.
    pub(crate) fn check(&mut self, name: &str, holds: bool, expected: &str) {
        if !holds && !self.faults.iter().any(|fault| fault.loc.last().is_some_and(|last| last == name)) {
            self.fault(name, "value_error", format!("Input should be {expected}"));
        }
    }

    /// This field must be there, and not null.
    pub(crate) fn must(&mut self, name: &str) {
        if self.object.get(name).is_none_or(Value::is_null) {
            self.fault(name, "missing", "Field required");
        }
    }

    /// A list of texts that may be missing or null; its content is not used.
    pub(crate) fn check_texts(&mut self, name: &str) {
        match self.object.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => {}
            Some(_) => self.fault(name, "list_type", "Input should be a valid list of strings"),
        }
    }

    /// Names out of a known list, which may be missing or null.
    pub(crate) fn names<T: DeserializeOwned>(&mut self, name: &str, known: &str) -> Vec<T> {
        match self.object.get(name).cloned() {
            None | Some(Value::Null) => Vec::new(),
            Some(value) => serde_json::from_value(value).unwrap_or_else(|_| {
                self.fault(name, "enum", format!("Input should be a list of {known}"));
                Vec::new()
            }),
        }
    }

    /// True or false; `missing` if it is not there.
    pub(crate) fn flag(&mut self, name: &str, missing: bool) -> bool {
        // What the replaced system took for a truth besides true and false themselves.
        let (yes, no) = (["true", "1", "yes", "on", "t", "y"], ["false", "0", "no", "off", "f", "n"]);
        let value = match self.object.get(name) {
            None => return missing,
            Some(Value::Bool(value)) => return *value,
            Some(Value::Number(number)) => {
                number.as_f64().filter(|n| *n == 0.0 || *n == 1.0).map(|n| n == 1.0)
            }
            Some(Value::String(text)) => {
                let text = text.to_lowercase();
                yes.contains(&text.as_str()).then_some(true).or(no.contains(&text.as_str()).then_some(false))
            }
            Some(_) => {
                self.fault(name, "bool_type", "Input should be a valid boolean");
                return missing;
            }
        };
        value.unwrap_or_else(|| {
            self.fault(name, "bool_parsing", "Input should be a valid boolean, unable to interpret input");
            missing
        })
    }

    /// A whole number from `least` to `most`: `missing` if it is not there, `null` if it is null.
    pub(crate) fn number(
        &mut self,
        name: &str,
        least: usize,
        most: usize,
        missing: usize,
        null: usize,
    ) -> usize {
        let wrong: (&'static str, &str);
        // Whole numbers may come as 5, as 5.0 and, as the replaced system allowed, as "5".
        let value = match self.object.get(name) {
            None => return missing,
            Some(Value::Null) => return null,
            Some(Value::Number(number)) => {
                wrong = (
                    "int_from_float",
                    "Input should be a valid integer, got a number with a fractional part",
                );
                number.as_f64().filter(|number| number.fract() == 0.0)
            }
            Some(Value::String(text)) => {
                wrong =
                    ("int_parsing", "Input should be a valid integer, unable to parse string as an integer");
                text.trim().parse::<i64>().ok().map(|number| number as f64)
            }
            Some(_) => {
                wrong = ("int_type", "Input should be a valid integer");
                None
            }
        };
        match value {
            None => self.fault(name, wrong.0, wrong.1),
            Some(number) if number < least as f64 => {
                let msg = format!("Input should be greater than or equal to {least}");
                self.fault(name, "greater_than_equal", msg);
            }
            Some(number) if number > most as f64 => {
                self.fault(name, "less_than_equal", format!("Input should be less than or equal to {most}"));
            }
            Some(number) => return number as usize,
        }
        missing
    }

    /// The end of the checks.
    ///
    /// # Errors
    /// [`Failure::Invalid`] with every fault that was found.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        if self.faults.is_empty() { Ok(()) } else { Err(Failure::Invalid(self.faults)) }
    }
}
