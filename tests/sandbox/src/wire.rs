//! The two places where bytes are tampered with: a TCP stream that can end in a reset, and a body that trickles or ends early.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// A TCP stream that is reset instead of closed when told so before it is dropped.
pub(crate) struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, reset: Arc<AtomicBool>) -> Self {
        Self { stream, reset }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // If this fails the connection ends in order, and a test that waits for the reset says so.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How many pieces a slow body is sent in.
const PIECES: u32 = 8;
/// How long the first half of a truncated body has to leave.
const FLUSH: Duration = Duration::from_millis(10);

/// A body in one piece, in slow pieces, or cut off halfway.
pub(crate) struct Trickle {
    rest: Bytes,
    piece: usize,
    pause: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
    truncated: bool,
}

impl Trickle {
    /// Sends all of `body`, over the time given, or the first half of it and then an error.
    pub(crate) fn new(body: Bytes, over: Option<Duration>, truncated: bool) -> Self {
        let rest = if truncated { body.slice(..body.len() / 2) } else { body };
        let piece = match over {
            Some(_) => rest.len().div_ceil(PIECES as usize).max(1),
            None => rest.len().max(1),
        };
        let pause = over.map(|over| over / PIECES);
        Self { rest, piece, pause, waiting: None, truncated }
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.rest.is_empty() && !self.truncated {
            return Poll::Ready(None);
        }
        // Before the early end there is always a pause, or what was sent would still be in hyper's buffer.
        let pause = if self.rest.is_empty() { Some(FLUSH) } else { self.pause };
        if let Some(pause) = pause {
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(pause)));
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        if self.rest.is_empty() {
            self.truncated = false;
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        let length = self.piece.min(self.rest.len());
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && !self.truncated
    }

    fn size_hint(&self) -> SizeHint {
        if self.truncated {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
