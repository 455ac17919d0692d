//! `GET /openapi.json`: what this interface takes and gives, made from the code; `/docs`: the same to look at and to try,
//! served from the program itself.

use std::collections::BTreeSet;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, openapi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    admin, answers, cache, chat, clients, feedback, health, metrics, openai, root, search, sessions, terms,
    vectors,
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
        vectors::vectors,
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
        openai::model,
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
    components(schemas(chat::Chunk, openai::ErrorAnswer)),
    modifiers(&Credentials),
    security(("bearer" = []), ("key" = []))
)]
pub struct Document;

/// How callers say who they are, where that is asked.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let key = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("key", SecurityScheme::ApiKey(key));
    }
}

/// The document of what there is at `paths`, and the page.
pub(super) fn page(paths: impl Iterator<Item = &'static str>) -> SwaggerUi {
    let there: BTreeSet<&str> = paths.collect();
    let mut document = Document::openapi();
    document.paths.paths.retain(|path, _| there.contains(path.as_str()));
    // Nothing is asked of anybody else: not even whether the document is valid.
    let config = Config::default().validator_url("none");
    SwaggerUi::new("/docs").config(config).url("/openapi.json", document)
}
