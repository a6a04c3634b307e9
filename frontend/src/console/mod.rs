//! The machine's serial ports on the host's side.
//!
//! Reading order: `chardev` (where a port may lead), `backend` (what is opened for it, and its reader),
//! `escape` (keys for the command), `terminal`, `socket`, `pty`.

mod backend;
pub(crate) mod chardev;
mod escape;
mod pty;
mod socket;
pub(crate) mod terminal;

use crate::output::Output;
use crate::status::Failure;
use crate::stop::Stop;
use backend::{Backend, Purpose, Run};
use chardev::{Chardev, Named, Serial};
pub(crate) use escape::Key;
use std::io::{Error, ErrorKind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;
use terminal::Raw;

/// How long a wait for input lasts at most.
const WAIT: Duration = Duration::from_millis(100);

/// Where each port's output goes, and where input comes from.
pub(crate) struct Consoles {
    ports: Vec<Backend>,
    monitors: Vec<Monitor>,
    /// Rings when a reader has news.
    bell: Receiver<()>,
    /// A person types at the terminal.
    person: bool,
    /// The terminal is raw as long as this is there.
    _raw: Option<Raw>,
}

/// What a monitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// A person's commands: QEMU's HMP.
    Person,
    /// A program's commands: QEMU's QMP.
    Program,
}

/// Where a monitor is.
struct Monitor {
    language: Language,
    input: Option<Receiver<Key>>,
    /// `None`: the output of the port that it shares.
    output: Option<Output>,
    port: usize,
}

/// The serial ports of a machine, and its monitors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serials {
    pub(crate) ports: Vec<Serial>,
    pub(crate) named: Vec<Named>,
    /// Ctrl-A three times goes to the guest.
    pub(crate) switch: bool,
    /// Monitors besides those behind Ctrl-A c.
    pub(crate) monitors: Vec<(Language, Serial)>,
}

impl Serials {
    /// The terminal, or what else the ports are for.
    pub(crate) fn new(
        ports: Vec<Serial>,
        named: Vec<Named>,
        monitors: Vec<(Language, Serial)>,
    ) -> Self {
        let stdio = |(_, place): &(Language, Serial)| {
            matches!(place, Serial::To { device: Chardev::Stdio { .. }, .. })
        };
        let ports = match ports.is_empty() {
            true if monitors.iter().any(stdio) => vec![chardev::NOWHERE],
            true => vec![chardev::TERMINAL],
            false => ports,
        };
        Self { ports, named, switch: false, monitors }
    }

    /// The monitors that are not behind Ctrl-A c of a port, for which a device is both.
    fn own_monitors(&self) -> impl Iterator<Item = &(Language, Serial)> {
        self.monitors.iter().filter(|(_, place)| {
            let shared = matches!(place, Serial::Named(_)) && self.ports.contains(place);
            !shared || !self.device(place).is_ok_and(|(_, mux)| mux)
        })
    }

    /// The device of a port, and whether it has the keys behind Ctrl-A.
    fn device<'a>(&'a self, port: &'a Serial) -> Result<(&'a Chardev, bool), Failure> {
        match port {
            Serial::To { device, mux } => Ok((device, *mux)),
            Serial::Named(id) => {
                let found = self.named.iter().find(|named| named.id == *id);
                let named = found.ok_or_else(|| {
                    let why = "no such device; accepted is the id= of a -chardev";
                    Failure::usage(format!("-serial chardev:{id}"), why)
                })?;
                Ok((&named.device, named.mux))
            }
        }
    }

    /// The devices of all ports, of which one at most may be the terminal.
    ///
    /// # Errors
    /// More ports than the machine has, one device for two of them, or a name that is no device's.
    fn devices(&self) -> Result<Vec<(&Chardev, bool)>, Failure> {
        if self.ports.len() > 2 {
            let why = format!("{} ports; accepted are at most two", self.ports.len());
            return Err(Failure::usage("-serial", why));
        }
        let devices = self.ports.iter().map(|port| self.device(port));
        let devices: Vec<_> = devices.collect::<Result<_, _>>()?;
        let monitors = self.own_monitors().map(|(_, place)| self.device(place));
        let monitors: Vec<_> = monitors.collect::<Result<_, _>>()?;
        let stdio = |d: &&(&Chardev, bool)| matches!(d.0, Chardev::Stdio { .. } | Chardev::Stdout);
        let named = |s: &Serial| matches!(s, Serial::Named(_));
        if devices.iter().chain(&monitors).filter(stdio).count() > 1
            || self.ports.len() == 2 && self.ports[0] == self.ports[1] && named(&self.ports[0])
        {
            let why = "one device for two ports; accepted is one for each, stdio for one of them";
            let flag = if monitors.is_empty() { "-serial" } else { "-serial, -monitor or -qmp" };
            return Err(Failure::usage(flag, why));
        }
        Ok(devices)
    }
}

