//! A serial port on a socket: one connection at a time; what is sent while nobody is connected is lost.

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
use std::sync::{Arc, Mutex, PoisonError};

/// A connection, or none.
#[derive(Clone, Default)]
pub(super) struct Peer(Arc<Mutex<Option<Stream>>>);

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
    fn set(&self, stream: Option<Stream>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stream;
    }

    /// The connection, on a handle of its own: nobody who waits in a write holds up who reads.
    fn get(&self) -> Option<Stream> {
        let peer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peer.as_ref().and_then(|stream| stream.try_clone().ok())
    }

    /// A connection, for as long as it lasts.
    fn serve(&self, mut stream: Stream, typist: &mut Typist) -> bool {
        let Ok(kept) = stream.try_clone() else { return true };
        self.set(Some(kept));
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
        self.set(None);
        heard
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.get().is_some_and(|mut stream| stream.write_all(bytes).is_err()) {
            self.set(None);
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
    let peer = Peer::default();
    let serving = peer.clone();
    if !socket.server {
        let stream = connect(&socket.address).map_err(failed)?;
        let kept = stream.try_clone().map_err(failed)?;
        peer.set(Some(kept));
        stop::spawn("input", move || _ = serving.serve(stream, &mut typist))?;
        return Ok(peer);
    }
    let listener = listen(&socket.address).map_err(failed)?;
    let mut first = None;
    if socket.wait {
        output::say(&format!("strata: waiting for a connection to {shown}\n"));
        let stream = listener.accept().map_err(failed)?;
        peer.set(stream.try_clone().ok());
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
