//! How long a model's first token is under way through the server: from the moment when a model writes it to the moment when the
//! first event with text of the answer is read, over TCP on this machine.
//!
//! ```text
//! cargo build --release && cargo run --release -p karute-benches --bin first-token -- target/release/karute
//! ```
//!
//! The model is a thread of this program that speaks OpenAI's interface, so that one clock tells both moments.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use karute_tests::program::Server;

const ANSWERS: usize = 300;
/// How long the model thinks, before its first word and between words.
const PAUSE: Duration = Duration::from_millis(20);
const QUESTION: &str = r#"{"message": "久保田さんのバルーンの交換はいつですか"}"#;

fn main() {
    let program = std::env::args().nth(1).expect("the program: target/release/karute");
    let program = fs::canonicalize(program).expect("the program is there");
    let (address, said) = model();
    let home = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(program);
    command.env_clear().current_dir(home.path()).stdin(Stdio::null());
    command.env("KARUTE_DATA_DIR", home.path().join("data")).env("CACHE_ENABLED", "false");
    command.env("KARUTE_ANSWERERS", "openai").env("KARUTE_OPENAI_MODEL", "a-model");
    command.env("KARUTE_OPENAI_URL", format!("http://{address}/v1"));
    command.env("KARUTE_CALLS_PER_CALLER", "100000").env("KARUTE_CALLS_PER_DAY", "100000");
    let server = Server::start(command);
    let mut under_way: Vec<f64> = (0..ANSWERS).map(|_| first_text(&server, &said)).collect();
    under_way.sort_by(f64::total_cmp);
    println!(
        "a model's first token is under way for {:.2} ms (median), {:.2} ms (99th percentile)",
        under_way[ANSWERS / 2],
        under_way[ANSWERS * 99 / 100]
    );
}

/// Starts the model. Where it is, and the moments at which it wrote a first token.
fn model() -> (String, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (told, said) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let told = told.clone();
            std::thread::spawn(move || answer(stream.expect("a connection"), &told));
        }
    });
    (address, said)
}

/// Answers requests of one connection, each with three words.
fn answer(mut stream: TcpStream, told: &std::sync::mpsc::Sender<Instant>) {
    stream.set_nodelay(true).expect("set");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).expect("a head") == 0 {
                return;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        for word in 0..3 {
            std::thread::sleep(PAUSE);
            let event = r#"data: {"choices": [{"delta": {"content": "交換です[1]。"}}]}"#;
            let chunk = format!("{event}\n\n");
            let now = Instant::now();
            write!(stream, "{:x}\r\n{chunk}\r\n", chunk.len()).expect("sent");
            if word == 0 {
                told.send(now).expect("somebody listens");
            }
        }
        let end = "data: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}]}\n\ndata: [DONE]\n\n";
        write!(stream, "{:x}\r\n{end}\r\n0\r\n\r\n", end.len()).expect("sent");
    }
}

/// Milliseconds from the model's first token to the first event with text.
fn first_text(server: &Server, said: &Receiver<Instant>) -> f64 {
    let mut stream = TcpStream::connect(&server.address).expect("connected");
    let head =
        "POST /chat/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{QUESTION}", QUESTION.len()).expect("sent");
    let (mut read, mut buffer, mut came) = (Vec::new(), [0; 16_384], None);
    loop {
        let length = stream.read(&mut buffer).expect("an answer");
        let now = Instant::now();
        if length == 0 {
            break;
        }
        read.extend_from_slice(&buffer[..length]);
        let text = b"\"type\":\"text\"";
        if came.is_none() && read.windows(text.len()).any(|part| part == text) {
            came = Some(now);
        }
    }
    let (came, wrote) = (came.expect("a text"), said.try_recv().expect("the model was asked"));
    came.duration_since(wrote).as_secs_f64() * 1e3
}
