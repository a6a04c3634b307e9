//! Where gdb comes from, and the bytes to and from it.

use crate::status::Failure;
use crate::stop;
use gdbstub::conn::{Connection as GdbConnection, ConnectionExt};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// Where gdb is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Where {
    /// No gdb is waited for.
    Nobody,
    /// A port of the host, by name or address and number.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
    /// Standard input and output.
    Stdio,
}

/// What the accepted forms are.
const ACCEPTED: &str = "accepted are tcp:HOST:PORT, unix:PATH, stdio and none";

/// Reads `tcp:HOST:PORT` and its like, as `-gdb` takes them; QEMU's words behind a comma have no effect.
pub(crate) fn place(text: &str) -> Result<Where, String> {
    let wrong = || format!("{ACCEPTED}; found {text:?}");
    let plain = text.split(',').next().unwrap_or_default();
    match plain.split_once(':') {
        None if plain == "none" => Ok(Where::Nobody),
        None if plain == "stdio" => Ok(Where::Stdio),
        Some(("unix", path)) if !path.is_empty() => Ok(Where::Unix(path.into())),
        Some(("tcp", rest)) => {
            let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok(Where::Tcp(host.into(), port.parse().map_err(|_| wrong())?))
        }
        _ => Err(wrong()),
    }
}

/// Waits for gdb.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    Stdio,
}

impl Listener {
    /// Waits at `place`; none if nobody is waited for.
    pub(crate) fn open(place: &Where) -> Result<Option<Listener>, Failure> {
        let failed = |what: String| {
            move |error: io::Error| {
                Failure::usage(format!("-gdb {what}"), format!("{error}; {ACCEPTED}"))
            }
        };
        Ok(Some(match place {
            Where::Nobody => return Ok(None),
            Where::Stdio => Listener::Stdio,
            Where::Tcp(host, port) => {
                let name = format!("tcp:{host}:{port}");
                Listener::Tcp(TcpListener::bind((host.as_str(), *port)).map_err(failed(name))?)
            }
            Where::Unix(path) => {
                let name = format!("unix:{}", path.display());
                let listener = UnixListener::bind(path).map_err(failed(name))?;
                Listener::Unix(listener, path.clone())
            }
        }))
    }

    /// What the user tells gdb, if that must be said.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Listener::Tcp(listener) => {
                let address = listener.local_addr().ok()?;
                Some(format!("target remote {address}"))
            }
            Listener::Unix(_, path) => Some(format!("target remote {}", path.display())),
            Listener::Stdio => None,
        }
    }

    /// Waits for gdb, or looks whether it has come.
    pub(crate) fn accept(&self, wait: bool) -> Result<Option<Connection>, Failure> {
        let accepted = match self {
            Listener::Stdio if !wait => return Ok(None),
            Listener::Stdio => return Connection::new(io::stdin(), io::stdout()).map(Some),
            Listener::Tcp(listener) => listener
                .set_nonblocking(!wait)
                .and_then(|()| listener.accept())
                .and_then(|(stream, _)| tcp(stream)),
            Listener::Unix(listener, _) => listener
                .set_nonblocking(!wait)
                .and_then(|()| listener.accept())
                .and_then(|(stream, _)| unix(stream)),
        };
        match accepted {
            Ok((reader, writer)) => Connection::new(reader, writer).map(Some),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Failure::emulator(format_args!("-gdb: {error}"))),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            _ = fs::remove_file(path);
        }
    }
}

/// Both sides of a stream.
type Sides = (Box<dyn Read + Send>, Box<dyn Write>);

fn tcp(stream: TcpStream) -> io::Result<Sides> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok((Box::new(stream.try_clone()?), Box::new(stream)))
}

fn unix(stream: UnixStream) -> io::Result<Sides> {
    stream.set_nonblocking(false)?;
    Ok((Box::new(stream.try_clone()?), Box::new(stream)))
}

/// Where in gdb's packets the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    Outside,
    Inside,
    /// So many digits of the checksum are to come.
    Checksum(u8),
}

impl Framing {
    /// Whether `byte` is one for the stub. A request to send the last packet again, which gdb makes when an answer is
    /// late, is not: it comes in time.
    fn takes(&mut self, byte: u8) -> bool {
        let here = *self;
        *self = match (here, byte) {
            (Framing::Outside, b'$') => Framing::Inside,
            (Framing::Inside, b'#') => Framing::Checksum(2),
            (Framing::Checksum(2), _) => Framing::Checksum(1),
            (Framing::Checksum(_), _) => Framing::Outside,
            _ => here,
        };
        here != Framing::Outside || byte != b'-'
    }
}

/// Reads of at most 4 KiB that wait for the debugger: what comes beyond stays in the host's socket.
const UNREAD: usize = 16;

/// A connection with gdb. A thread reads, so that it can be looked whether gdb has said anything.
pub(crate) struct Connection {
    input: Receiver<Vec<u8>>,
    read: VecDeque<u8>,
    framing: Framing,
    output: Box<dyn Write>,
    written: Vec<u8>,
}

impl Connection {
    fn new(
        reader: impl Read + Send + 'static,
        writer: impl Write + 'static,
    ) -> Result<Connection, Failure> {
        let (sender, input) = sync_channel(UNREAD);
        stop::spawn("gdb", move || {
            let mut reader = reader;
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        })?;
        let output = Box::new(writer);
        let (read, framing, written) = Default::default();
        Ok(Connection { input, read, framing, output, written })
    }

    fn take(&mut self, bytes: Vec<u8>) {
        let framing = &mut self.framing;
        self.read.extend(bytes.into_iter().filter(|byte| framing.takes(*byte)));
    }

    /// Whether gdb has said something that was not read, or has gone.
    pub(crate) fn has_news(&mut self) -> bool {
        !matches!(self.peek(), Ok(None))
    }
}

impl GdbConnection for Connection {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.written.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.write_all(&self.written)?;
        self.written.clear();
        self.output.flush()
    }
}

impl ConnectionExt for Connection {
    fn read(&mut self) -> io::Result<u8> {
        loop {
            if let Some(byte) = self.read.pop_front() {
                return Ok(byte);
            }
            let more = self.input.recv().map_err(|_| ErrorKind::UnexpectedEof)?;
            self.take(more);
        }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.read.is_empty() {
            match self.input.try_recv() {
                Ok(more) => self.take(more),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(self.read.front().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing() {
        let mut framing = Framing::default();
        let bytes: Vec<u8> =
            b"+-$vCont-#2-\x03-$p#--".iter().copied().filter(|b| framing.takes(*b)).collect();
        assert_eq!(bytes, b"+$vCont-#2-\x03$p#--");
        assert_eq!(framing, Framing::Outside);
    }

    #[test]
    fn places() {
        let tcp = |host: &str, port| Ok(Where::Tcp(host.into(), port));
        assert_eq!(place("tcp::1234"), tcp("127.0.0.1", 1234));
        assert_eq!(place("tcp:[::1]:1,server=on,wait=off"), tcp("::1", 1));
        assert_eq!(place("unix:/a/b,server,nowait"), Ok(Where::Unix("/a/b".into())));
        assert_eq!((place("stdio"), place("none")), (Ok(Where::Stdio), Ok(Where::Nobody)));
        for wrong in ["", "tcp", "tcp:", "tcp:1234", "tcp::x", "tcp::70000", "unix:", "dev"] {
            assert_eq!(place(wrong), Err(format!("{ACCEPTED}; found {wrong:?}")));
        }
    }
}
