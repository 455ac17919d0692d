//! `GET /openapi.json`: what this interface takes and gives, made from the code; `/docs`: the same to look at and to try,
//! served from the program itself.

use utoipa::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    admin, answers, cache, chat, clients, feedback, health, metrics, openai, root, search, sessions, terms,
};

/// The whole interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "karute",
        description = "Answers questions about records of home nursing, with the source of every answer. \
            訪問看護の記録に、出典を付けて答えます。",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(
        root::root,
        search::search,
        chat::chat,
        chat::stream,
        sessions::list,
        sessions::messages,
        sessions::remove,
        sessions::export,
        feedback::feedback,
        answers::answer,
        answers::row,
        clients::list,
        clients::one,
        terms::suggest_terms,
        terms::confirm,
        openai::completions,
        openai::embeddings,
        openai::models,
        health::health,
        health::ready,
        health::live,
        cache::metrics,
        cache::info,
        cache::clear,
        metrics::metrics,
        admin::costs,
        admin::audit
    ),
    components(schemas(chat::Chunk))
)]
pub struct Document;

/// The document and the page.
pub(super) fn page() -> SwaggerUi {
    // Nothing is asked of anybody else: not even whether the document is valid.
    let config = Config::default().validator_url("none");
    SwaggerUi::new("/docs").config(config).url("/openapi.json", Document::openapi())
}
