//! The machine's serial ports on the host's side: standard output, files, and standard input.

use crate::status::{Failure, Status};
use crate::values::Serial;
use std::fs::File;
use std::io::{ErrorKind, Read, Write, stdin, stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

/// Where each port's output goes, and where input comes from.
pub(crate) struct Consoles {
    ports: Vec<Box<dyn Write>>,
    /// The port that reads standard input.
    input: Option<(usize, Receiver<Vec<u8>>)>,
}

impl Consoles {
    /// Opens the ports in order. Standard input goes to the port on the terminal.
    ///
    /// # Errors
    /// More ports than the machine has, two of them on the terminal, or a file that cannot be
    /// created.
    pub(crate) fn open(serials: &[Serial]) -> Result<Self, Failure> {
        let on_terminal = |s: &&Serial| **s == Serial::Stdio;
        if serials.len() > 2 || serials.iter().filter(on_terminal).count() > 1 {
            let why = format!("{serials:?}; accepted are at most two, one of them stdio");
            return Err(Failure::usage("-serial", why));
        }
        let ports = serials.iter().map(port).collect::<Result<_, _>>()?;
        let terminal = serials.iter().position(|s| *s == Serial::Stdio);
        Ok(Self { ports, input: terminal.map(|port| (port, reader(stdin()))) })
    }

    /// The number of ports.
    pub(crate) fn count(&self) -> usize {
        self.ports.len()
    }

    /// Hands on what the machine sent.
    pub(crate) fn write(&mut self, port: usize, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.ports[port].write_all(bytes).and_then(|()| self.ports[port].flush());
        match written {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure {
                status: Status::Interrupted,
                text: "standard output: its reader is gone".into(),
            }),
            Err(e) => Err(Failure::emulator(format!("-serial output: {e}"))),
            Ok(()) => Ok(()),
        }
    }

    /// What was typed since the last call, with the port it is for.
    pub(crate) fn typed(&mut self) -> Option<(usize, Vec<u8>)> {
        let (port, input) = self.input.as_ref()?;
        match input.try_recv() {
            Ok(bytes) => Some((*port, bytes)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.input = None;
                None
            }
        }
    }

    /// Waits a moment for input: `None` when there will never be any more.
    pub(crate) fn wait(&mut self) -> Option<Option<(usize, Vec<u8>)>> {
        let (port, input) = self.input.as_ref()?;
        match input.recv_timeout(Duration::from_millis(100)) {
            Ok(bytes) => Some(Some((*port, bytes))),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// One port's output.
fn port(serial: &Serial) -> Result<Box<dyn Write>, Failure> {
    Ok(match serial {
        Serial::Stdio => Box::new(stdout()),
        Serial::Null => Box::new(std::io::sink()),
        Serial::File(path) => Box::new(File::create(path).map_err(|error| {
            let what = format!("-serial file:{}", path.display());
            Failure::usage(what, format!("{error}; accepted is a file that can be written"))
        })?),
    })
}

/// A thread that reads, since a read of the terminal cannot be asked whether it would block.
fn reader(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let check = |serials: &[Serial], expect: &str| {
            let found = Consoles::open(serials).map_or_else(|f| f.text, |c| c.count().to_string());
            assert!(found.starts_with(expect), "{found}");
        };
        check(&[], "0");
        check(&[Serial::Null, Serial::Null], "2");
        check(&[Serial::Stdio, Serial::Stdio], "-serial: [Stdio, Stdio]; accepted are");
        check(&[Serial::Null, Serial::Null, Serial::Null], "-serial: [Null, Null, Null]; accepted");
        check(&[Serial::File("/no/such".into())], "-serial file:/no/such: No such file");
    }

    #[test]
    fn input_ends() {
        let mut consoles = Consoles { ports: Vec::new(), input: Some((1, reader(&b"hello"[..]))) };
        let mut text = Vec::new();
        while let Some(typed) = consoles.wait() {
            text.extend(typed.map(|(port, bytes)| {
                assert_eq!(port, 1);
                bytes
            }));
        }
        assert_eq!(text.concat(), b"hello");
        assert_eq!(consoles.typed(), None);
    }
}
