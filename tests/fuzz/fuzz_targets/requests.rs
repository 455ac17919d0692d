//! Requests with any credential, address and body, to every route of a server that asks who calls and of one that does not:
//! none is a fault of the server, and nobody whom it does not know is shown a record.
//!
//! `route, flags, credential 0 text`: the text is the body, or what varies in the address.

#![no_main]

use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, header};
use karute_server::answer::Extractive;
use karute_server::routes::{self, Need};
use karute_server::start::Prepared;
use karute_tests::http::{call, keep, sample, unready};
use libfuzzer_sys::fuzz_target;

const KEY: &str = "an admin key of many characters";
const PLENTY: [(&str, &str); 2] =
    [("KARUTE_CHATS_PER_MINUTE", "100000"), ("KARUTE_SEARCHES_PER_MINUTE", "100000")];

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime"))
}

/// One that asks who calls, and one that does not.
fn servers() -> &'static [Router; 2] {
    static SERVERS: OnceLock<[Router; 2]> = OnceLock::new();
    SERVERS.get_or_init(|| {
        ["true", "false"].map(|required| {
            let mut given = vec![("REQUIRE_AUTHENTICATION", required), ("ADMIN_API_KEY", KEY)];
            given.push(("KARUTE_CHAT_HISTORY", "true"));
            given.extend(PLENTY);
            let app = unready(&given, Extractive);
            let index = std::thread::spawn(sample).join().expect("a snapshot");
            app.serve(Prepared { index, problems: Vec::new() });
            runtime().block_on(keep(&app));
            routes::app(app)
        })
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[route, flags], rest)) = bytes.split_first_chunk::<2>() else { return };
    let table = routes::table();
    let route = &table[usize::from(route) % table.len()];
    let (credential, text) = match rest.iter().position(|byte| *byte == 0) {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (&[][..], rest),
    };
    let varied: String = text.iter().map(|byte| format!("%{byte:02X}")).collect();
    let mut path = String::new();
    for part in route.path.split_inclusive(['{', '}']) {
        match part.strip_suffix('}') {
            Some(_) => path += &varied,
            None => path += part.trim_end_matches('{'),
        }
    }
    if flags & 1 != 0 {
        path += &format!("?query={varied}&limit={varied}&{varied}");
    }
    let Ok(mut request) = Request::builder().method(route.method.clone()).uri(path).body(Body::empty())
    else {
        return;
    };
    if route.method == Method::POST {
        *request.body_mut() = Body::from(text.to_vec());
    }
    let headers = request.headers_mut();
    if flags & 2 == 0 {
        headers.insert(header::CONTENT_TYPE, "application/json".parse().expect("a header"));
    }
    let bearer = [b"Bearer ", credential].concat();
    if let Ok(value) = bearer.as_slice().try_into() {
        headers.insert(header::AUTHORIZATION, value);
    }
    let asks = flags & 4 == 0;
    let knows = credential == KEY.as_bytes();
    let server = &servers()[usize::from(!asks)];
    let answer = runtime().block_on(call(server, request));
    assert!(!answer.status.is_server_error(), "{} {}", answer.status, answer.text);
    assert!(!asks || knows || route.need == Need::Nothing || !answer.status.is_success(), "{}", answer.text);
});
