//! The one place where failures become HTTP answers, and where they are logged, once.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
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
    /// Always null: what was sent may be a health record, and is not repeated.
    #[schema(value_type = Option<serde_json::Value>)]
    pub input: (),
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
    /// No credential, or one that is none.
    #[response(status = 401)]
    Unauthorised(Problem),
    /// The caller may not do this.
    #[response(status = 403)]
    Forbidden(Problem),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(Problem),
    /// The body is not said to be JSON.
    #[response(status = 415)]
    NotJson(Problem),
    /// The request's fields are wrong.
    #[response(status = 422)]
    Invalid(Problem),
    /// The caller asks too much: `Retry-After` says when to come back.
    #[response(status = 429)]
    TooMany(Problem),
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

/// The code of a failure, for whoever counts them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code(pub(crate) &'static str);

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
    /// A language model will not answer this: 502. The text is for the log and never reaches the caller.
    Declined(String),
    /// Conversations are not kept: 501.
    NoHistory,
    /// Records do not come from a spreadsheet that could be written to: 409.
    NoSpreadsheet,
    /// The database of conversations does not answer: 503. The text is for the log and never reaches the caller.
    State(String),
    /// Google, or the way there: 502. The text is for the log and never reaches the caller.
    Google(String),
    /// No credential, or one that is none: 401. The text is for the caller.
    Unauthorised(&'static str),
    /// Somebody who is known, but may not do this: 403.
    Forbidden,
    /// There is no admin key, so nobody can use it: 503.
    NoAdminKey,
    /// The keys that sign-in is verified with cannot be had: 503.
    SignIn,
    /// The caller asks too much: 429.
    TooMany {
        /// Seconds after which it may ask again.
        after_seconds: u64,
    },
    /// More questions wait than can be answered in time: 503.
    Busy,
    /// The program is ending: 503.
    Ending,
    /// A limit of spending is used up: 503 where nothing can take a model's place. The text names the limit.
    Budget(String),
    /// A service that has just failed several times is left alone for a while: 502. The text names it.
    Upstream(String),
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
            Self::Model(_) | Self::Declined(_) => StatusCode::BAD_GATEWAY,
            Self::NoHistory => StatusCode::NOT_IMPLEMENTED,
            Self::NoSpreadsheet => StatusCode::CONFLICT,
            Self::State(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Google(_) => StatusCode::BAD_GATEWAY,
            Self::Unauthorised(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoAdminKey | Self::SignIn | Self::Busy | Self::Ending | Self::Budget(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer with this body.
    pub(crate) fn response(&self, body: serde_json::Value) -> Response {
        let mut response = (self.status(), self.headers(), Json(body)).into_response();
        response.extensions_mut().insert(Code(self.code()));
        response
    }

    /// What the answer says besides its body.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::Unauthorised(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TooMany { after_seconds } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*after_seconds));
            }
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        headers
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
            Self::Declined(_) => "model_declined",
            Self::NoHistory => "no_history",
            Self::NoSpreadsheet => "no_spreadsheet",
            Self::State(_) => "state_failed",
            Self::Google(_) => "google_failed",
            Self::Unauthorised(_) => "unauthorised",
            Self::Forbidden => "forbidden",
            Self::NoAdminKey => "no_admin_key",
            Self::SignIn => "sign_in_unavailable",
            Self::TooMany { .. } => "too_many_requests",
            Self::Busy => "busy",
            Self::Ending => "ending",
            Self::Budget(_) => "budget_used_up",
            Self::Upstream(_) => "upstream_left_alone",
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
            Self::Declined(_) => "回答モデルがこの質問への回答を控えました。".into(),
            Self::Model(_) => "回答モデルとの通信が途中で切れました。もう一度お試しください。".into(),
            Self::NoHistory => "Chat history feature is disabled".into(),
            Self::NoSpreadsheet => "書き出し先のスプレッドシートが設定されていません。".into(),
            Self::State(_) => {
                "履歴のデータベースが応答しません。しばらくしてからもう一度お試しください。".into()
            }
            Self::Google(_) => {
                "Google との通信に失敗しました。しばらくしてからもう一度お試しください。".into()
            }
            Self::Unauthorised(detail) => (*detail).into(),
            Self::Forbidden => "この操作を行う権限がありません。".into(),
            Self::NoAdminKey => "ADMIN_API_KEY not configured".into(),
            Self::SignIn => "ログイン情報を確認できません。しばらくしてからもう一度お試しください。".into(),
            Self::TooMany { after_seconds } => {
                format!("リクエストが多すぎます。{after_seconds}秒後にもう一度お試しください。")
            }
            Self::Busy => "混み合っています。しばらくしてからもう一度お試しください。".into(),
            Self::Ending => "サーバーを再起動しています。もう一度お試しください。".into(),
            Self::Budget(_) => "モデルの利用料金が上限に達しました。管理者に連絡してください。".into(),
            Self::Upstream(_) => {
                "外部サービスが応答しません。しばらくしてからもう一度お試しください。".into()
            }
            Self::Internal(_) => "処理中に問題が起きました。管理者に連絡してください。".into(),
        }
    }

    /// What happened, for the log.
    pub fn detail(&self) -> String {
        match self {
            Self::Internal(detail)
            | Self::Model(detail)
            | Self::Declined(detail)
            | Self::Google(detail)
            | Self::State(detail) => detail.clone(),
            Self::Budget(limit) => format!("the limit of {limit} is used up"),
            Self::Upstream(name) => format!("{name} is left alone, since it failed"),
            other => other.code().to_owned(),
        }
    }

    /// Logs what an operator must know. Called once, where the failure leaves the program.
    pub fn log(&self) {
        match self {
            Self::Internal(detail) => tracing::error!(detail, "request failed"),
            Self::TimedOut => tracing::warn!("request timed out"),
            Self::Model(detail) | Self::Declined(detail) => tracing::warn!(detail, "an answer broke off"),
            Self::State(detail) => tracing::error!(detail, "the state does not answer"),
            Self::Google(detail) => tracing::warn!(detail, "Google did not do what was asked"),
            Self::SignIn => tracing::error!("nobody can sign in: the keys of ID tokens cannot be had"),
            Self::Busy => tracing::warn!("a request was sent away: too many wait"),
            Self::Budget(_) | Self::Upstream(_) => {
                tracing::warn!(detail = self.detail(), "a model was not asked")
            }
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
        match error {
            EmbedError::Google(error) => Self::Google(error.to_string()),
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<crate::retrieve::rerank::RerankError> for Failure {
    fn from(error: crate::retrieve::rerank::RerankError) -> Self {
        Self::Google(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.log();
        let body = match &self {
            Self::Invalid(faults) => json!({ "detail": faults }),
            other => json!({ "detail": other.message() }),
        };
        self.response(body)
    }
}
