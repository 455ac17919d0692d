//! The trace that a request belongs to (W3C Trace Context, level 1), handed on to every call that it makes.

use std::fmt;
use std::future::Future;

tokio::task_local! {
    static CURRENT: Trace;
}

/// A trace and the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub id: String,
    /// 16 hexadecimal digits: whoever called.
    pub parent: String,
    /// Whether it is recorded.
    pub sampled: bool,
}

impl fmt::Display for Trace {
    /// As the header `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.id, self.parent, u8::from(self.sampled))
    }
}

/// Whether a text is so many lower-case hexadecimal digits, not all of them zero.
fn is_id(text: &str, digits: usize) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    text.len() == digits && text.bytes().all(hex) && text.bytes().any(|c| c != b'0')
}

impl Trace {
    /// Of the header `traceparent`; `None` for one that must be passed over.
    pub fn from_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let version = u8::from_str_radix(version, 16).ok().filter(|_| version.len() == 2)?;
        // Later versions may add parts; this one has none.
        let sound = version != 0xff && (version > 0 || parts.next().is_none());
        let flags = u8::from_str_radix(flags, 16).ok().filter(|_| flags.len() == 2)?;
        (sound && is_id(id, 32) && is_id(parent, 16)).then(|| Self {
            id: id.to_owned(),
            parent: parent.to_owned(),
            sampled: flags & 1 == 1,
        })
    }

    /// Of Google's header `X-Cloud-Trace-Context`: `TRACE_ID/SPAN_ID;o=1`, the span as a decimal number.
    pub fn from_cloud(text: &str) -> Option<Self> {
        let (id, rest) = text.trim().split_once('/')?;
        let (span, options) = rest.split_once(';').unwrap_or((rest, ""));
        let id = id.to_ascii_lowercase();
        let parent = format!("{:016x}", span.parse::<u64>().ok()?);
        (is_id(&id, 32) && is_id(&parent, 16)).then(|| Self { id, parent, sampled: options == "o=1" })
    }

    /// Runs `work` as a part of this trace.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// The same for work that does not wait.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// The trace of whatever runs now.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_are_read_and_what_is_no_trace_is_passed_over() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::from_traceparent(text).expect("a trace");
        assert_eq!(trace.to_string(), text);
        assert!(Trace::from_traceparent(&format!("{text}-x")).is_none(), "version 0 has four parts");
        assert!(
            Trace::from_traceparent(&format!("01{}-x", &text[2..])).is_some(),
            "a later version may have more"
        );
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &text.to_uppercase(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "日本-語",
        ] {
            assert!(Trace::from_traceparent(wrong).is_none(), "{wrong}");
        }
        let cloud = Trace::from_cloud("4bf92f3577b34da6a3ce929d0e0e4736/255;o=1").expect("a trace");
        assert_eq!((cloud.parent.as_str(), cloud.sampled), ("00000000000000ff", true));
        assert!(Trace::from_cloud("x/y").is_none());
    }
}
