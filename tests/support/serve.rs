//! What the emulators share: a server on a thread of its own, faults on demand, bodies that suffer them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::serve::ListenerExt;
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Bytes of a body that are sent, and counted, at once.
pub const CHUNK_BYTES: usize = 16 << 10;

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Of requests with this method.
    pub method: &'static str,
    /// Whose path, decoded, contains this.
    pub path: &'static str,
    /// So many of them; the earlier ones are left alone.
    pub times: usize,
    /// What happens.
    pub effect: Effect,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// The request is not carried out; this status is the answer.
    Status(u16),
    /// The request is carried out; the answer is 503 all the same.
    AnswerLost,
    /// The request waits before it is carried out.
    Wait(Duration),
    /// The connection breaks after so many bytes of the body.
    Torn(usize),
    /// The body comes in small pieces with this pause before each.
    Slow(Duration),
    /// The byte at this place of the body is another one.
    Flipped(usize),
    /// The request is not carried out; this status is the answer, with this reason for programs.
    Reason(u16, &'static str),
    /// The request is not carried out; 429, with so many seconds to wait.
    RetryAfter(u64),
    /// The request is not carried out; the answer is a success with this body.
    Body(&'static str),
}

/// The faults that are still to come.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault. Of several that fit a request, the first acts.
    pub fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Takes all faults back.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The effect of the first fault that fits, which is then used up by one.
    pub fn due(&mut self, method: &str, path: &str) -> Option<Effect> {
        let fits = |fault: &Fault| fault.times > 0 && method == fault.method && path.contains(fault.path);
        let fault = self.0.iter_mut().find(|fault| fits(fault))?;
        fault.times -= 1;
        Some(fault.effect)
    }
}

/// A server on a thread of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Serves `app` on `address`, port 0 for any free one.
    ///
    /// # Errors
    /// A port that is in use.
    pub fn start(address: SocketAddr, app: Router) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                // As Google's servers do: an answer in two pieces does not wait for the first to be acknowledged.
                let listener = TcpListener::from_std(listener)
                    .map(|listener| listener.tap_io(|stream| drop(stream.set_nodelay(true))));
                let serve = async { axum::serve(listener?, app).await };
                tokio::select! {
                    _ = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Turns bytes into a body of such chunks that suffers the effect; `count` is told what leaves.
pub fn body(
    mut bytes: Bytes,
    effect: Option<Effect>,
    chunk_bytes: usize,
    count: impl Fn(usize) + Send + Sync + 'static,
) -> Body {
    if let Some(Effect::Flipped(at)) = effect
        && at < bytes.len()
    {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x10;
        bytes = changed.into();
    }
    let torn = matches!(effect, Some(Effect::Torn(_)));
    if let Some(Effect::Torn(at)) = effect {
        bytes.truncate(at);
    }
    let count = std::sync::Arc::new(count);
    let chunks = stream::unfold(Some(bytes), move |left| {
        let count = count.clone();
        async move {
            let mut left = left?;
            if left.is_empty() {
                return torn.then(|| (Err(io::Error::other("torn on demand")), None));
            }
            if let Some(Effect::Slow(pause)) = effect {
                tokio::time::sleep(pause).await;
            }
            let chunk = left.split_to(chunk_bytes.min(left.len()));
            count(chunk.len());
            Some((Ok(chunk), Some(left)))
        }
    });
    Body::from_stream(chunks)
}

/// A text without its percent signs; what is no encoding stays.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, left @ ..] = rest {
        let code = left.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, code.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &left[2..];
            }
            _ => {
                bytes.push(*first);
                rest = left;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
