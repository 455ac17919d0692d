//! The one place where failures become HTTP answers, and where they are logged, once.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use karute_engine::QueryError;
use karute_sync::embed::EmbedError;
use serde::Serialize;
use serde_json::json;
use utoipa::{IntoResponses, ToSchema};

/// Something wrong with a request, in the shape that clients of the replaced system know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where: `["body", "message"]`.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub loc: Vec<serde_json::Value>,
    /// What, for people.
    pub msg: String,
    /// What, for programs: `missing`, `string_too_long`, ...
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// What a failed request is answered with.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the shape of what `IntoResponse` writes, for the OpenAPI document")]
pub(crate) struct Problem {
    /// What is wrong: a text, or a list of faults.
    detail: Detail,
}

#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "as above")]
enum Detail {
    Text(String),
    Faults(Vec<Fault>),
}

/// How requests fail, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "as above")]
pub(crate) enum Problems {
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(Problem),
    /// The body is not said to be JSON.
    #[response(status = 415)]
    NotJson(Problem),
    /// The request's fields are wrong.
    #[response(status = 422)]
    Invalid(Problem),
    /// Something failed inside.
    #[response(status = 500)]
    Internal(Problem),
    /// A language model, or another service, failed.
    #[response(status = 502)]
    Model(Problem),
    /// No snapshot is served yet, or the database of conversations does not answer.
    #[response(status = 503)]
    NotReady(Problem),
    /// It took too long.
    #[response(status = 504)]
    TimedOut(Problem),
}

/// How requests for what may not be there fail, for the OpenAPI document.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "as above")]
pub(crate) enum Missing {
    /// There is none, or it is somebody else's.
    #[response(status = 404)]
    NotFound(Problem),
    /// Conversations are not kept here.
    #[response(status = 501)]
    NoHistory(Problem),
}

/// Why a request was not answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The request's fields are wrong: 422.
    Invalid(Vec<Fault>),
    /// There is no such page: 404.
    NotFound,
    /// The page has no such method: 405.
    MethodNotAllowed,
    /// The body is too large: 413.
    TooLarge {
        /// Most bytes that are taken.
        limit: usize,
    },
    /// The body is not said to be JSON: 415.
    NotJson,
    /// No snapshot is served yet: 503.
    NotReady,
    /// It took too long: 504.
    TimedOut,
    /// A language model failed: 502. The text is for the log and never reaches the caller.
    Model(String),
    /// Conversations are not kept: 501.
    NoHistory,
    /// Records do not come from a spreadsheet that could be written to: 409.
    NoSpreadsheet,
    /// The database of conversations does not answer: 503. The text is for the log and never reaches the caller.
    State(String),
    /// Google, or the way there: 502. The text is for the log and never reaches the caller.
    Google(String),
    /// Something failed inside: 500. The text is for the log and never reaches the caller.
    Internal(String),
}

impl Failure {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Model(_) => StatusCode::BAD_GATEWAY,
            Self::NoHistory => StatusCode::NOT_IMPLEMENTED,
            Self::NoSpreadsheet => StatusCode::CONFLICT,
            Self::State(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Google(_) => StatusCode::BAD_GATEWAY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A short name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_request",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge { .. } => "body_too_large",
            Self::NotJson => "not_json",
            Self::NotReady => "not_ready",
            Self::TimedOut => "timed_out",
            Self::Model(_) => "model_failed",
            Self::NoHistory => "no_history",
            Self::NoSpreadsheet => "no_spreadsheet",
            Self::State(_) => "state_failed",
            Self::Google(_) => "google_failed",
            Self::Internal(_) => "internal",
        }
    }

    /// What the caller reads. What a nurse may come to see is Japanese.
    pub fn message(&self) -> String {
        match self {
            Self::Invalid(_) => "リクエストの内容に誤りがあります。".into(),
            Self::NotFound => "Not Found".into(),
            Self::MethodNotAllowed => "Method Not Allowed".into(),
            Self::TooLarge { limit } => format!("the body is larger than {limit} bytes"),
            Self::NotJson => "the body must be JSON: send Content-Type: application/json".into(),
            Self::NotReady => "記録を読み込んでいます。しばらくしてからもう一度お試しください。".into(),
            Self::TimedOut => "時間内に処理が終わりませんでした。もう一度お試しください。".into(),
            Self::Model(_) => "回答モデルとの通信が途中で切れました。もう一度お試しください。".into(),
            Self::NoHistory => "Chat history feature is disabled".into(),
            Self::NoSpreadsheet => "書き出し先のスプレッドシートが設定されていません。".into(),
            Self::State(_) => {
                "履歴のデータベースが応答しません。しばらくしてからもう一度お試しください。".into()
            }
            Self::Google(_) => {
                "Google との通信に失敗しました。しばらくしてからもう一度お試しください。".into()
            }
            Self::Internal(_) => "処理中に問題が起きました。管理者に連絡してください。".into(),
        }
    }

    /// What happened, for the log.
    pub fn detail(&self) -> String {
        match self {
            Self::Internal(detail) | Self::Model(detail) | Self::Google(detail) | Self::State(detail) => {
                detail.clone()
            }
            other => other.code().to_owned(),
        }
    }

    /// Logs what an operator must know. Called once, where the failure leaves the program.
    pub fn log(&self) {
        match self {
            Self::Internal(detail) => tracing::error!(detail, "request failed"),
            Self::TimedOut => tracing::warn!("request timed out"),
            Self::Model(detail) => tracing::warn!(detail, "an answer broke off"),
            Self::State(detail) => tracing::error!(detail, "the state does not answer"),
            Self::Google(detail) => tracing::warn!(detail, "Google did not do what was asked"),
            _ => {}
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<karute_engine::OpenError> for Failure {
    fn from(error: karute_engine::OpenError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<crate::state::StateError> for Failure {
    fn from(error: crate::state::StateError) -> Self {
        Self::State(error.to_string())
    }
}

impl From<EmbedError> for Failure {
    fn from(error: EmbedError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let body = match self {
            Self::Invalid(faults) => json!({ "detail": faults }),
            other => json!({ "detail": other.message() }),
        };
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
