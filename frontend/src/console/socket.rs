//! A serial port on a socket: one connection at a time. What is sent before the first is kept for it, as far as a
//! bound; what is sent between two is lost.

use super::backend::Typist;
use super::chardev::{Address, Socket};
use crate::output;
use crate::status::Failure;
use crate::stop;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that are kept for the first connection: what a socket takes at once, whether it is read or not.
const EARLY: usize = 16 << 10;

/// A connection, or none.
#[derive(Clone)]
pub(super) struct Peer(Arc<Mutex<Side>>);

/// What is on the other side.
enum Side {
    /// Nobody yet: what waits to be read.
    Nobody(Vec<u8>),
    /// Nobody any more.
    Gone,
    Somebody(Stream),
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Stream {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tcp(stream) => stream.write_all(bytes),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Unix(listener) => Stream::Unix(listener.accept()?.0),
            Self::Tcp(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
        })
    }
}

impl Peer {
    /// For a port, which says its bytes to whoever comes first, or for a monitor, which greets whoever comes.
    fn new(greets: bool) -> Self {
        let side = if greets { Side::Gone } else { Side::Nobody(Vec::new()) };
        Self(Arc::new(Mutex::new(side)))
    }

    fn side(&self) -> MutexGuard<'_, Side> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has come, and gets what waits.
    fn set(&self, mut stream: Stream) {
        let mut side = self.side();
        if let Side::Nobody(waiting) = &*side {
            _ = stream.write_all(waiting);
        }
        *side = Side::Somebody(stream);
    }

    fn leave(&self) {
        *self.side() = Side::Gone;
    }

    /// Something waits for the first who comes.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(&*self.side(), Side::Nobody(waiting) if !waiting.is_empty())
    }

    /// The connection, on a handle of its own: nobody who waits in a write holds up who reads. Without one, `bytes`
    /// wait.
    fn get(&self, bytes: &[u8]) -> Option<Stream> {
        match &mut *self.side() {
            Side::Nobody(waiting) => {
                let room = EARLY - waiting.len();
                waiting.extend(&bytes[..bytes.len().min(room)]);
                None
            }
            Side::Gone => None,
            Side::Somebody(stream) => stream.try_clone().ok(),
        }
    }

    /// A connection, for as long as it lasts.
    fn serve(&self, mut stream: Stream, typist: &mut Typist) -> bool {
        let Ok(kept) = stream.try_clone() else { return true };
        self.set(kept);
        typist.hello();
        let mut buffer = [0; 256];
        let heard = loop {
            match stream.read(&mut buffer) {
                Ok(count @ 1..) if !typist.type_in(&buffer[..count]) => break false,
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break true,
            }
        };
        self.leave();
        heard
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.get(bytes).is_some_and(|mut stream| stream.write_all(bytes).is_err()) {
            self.leave();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects, or lets others connect; the stream for what the guest sends.
pub(super) fn open(socket: &Socket, mut typist: Typist) -> Result<Peer, Failure> {
    let shown = show(&socket.address);
    let failed = |error: io::Error| {
        let why = if socket.server { "a place to listen at" } else { "where somebody listens" };
        Failure::usage(format!("-serial {shown}"), format!("{error}; accepted is {why}"))
    };
    let peer = Peer::new(typist.greets());
    let serving = peer.clone();
    if !socket.server {
        let stream = connect(&socket.address).map_err(failed)?;
        let kept = stream.try_clone().map_err(failed)?;
        peer.set(kept);
        stop::spawn("input", move || _ = serving.serve(stream, &mut typist))?;
        return Ok(peer);
    }
    let listener = listen(&socket.address).map_err(failed)?;
    let mut first = None;
    if socket.wait {
        output::say(&format!("strata: waiting for a connection to {shown}\n"));
        let stream = listener.accept().map_err(failed)?;
        peer.set(stream.try_clone().map_err(failed)?);
        first = Some(stream);
    }
    stop::spawn("input", move || {
        loop {
            let stream = first.take().map_or_else(|| listener.accept(), Ok);
            let Ok(stream) = stream else { return };
            if !serving.serve(stream, &mut typist) {
                return;
            }
        }
    })?;
    Ok(peer)
}

fn connect(address: &Address) -> io::Result<Stream> {
    Ok(match address {
        Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        Address::Tcp { host, port } => {
            let host = if host.is_empty() { "localhost" } else { host };
            let stream = TcpStream::connect((host, *port))?;
            stream.set_nodelay(true)?;
            Stream::Tcp(stream)
        }
    })
}

fn listen(address: &Address) -> io::Result<Listener> {
    Ok(match address {
        Address::Unix(path) => {
            remove_old(path);
            Listener::Unix(UnixListener::bind(path)?)
        }
        Address::Tcp { host, port } => {
            let host = if host.is_empty() { "0.0.0.0" } else { host };
            Listener::Tcp(TcpListener::bind((host, *port))?)
        }
    })
}

/// Removes the socket of an earlier run, at which nobody listens any more.
fn remove_old(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        _ = fs::remove_file(path);
    }
}

fn show(address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Tcp { host, port } => format!("tcp:{host}:{port}"),
    }
}
