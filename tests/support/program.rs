//! The program itself: run, served, asked over its port.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::google::{self, Emulator};

/// `binary` with an environment of its own and `home` as working and data directory.
pub fn command(binary: &str, home: &Path) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().current_dir(home).stdin(Stdio::null());
    command
}

/// Google with the sample workbook, on a port of its own.
///
/// # Panics
/// No port, or a sample that cannot be read.
pub fn emulator() -> Emulator {
    Emulator::start(([127, 0, 0, 1], 0).into(), google::sample().expect("the sample")).expect("a port")
}

/// `command` with `emulator` taken for Google.
pub fn with_google(mut command: Command, emulator: &Emulator) -> Command {
    command
        .env("KARUTE_GOOGLE_ENDPOINT", emulator.url())
        .env("KARUTE_GOOGLE_ANONYMOUS", "true")
        .env("VECTOR_DB_SPREADSHEET_ID", google::SPREADSHEET)
        // The emulator has no quota to keep to.
        .env("KARUTE_SHEETS_READS_PER_MINUTE", "10000");
    command
}

/// What a program printed.
///
/// # Panics
/// Bytes that are no text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What a program that succeeded printed.
///
/// # Panics
/// A failure, or what is no JSON.
pub fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

/// A server that is stopped when the test ends.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Server {
    /// Starts a server on a free port and waits for its greeting.
    ///
    /// # Panics
    /// One that does not start.
    pub fn start(command: Command) -> Self {
        Self::logging(command, Stdio::null())
    }

    /// The same, with its log.
    ///
    /// # Panics
    /// One that does not start.
    pub fn logging(mut command: Command, log: impl Into<Stdio>) -> Self {
        let mut child = command.env("PORT", "0").stdout(Stdio::piped()).stderr(log).spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
        let greeting = lines
            .find_map(|line| {
                line.expect("UTF-8").strip_prefix("karute answers on http://").map(str::to_owned)
            })
            .expect("a greeting");
        // The rest of the greeting is read so that the server never writes into a closed pipe.
        lines.take(4).for_each(|line| drop(line.expect("UTF-8")));
        Self { child, address: greeting }
    }

    /// Sends bytes and reads whatever comes until the connection ends.
    ///
    /// # Panics
    /// A server that is not there.
    pub fn request(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> String {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// `POST path` with a JSON body.
    pub fn post(&self, path: &str, body: &str) -> String {
        self.post_with(path, "", body)
    }

    /// `POST path` with a JSON body and more headers, each with its line end.
    pub fn post_with(&self, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        self.request(&format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             {headers}Content-Length: {length}\r\n\r\n{body}"
        ))
    }

    /// Sends the process a signal.
    ///
    /// # Panics
    /// `kill` that fails.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