impl Consoles {
    /// Opens the ports in order.
    pub(crate) fn open(serials: &Serials, stop: &Stop) -> Result<Self, Failure> {
        let devices = serials.devices()?;
        let (ring, bell) = sync_channel(1);
        let run = Run { stop: stop.clone(), bell: ring, switch: serials.switch };
        let mut raw = None;
        let mut person = false;
        let mut ports = Vec::new();
        let mut monitors = Vec::new();
        for (port, (device, mux)) in devices.into_iter().enumerate() {
            let label = format!("serial{port}");
            let mut opened = backend::open(device, Purpose::Port(mux), &run, &label)?;
            monitors.extend(opened.monitor.take().map(|input| Monitor {
                language: Language::Person,
                input: Some(input),
                output: None,
                port,
            }));
            ports.push(opened);
            match device {
                Chardev::Stdio { signals } if terminal::is_stdin() => {
                    raw = Some(Raw::new(*signals));
                    person = true;
                }
                Chardev::Pty => person = true,
                _ => {}
            }
        }
        for (n, (language, place)) in serials.own_monitors().enumerate() {
            let (device, _) = serials.device(place)?;
            let opened = backend::open(device, Purpose::Monitor, &run, &format!("monitor{n}"))?;
            let Backend { output, input, monitor: _ } = opened;
            monitors.push(Monitor { language: *language, input, output, port: usize::MAX });
            if matches!(device, Chardev::Stdio { .. }) && terminal::is_stdin() {
                raw = Some(Raw::new(true));
            }
        }
        Ok(Self { ports, monitors, bell, person, _raw: raw })
    }

    /// What each monitor speaks.
    pub(crate) fn languages(&self) -> Vec<Language> {
        self.monitors.iter().map(|monitor| monitor.language).collect()
    }

    /// Somebody may come to a monitor that has a place of its own.
    pub(crate) fn listens(&self) -> bool {
        self.monitors.iter().any(|monitor| monitor.output.is_some() && monitor.input.is_some())
    }

    /// What was typed at a monitor since the last call.
    pub(crate) fn heard(&mut self, monitor: usize) -> Option<Key> {
        received(&mut self.monitors.get_mut(monitor)?.input)
    }

    /// Hands on what a monitor says. Nobody who does not read holds up the machine: then it is lost.
    pub(crate) fn tell(&mut self, monitor: usize, text: String) {
        let Some(monitor) = self.monitors.get_mut(monitor).filter(|_| !text.is_empty()) else {
            return;
        };
        let port = self.ports.get_mut(monitor.port).and_then(|port| port.output.as_mut());
        if let Some(output) = monitor.output.as_mut().or(port) {
            output.offer(text.into_bytes());
        }
    }

    /// A person types at the terminal, or at a pseudo-terminal.
    pub(crate) fn person(&self) -> bool {
        self.person
    }

    /// Hands on what port `port` of the machine sent. What no `-serial` is for goes nowhere.
    pub(crate) fn write(
        &mut self,
        port: usize,
        bytes: Vec<u8>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let output = self.ports.get_mut(port).and_then(|port| port.output.as_mut());
        let Some(output) = output else { return Ok(()) };
        output.write(bytes, stop).map_err(|error| failure(error, stop))
    }

    /// Waits until all that was handed on is written.
    pub(crate) fn finish(&mut self, stop: &Stop) -> Result<(), Failure> {
        for monitor in self.monitors.iter_mut().filter_map(|monitor| monitor.output.as_mut()) {
            monitor.finish_soon();
        }
        let mut outputs = self.ports.iter_mut().filter_map(|port| port.output.as_mut());
        outputs.try_for_each(|output| output.finish(stop)).map_err(|error| failure(error, stop))
    }

    /// The ports from which more may come.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = usize> {
        self.ports.iter().enumerate().filter(|(_, port)| port.input.is_some()).map(|(n, _)| n)
    }

    /// What was typed at a port since the last call.
    pub(crate) fn typed(&mut self, port: usize) -> Option<Key> {
        received(&mut self.ports.get_mut(port)?.input)
    }

    /// Waits for news from a reader, a moment at most, and not longer than `time`.
    pub(crate) fn wait(&mut self, time: Duration) {
        let time = time.min(WAIT);
        match self.bell.recv_timeout(time) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
        }
    }
}

/// What a reader has handed on, if it is still there.
fn received(input: &mut Option<Receiver<Key>>) -> Option<Key> {
    match input.as_ref()?.try_recv() {
        Ok(key) => Some(key),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Disconnected) => {
            *input = None;
            None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ports: &[&str], named: &[&str], expect: &str) {
        let serials = Serials {
            ports: ports.iter().map(|p| chardev::serial(p).unwrap()).collect(),
            named: named.iter().map(|n| chardev::chardev(n).unwrap()).collect(),
            switch: false,
            monitors: Vec::new(),
        };
        let open = Consoles::open(&serials, &Stop::default()).map(|c| c.ports.len().to_string());
        let found = open.unwrap_or_else(|f| f.text);
        assert!(found.starts_with(expect), "{found}");
    }

    #[test]
    fn ports() {
        check(&[], &[], "0");
        check(&["null", "none"], &[], "2");
        check(&["stdio", "stdio"], &[], "-serial: one device for two ports; accepted is");
        check(&["null", "null", "null"], &[], "-serial: 3 ports; accepted are at most two");
        check(&["file:/no/such"], &[], "-serial file:/no/such: No such file");
        check(&["pipe:/no/such"], &[], "-serial pipe:/no/such: No such file");
        check(&["unix:/no/such"], &[], "-serial unix:/no/such: No such file");
        check(&["unix:/no/such/s,server=on"], &[], "-serial unix:/no/such/s: No such file");
        check(&["chardev:a", "null"], &["null,id=a"], "2");
        check(&["chardev:b"], &["null,id=a"], "-serial chardev:b: no such device");
        check(&["chardev:a", "chardev:a"], &["null,id=a"], "-serial: one device for two ports");
    }
}
