//! The sockets: HTTP and HTTPS on one loopback port, one thread per server, faults carried out, calls witnessed.
//!
//! Which fault strikes is decided in `faults.rs`, what a request means in the services.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    clock::Clock, exchange::exchange, faults::Faults, history::History, service::Service, tls::Authority, wire::Wire, witness::Witness,
};

/// The first byte of a TLS connection; no HTTP method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// The fatal alert 40 of TLS. <https://www.rfc-editor.org/rfc/rfc8446#section-6>
const HANDSHAKE_FAILURE: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28];

/// What the servers of one sandbox share.
#[derive(Clone)]
pub struct Surroundings {
    /// Who signs the certificates.
    pub authority: Authority,
    /// What time it is.
    pub clock: Clock,
    /// What goes wrong.
    pub faults: Faults,
    /// Who remembers.
    pub witness: Witness,
}

impl Surroundings {
    /// The machine's clock, no faults, an empty record.
    ///
    /// # Errors
    /// When the certificates cannot be made.
    pub fn new(seed: u64) -> io::Result<Self> {
        Ok(Self { authority: Authority::generate()?, clock: Clock::real(), faults: Faults::new(seed), witness: Witness::default() })
    }
}

/// A service on a port. Dropping it closes the port.
pub struct Server {
    address: SocketAddr,
    core: Arc<Core>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// A service that others hold too.
pub type Shared = Arc<Mutex<dyn Service>>;

/// What the requests of one server are answered from.
pub(crate) struct Core {
    pub(crate) name: &'static str,
    pub(crate) service: Shared,
    pub(crate) history: Mutex<History>,
    pub(crate) surroundings: Surroundings,
    tls: TlsAcceptor,
}

impl Server {
    /// Serves on a port of `127.0.0.1` that the system chooses. The name is asked for refused connections (`aws:connect`).
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn start(name: &'static str, service: Shared, surroundings: Surroundings) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let now = surroundings.clock.now();
        let history = Mutex::new(History::new(lock(&service).snapshot(), now));
        let tls = TlsAcceptor::from(surroundings.authority.server());
        let core = Arc::new(Core { name, service, history, surroundings, tls });
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let accepting = Arc::clone(&core);
        let thread = std::thread::Builder::new()
            .name(format!("sandbox-{name}"))
            .spawn(move || runtime.block_on(accept(&accepting, listener, stopped)))?;
        Ok(Self { address, core, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:<port>`.
    #[must_use]
    pub fn https(&self) -> String {
        format!("https://{}", self.address)
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Notes the state after the service was changed from outside, for stale reads.
    pub fn arranged(&self) {
        let service = lock(&self.core.service);
        lock(&self.core.history).changed(service.snapshot(), self.core.surroundings.clock.now());
    }

    /// Makes the present state the only past: no read can be older than this.
    pub fn settle(&self) {
        let service = lock(&self.core.service);
        lock(&self.core.history).settle(service.snapshot(), self.core.surroundings.clock.now());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// Locks, whether or not another holder panicked.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(core: &Arc<Core>, listener: std::net::TcpListener, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of descriptors, most likely: others have to close first.
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                tokio::spawn(connection(Arc::clone(core), stream));
            }
        }
    }
}

async fn connection(core: Arc<Core>, stream: TcpStream) {
    let reset = Arc::new(AtomicBool::new(false));
    if core.surroundings.faults.refuses(core.name) {
        reset.store(true, Ordering::Relaxed);
        drop(Wire::new(stream, reset));
        return;
    }
    let mut first = [0_u8];
    if !matches!(stream.peek(&mut first).await, Ok(1)) {
        return;
    }
    // Small answers leave at once; a failure costs only time.
    let _ = stream.set_nodelay(true);
    let tls = core.tls.clone();
    let breaks_tls = first[0] == TLS_HANDSHAKE && core.surroundings.faults.breaks_tls(core.name);
    let number = core.surroundings.witness.connected();
    let wire = Wire::new(stream, Arc::clone(&reset));
    let service = service_fn(move |request| exchange(Arc::clone(&core), number, Arc::clone(&reset), request));
    let http = http1::Builder::new();
    // Broken connections are the tests' own doing and no news.
    if first[0] == TLS_HANDSHAKE && breaks_tls {
        let mut wire = wire;
        // Whoever shakes hands hears it or has left.
        let _ = wire.write_all(&HANDSHAKE_FAILURE).await;
    } else if first[0] == TLS_HANDSHAKE {
        if let Ok(wire) = tls.accept(wire).await {
            let _ = http.serve_connection(TokioIo::new(wire), service).await;
        }
    } else {
        let _ = http.serve_connection(TokioIo::new(wire), service).await;
    }
}

#[cfg(test)]
mod tests;
