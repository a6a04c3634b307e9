//! The machine's serial ports on the host's side: standard output, files, and standard input.

use crate::output::Output;
use crate::status::Failure;
use crate::stop::{self, Stop};
use crate::values::Serial;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, stdin, stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;

/// Where each port's output goes, and where input comes from.
pub(crate) struct Consoles {
    /// `None`: nowhere.
    ports: Vec<Option<Output>>,
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
        let input = match terminal {
            Some(port) => Some((port, reader(stdin())?)),
            None => None,
        };
        Ok(Self { ports, input })
    }

    /// Hands on what port `port` of the machine sent. What no `-serial` is for goes nowhere.
    pub(crate) fn write(
        &mut self,
        port: usize,
        bytes: Vec<u8>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let Some(Some(output)) = self.ports.get_mut(port) else { return Ok(()) };
        output.write(bytes, stop).map_err(|error| failure(error, stop))
    }

    /// Waits until all that was handed on is written.
    pub(crate) fn finish(&mut self, stop: &Stop) -> Result<(), Failure> {
        let mut outputs = self.ports.iter_mut().flatten();
        outputs.try_for_each(|output| output.finish(stop)).map_err(|error| failure(error, stop))
    }

    /// The port that reads standard input, if more may come.
    pub(crate) fn input(&self) -> Option<usize> {
        self.input.as_ref().map(|(port, _)| *port)
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

/// What follows from an error of a port's output.
fn failure(error: Error, stop: &Stop) -> Failure {
    match (error.kind(), stop.asked()) {
        (ErrorKind::TimedOut, Some(status)) => Failure {
            status,
            text: "-serial output: its reader has stopped, the rest is lost".into(),
        },
        _ => Failure::output("-serial output", &error),
    }
}

/// One port's output.
fn port(serial: &Serial) -> Result<Option<Output>, Failure> {
    match serial {
        Serial::Stdio => Output::new(stdout()).map(Some),
        Serial::Null => Ok(None),
        Serial::File(path) => {
            let file = File::create(path).map_err(|error| {
                let what = format!("-serial file:{}", path.display());
                Failure::usage(what, format!("{error}; accepted is a file that can be written"))
            })?;
            Output::new(file).map(Some)
        }
    }
}

/// Reads that may wait to be handed on.
const WAITING: usize = 16;

/// A thread that reads, since a read of the terminal cannot be asked whether it would block.
fn reader(mut from: impl Read + Send + 'static) -> Result<Receiver<Vec<u8>>, Failure> {
    let (sender, receiver) = sync_channel(WAITING);
    stop::spawn("input", move || {
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let check = |serials: &[Serial], expect: &str| {
            let open = Consoles::open(serials).map(|c| c.ports.len().to_string());
            let found = open.unwrap_or_else(|f| f.text);
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
        let mut consoles =
            Consoles { ports: Vec::new(), input: Some((1, reader(&b"hello"[..]).unwrap())) };
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
