//! Server-sent events as model services send them: the format of the HTML standard (9.2), and the ways in which services
//! depart from it. Bytes may be cut anywhere, inside a character too; lines end with LF, CR LF or CR.

use std::mem;

/// Largest event; a service that sends more without an end is broken.
const MOST_BYTES: usize = 4 << 20;

/// What stood in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The data of an event: its `data:` lines, joined by line breaks.
    Data(String),
    /// Lines that belong to no event: some services end a stream with a bare JSON document that says what failed.
    Bare(String),
}

/// An event that never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {MOST_BYTES} bytes")]
pub struct TooLong;

/// Puts events together from bytes as they come.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    data: Option<String>,
    bare: String,
}

impl Parser {
    /// Takes bytes and returns the events that they complete.
    ///
    /// # Errors
    /// An event that is too long to be one.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut found = Vec::new();
        for &byte in bytes {
            // CR LF is one end of a line, even when it is cut between the two.
            let after_cr = mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => found.extend(self.end_line()),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) + self.bare.len() > MOST_BYTES {
                return Err(TooLong);
            }
        }
        Ok(found)
    }

    /// What is left when the stream ends.
    pub fn finish(mut self) -> Vec<Event> {
        let last = self.end_line();
        let data = self.data.take().map(Event::Data);
        let bare = Some(mem::take(&mut self.bare)).filter(|bare| !bare.trim().is_empty()).map(Event::Bare);
        last.into_iter().chain(data).chain(bare).collect()
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            return self.data.take().map(Event::Data);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        match field {
            "data" => {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.to_owned()),
                }
            }
            // A comment, and fields that say nothing here.
            "" | "event" | "id" | "retry" => {}
            _ => {
                self.bare.push_str(&line);
                self.bare.push('\n');
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str, cuts: usize) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(cuts) {
            found.extend(parser.feed(piece).expect("short"));
        }
        found.extend(parser.finish());
        found
    }

    fn data(texts: &[&str]) -> Vec<Event> {
        texts.iter().map(|text| Event::Data((*text).to_owned())).collect()
    }

    #[test]
    fn events_are_the_same_however_their_bytes_are_cut() {
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(
                ": ping{end}{end}event: x{end}data: 体温{end}data:38.5{end}{end}{end}{end}data: 次{end}{end}"
            );
            for cuts in [1, 2, 3, 7, 1_000] {
                assert_eq!(parsed(&text, cuts), data(&["体温\n38.5", "次"]), "{end:?} {cuts}");
            }
        }
    }

    #[test]
    fn what_stands_outside_of_events_and_a_last_event_without_its_end_are_kept() {
        let text = "data: a\n\n{\n  \"error\": {\"code\": 503}\n}\n";
        assert_eq!(
            parsed(text, 5),
            [Event::Data("a".into()), Event::Bare("{\n  \"error\": {\"code\": 503}\n}\n".into())]
        );
        assert_eq!(parsed("data: a", 3), data(&["a"]));
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let line = [b'x'; 1 << 20];
        assert!((0..5).any(|_| parser.feed(&line) == Err(TooLong)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_cuts_do_not_matter(bytes in proptest::collection::vec(any::<u8>(), 0..80), cuts in 1usize..9) {
            let whole = {
                let mut parser = Parser::default();
                let mut found = parser.feed(&bytes).expect("short");
                found.extend(parser.finish());
                found
            };
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(cuts) {
                found.extend(parser.feed(piece).expect("short"));
            }
            found.extend(parser.finish());
            prop_assert_eq!(found, whole);
        }
    }
}
