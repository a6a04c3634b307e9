//! The machine's serial ports on the host's side.
//!
//! Reading order: `chardev` (where a port may lead), `backend` (what is opened for it, and its reader),
//! `escape` (keys for the command), `terminal`, `socket`, `pty`, `own` (domains' consoles).

mod backend;
pub(crate) mod chardev;
mod escape;
pub(crate) mod own;
mod pty;
mod socket;
pub(crate) mod terminal;

use crate::output::Output;
use crate::status::Failure;
use crate::stop::Stop;
use backend::{Backend, Purpose, Run};
use chardev::{Chardev, Named, Serial};
pub(crate) use escape::Key;
use own::{Frames, Own, frames};
use socket::Peer;
use std::io::{Error, ErrorKind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;
use terminal::Raw;

/// How long a wait for input lasts at most.
const WAIT: Duration = Duration::from_millis(100);
/// How often the end of a run looks whether somebody has come to a socket, and how many times.
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: u32 = 20;

/// Where each port's output goes, and where input comes from.
pub(crate) struct Consoles {
    /// Those of the machine, then the consoles of domains' own.
    ports: Vec<Backend>,
    own: Option<OwnLine>,
    /// Where the debug port leads.
    debug: Option<Backend>,
    monitors: Vec<Monitor>,
    /// Rings when a reader has news.
    bell: Receiver<()>,
    /// A person types at the terminal.
    person: bool,
    /// The terminal is raw as long as this is there.
    _raw: Option<Raw>,
}

/// The machine's port that domains' consoles share.
struct OwnLine {
    /// Whose they are, in the order of the consoles.
    domains: Vec<u8>,
    frames: Frames,
    /// Who is asked first for what was typed.
    turn: usize,
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
    /// Consoles of domains' own.
    pub(crate) own: Vec<Own>,
    /// Where the debug port leads.
    pub(crate) debug: Option<Serial>,
}

impl Serials {
    /// The terminal, or what else the ports are for.
    pub(crate) fn new(
        ports: Vec<Serial>,
        named: Vec<Named>,
        monitors: Vec<(Language, Serial)>,
        debug: Option<Serial>,
    ) -> Self {
        let stdio =
            |place: &Serial| matches!(place, Serial::To { device: Chardev::Stdio { .. }, .. });
        let mut others = monitors.iter().map(|(_, place)| place).chain(&debug);
        let ports = match ports.is_empty() {
            true if others.any(stdio) => vec![chardev::NOWHERE],
            true => vec![chardev::TERMINAL],
            false => ports,
        };
        Self { ports, named, switch: false, monitors, own: Vec::new(), debug }
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

    /// Whether a port or a monitor is on the terminal.
    pub(crate) fn use_stdio(&self) -> bool {
        let monitors = self.monitors.iter().map(|(_, place)| place);
        let stdio = |d: &Chardev| matches!(d, Chardev::Stdio { .. } | Chardev::Stdout);
        let is_stdio = |place| self.device(place).is_ok_and(|(device, _)| stdio(device));
        self.places().chain(monitors).chain(&self.debug).any(is_stdio)
    }

    /// The devices of all ports, of which one at most may be the terminal.
    ///
    /// # Errors
    /// More ports than the machine has, one device for two of them, or a name that is no device's.
    fn devices(&self) -> Result<Vec<(&Chardev, bool)>, Failure> {
        if self.ports.len() > PORTS {
            let why = format!("{} ports; accepted are at most two", self.ports.len());
            return Err(Failure::usage("-serial", why));
        }
        if self.ports.len() == PORTS && !self.own.is_empty() {
            let why = "COM2 is for the domains with console=; accepted is one port";
            return Err(Failure::usage("-serial", why));
        }
        let devices: Vec<_> =
            self.places().map(|place| self.device(place)).collect::<Result<_, _>>()?;
        let monitors = self.own_monitors().map(|(_, place)| self.device(place));
        let mut monitors: Vec<_> = monitors.collect::<Result<_, _>>()?;
        if let Some(place) = &self.debug {
            monitors.push(self.device(place)?);
        }
        let stdio = |d: &&(&Chardev, bool)| matches!(d.0, Chardev::Stdio { .. } | Chardev::Stdout);
        let named: Vec<_> = self.places().filter(|s| matches!(s, Serial::Named(_))).collect();
        let twice = named.iter().enumerate().any(|(n, place)| named[..n].contains(place));
        if devices.iter().chain(&monitors).filter(stdio).count() > 1 || twice {
            let why = "one device for two ports; accepted is one for each, stdio for one of them";
            let flag = match (monitors.is_empty(), self.own.is_empty()) {
                (true, true) => "-serial",
                (true, false) => "-serial or console=",
                _ => "-serial, -monitor, -qmp or -debugcon",
            };
            return Err(Failure::usage(flag, why));
        }
        Ok(devices)
    }

    /// Where the ports and the consoles of domains' own are.
    fn places(&self) -> impl Iterator<Item = &Serial> {
        self.ports.iter().chain(self.own.iter().map(|own| &own.serial))
    }
}

/// Serial ports that a machine has.
const PORTS: usize = 2;

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
        for (n, (device, mux)) in devices.into_iter().enumerate() {
            let own = n.checked_sub(serials.ports.len()).map(|n| &serials.own[n]);
            if own.is_some() {
                ports.resize_with(PORTS.max(ports.len()), || Backend::new(None, None));
            }
            let port = ports.len();
            let label = own.map_or_else(|| format!("serial{port}"), |own| own.name.clone());
            let opened = backend::open(device, Purpose::Port(mux), &run, &label);
            let mut opened = opened.map_err(|failure| at_domain(failure, own))?;
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
            let Backend { output, input, .. } = opened;
            monitors.push(Monitor { language: *language, input, output, port: usize::MAX });
            if matches!(device, Chardev::Stdio { .. }) && terminal::is_stdin() {
                raw = Some(Raw::new(true));
            }
        }
        let debug = serials.debug.as_ref().map(|place| {
            let (device, _) = serials.device(place)?;
            // Nobody types to the debug port.
            let stdio = matches!(device, Chardev::Stdio { .. });
            let device = if stdio { &Chardev::Stdout } else { device };
            backend::open(device, Purpose::Port(false), &run, "debugcon")
        });
        let debug = debug.transpose()?;
        let domains: Vec<u8> = serials.own.iter().map(|own| own.domain).collect();
        let line = OwnLine { domains, frames: Frames::default(), turn: 0 };
        let own = (!serials.own.is_empty()).then_some(line);
        Ok(Self { ports, own, debug, monitors, bell, person, _raw: raw })
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
        let Some(own) = self.own.as_mut().filter(|_| port == own::PORT) else {
            return self.hand_on(port, bytes, stop);
        };
        let parts = own.frames.take(&bytes);
        let place = |domain| own.domains.iter().position(|known| *known == domain);
        let parts: Vec<_> =
            parts.into_iter().filter_map(|(dom, bytes)| Some((place(dom)?, bytes))).collect();
        parts.into_iter().try_for_each(|(n, bytes)| self.hand_on(PORTS + n, bytes, stop))
    }

    /// Hands on what was written to the debug port.
    pub(crate) fn write_debug(&mut self, bytes: Vec<u8>, stop: &Stop) -> Result<(), Failure> {
        let output = self.debug.as_mut().and_then(|debug| debug.output.as_mut());
        let Some(output) = output else { return Ok(()) };
        output.write(bytes, stop).map_err(|error| failure(error, stop))
    }

    fn hand_on(&mut self, n: usize, bytes: Vec<u8>, stop: &Stop) -> Result<(), Failure> {
        let output = self.ports.get_mut(n).and_then(|port| port.output.as_mut());
        let Some(output) = output else { return Ok(()) };
        output.write(bytes, stop).map_err(|error| failure(error, stop))
    }

    /// Waits until all that was handed on is written.
    pub(crate) fn finish(&mut self, stop: &Stop) -> Result<(), Failure> {
        for monitor in self.monitors.iter_mut().filter_map(|monitor| monitor.output.as_mut()) {
            monitor.finish_soon();
        }
        let all = self.ports.iter_mut().chain(&mut self.debug);
        let mut outputs = all.filter_map(|port| port.output.as_mut());
        let finished = outputs.try_for_each(|output| output.finish(stop));
        self.await_readers(stop);
        finished.map_err(|error| failure(error, stop))
    }

    /// Who starts a run and then connects to its sockets finds them, also if the guest has ended by then: for what
    /// nobody has read yet, a reader has a second to come.
    fn await_readers(&self, stop: &Stop) {
        let peers = self.ports.iter().filter_map(|port| port.peer.as_ref());
        let mut patience = PATIENCE;
        while patience > 0 && stop.asked().is_none() && peers.clone().any(Peer::is_awaited) {
            std::thread::sleep(LOOK);
            patience -= 1;
        }
    }

    /// The ports of the machine from which more may come.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = usize> {
        let open = self.ports.iter().enumerate().filter(|(_, port)| port.input.is_some());
        open.map(|(n, _)| if n < PORTS { n } else { own::PORT })
    }

    /// What was typed at a port since the last call.
    pub(crate) fn typed(&mut self, port: usize) -> Option<Key> {
        match &mut self.own {
            Some(own) if port == own::PORT => {
                // Whoever types much keeps nobody else from it.
                own.turn += 1;
                let count = own.domains.len();
                let turns = (0..count).map(|n| (own.turn + n) % count);
                turns.into_iter().find_map(|n| {
                    match received(&mut self.ports.get_mut(PORTS + n)?.input)? {
                        Key::Bytes(bytes) => Some(Key::Bytes(frames(own.domains[n], &bytes))),
                        // A domain's console has no line on which there could be a break.
                        _ => None,
                    }
                })
            }
            _ => received(&mut self.ports.get_mut(port)?.input),
        }
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

/// A failure with the domain whose console it is about.
fn at_domain(failure: Failure, own: Option<&Own>) -> Failure {
    let Some(own) = own else { return failure };
    let text = failure.text.strip_prefix("-serial ").unwrap_or(&failure.text);
    Failure { status: failure.status, text: format!("{}: console={text}", own.place) }
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
        check_own(ports, named, &[], expect);
    }

    #[track_caller]
    fn check_own(ports: &[&str], named: &[&str], own: &[&str], expect: &str) {
        let serials = Serials {
            ports: ports.iter().map(|p| chardev::serial(p).unwrap()).collect(),
            named: named.iter().map(|n| chardev::chardev(n).unwrap()).collect(),
            switch: false,
            monitors: Vec::new(),
            debug: None,
            own: own
                .iter()
                .map(|text| Own {
                    domain: 1,
                    place: "--domu (name=a)".into(),
                    name: "a".into(),
                    serial: chardev::serial(text).unwrap(),
                })
                .collect(),
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
    #[test]
    fn consoles_of_domains_own() {
        check_own(&["null"], &[], &["null", "null"], "4");
        check_own(&[], &[], &["null"], "3");
        check_own(
            &["null", "null"],
            &[],
            &["null"],
            "-serial: COM2 is for the domains with console=",
        );
        check_own(&["stdio"], &[], &["stdio"], "-serial or console=: one device for two ports");
        check_own(
            &["null"],
            &["null,id=x"],
            &["chardev:x", "chardev:x"],
            "-serial or console=: one",
        );
        let expect = "--domu (name=a): console=file:/no/such: No such file";
        check_own(&["null"], &[], &["file:/no/such"], expect);
    }
}
