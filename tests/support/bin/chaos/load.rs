//! Searches at rising rates; connections by thousands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{CLIENTS, House, processor, resident, send};
use crate::judge::percentile;

pub(crate) async fn load(program: &str, rows: usize) {
    let house = Arc::new(House::new(program, rows).await);
    let mut server = house.start();
    house.is_ready().await;
    for rate in [50u64, 100, 200, 400, 600, 800, 1_000, 1_200, 1_500, 2_000] {
        let used = processor(server.id());
        let (mut ticks, mut searches) =
            (tokio::time::interval(Duration::from_micros(1_000_000 / rate)), tokio::task::JoinSet::new());
        for number in 0..rate * 8 {
            ticks.tick().await;
            let house = house.clone();
            searches.spawn(async move {
                let began = Instant::now();
                let body = format!("{{\"query\": \"血圧 {} カテーテル 交換 {}\"}}", number % 40, number % 9);
                let found = send(
                    house.port,
                    "POST",
                    "/search",
                    Some(&house.tokens[number as usize % CLIENTS]),
                    &body,
                )
                .await;
                let good = found.is_some_and(|(text, _)| text.starts_with("HTTP/1.1 200"));
                (good, began.elapsed().as_secs_f64() * 1e3)
            });
        }
        let done = searches.join_all().await;
        let used = processor(server.id()) - used;
        let failed = done.iter().filter(|(good, _)| !good).count();
        let mut values: Vec<f64> = done.into_iter().skip(rate as usize).map(|(_, took)| took).collect();
        values.sort_by(f64::total_cmp);
        let p99 = percentile(&values, 0.99);
        let each = used * 1e3 / (rate * 8) as f64;
        let (p50, memory) = (percentile(&values, 0.5), resident(server.id()).unwrap_or(0) >> 20);
        println!(
            "{rate} searches/s: p50 {p50:.1} ms, p99 {p99:.1} ms, {failed} failed, {each:.2} ms of a core each, {memory} MB"
        );
        if p99 > 50.0 {
            break;
        }
    }
    server.kill().expect("killed");
    server.wait().expect("ended");
}

/// Opens so many connections, each in the middle of something: nothing sent, half a head, half a body, or an answer read
/// and the connection kept. Then others must still be served at once.
pub(crate) async fn idle(program: &str, count: usize) {
    let house = Arc::new(House::new(program, 800).await);
    let mut server = house.start();
    house.is_ready().await;
    let before = resident(server.id()).unwrap_or(0) >> 20;
    let host = "Host: x\r\nContent-Type: application/json";
    let mut held = Vec::new();
    for number in 0..count {
        let token = &house.tokens[number / 4 % CLIENTS];
        let body = "{\"message\": \"交換はいつ\"}";
        let sent = match number % 4 {
            0 => String::new(),
            1 => format!("POST /chat/stream HTTP/1.1\r\n{host}\r\nX-Half"),
            2 => format!(
                "POST /chat/stream HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 99\r\n\r\n{{"
            ),
            _ => format!(
                "POST /chat/stream HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        };
        let mut stream = TcpStream::connect(("127.0.0.1", house.port)).await.expect("connected");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        if number % 4 == 3 {
            let mut first = [0; 64];
            stream.read_exact(&mut first).await.expect("an answer begins");
        }
        held.push(stream);
    }
    let mut took = Vec::new();
    let mut good = 0;
    for number in 0..200 {
        let began = Instant::now();
        let body = format!("{{\"query\": \"血圧 {} カテーテル\"}}", number % 40);
        let answer = send(house.port, "POST", "/search", Some(&house.tokens[number % CLIENTS]), &body).await;
        good += usize::from(answer.is_some_and(|(text, _)| text.starts_with("HTTP/1.1 200")));
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let (p99, memory) = (percentile(&took, 0.99), resident(server.id()).unwrap_or(0) >> 20);
    println!(
        "{count} connections held: {good} of 200 searches answered, p99 {p99:.1} ms, {memory} MB (before {before} MB)"
    );
    // Who says nothing more is sent away, so that nobody's place is taken for ever.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut ended = 0;
    for stream in &mut held {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_millis(20), stream.read_to_end(&mut rest)).await;
        ended += usize::from(read.is_ok());
    }
    println!("a minute later {ended} of {count} were sent away");
    server.kill().expect("killed");
    server.wait().expect("ended");
    assert!(good == 200 && ended == count, "somebody waits");
}
