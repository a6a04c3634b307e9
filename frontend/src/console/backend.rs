//! The host's side of a serial port: a stream that takes what the guest sends, and a thread that reads
//! what others send.

use super::chardev::Chardev;
use super::escape::{HELP, Key, Keys, SWITCH_HELP};
use super::socket::{self, Peer};
use super::{pty, terminal};
use crate::output::{self, Output};
use crate::status::{Failure, Status};
use crate::stop::{self, Stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::stdin;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, stdout};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Reads that may wait to be handed on.
const WAITING: usize = 16;
/// How often a reader looks whether it may read the terminal.
const LOOK: Duration = Duration::from_millis(200);

/// One port on the host's side.
pub(super) struct Backend {
    /// `None`: output goes nowhere.
    pub(super) output: Option<Output>,
    /// `None`: nothing more will come.
    pub(super) input: Option<Receiver<Key>>,
    /// What is typed for the monitor behind Ctrl-A c.
    pub(super) monitor: Option<Receiver<Key>>,
    /// A socket at which somebody may still be to come.
    pub(super) peer: Option<Peer>,
}

impl Backend {
    pub(super) fn new(output: Option<Output>, typed: Option<Typed>) -> Self {
        let (input, monitor) = typed.map(|typed| (typed.input, typed.monitor)).unzip();
        Self { output, input, monitor: monitor.flatten(), peer: None }
    }
}

/// The other ends of a [`Typist`].
pub(super) struct Typed {
    input: Receiver<Key>,
    monitor: Option<Receiver<Key>>,
}

/// What a device is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A serial port; true: with the keys behind Ctrl-A.
    Port(bool),
    /// A monitor, which greets.
    Monitor,
}

/// What readers need to know of the run.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) stop: Stop,
    /// Rings when something was typed.
    pub(super) bell: SyncSender<()>,
    /// Ctrl-A three times is the guest's.
    pub(super) switch: bool,
}

/// Hands on what was read.
pub(super) struct Typist {
    run: Run,
    to: SyncSender<Key>,
    /// With the keys behind Ctrl-A, their state.
    keys: Option<Keys>,
    /// With these keys, what is typed behind Ctrl-A c.
    monitor: Option<SyncSender<Key>>,
    at_monitor: bool,
    /// Whoever comes is greeted.
    greets: bool,
    /// What nobody takes is dropped, as a terminal does, so that keys for the command are still seen.
    drops: bool,
}

impl Typist {
    /// One with its other ends.
    fn new(run: &Run, purpose: Purpose, drops: bool) -> (Self, Typed) {
        let (to, input) = sync_channel(WAITING);
        let keys = (purpose == Purpose::Port(true)).then(|| Keys::new(run.switch));
        let (monitor, heard) = keys.is_some().then(|| sync_channel(WAITING)).unzip();
        let greets = purpose == Purpose::Monitor;
        let typist = Self { run: run.clone(), to, keys, monitor, at_monitor: false, greets, drops };
        (typist, Typed { input, monitor: heard })
    }

    /// Whether whoever comes is greeted.
    pub(super) fn greets(&self) -> bool {
        self.greets
    }

    /// Somebody has come.
    pub(super) fn hello(&mut self) {
        if self.greets {
            _ = self.to.send(Key::Hello);
            _ = self.run.bell.try_send(());
        }
    }

    /// Hands `bytes` on; false if nobody listens any more.
    pub(super) fn type_in(&mut self, bytes: &[u8]) -> bool {
        let typed = match &mut self.keys {
            Some(keys) => keys.read(bytes),
            None => vec![Key::Bytes(bytes.to_vec())],
        };
        let heard = typed.into_iter().all(|key| self.obey(key));
        _ = self.run.bell.try_send(());
        heard
    }

    fn obey(&mut self, key: Key) -> bool {
        match key {
            Key::Quit => {
                self.run.stop.ask(Status::Quit);
            }
            Key::Help if self.run.switch => output::say(&format!("\n{HELP}{SWITCH_HELP}")),
            Key::Help => output::say(&format!("\n{HELP}")),
            Key::Monitor => {
                self.at_monitor = !self.at_monitor && self.monitor.is_some();
                return !self.at_monitor || self.pass(Key::Hello);
            }
            Key::Snapshot => self.run.stop.wish(),
            Key::Hello => {}
            Key::Break if self.at_monitor => {}
            Key::Bytes(_) | Key::Break => return self.pass(key),
        }
        true
    }

    /// Hands a key to whom it is for: the guest, or the monitor.
    fn pass(&self, key: Key) -> bool {
        let to = self.monitor.as_ref().filter(|_| self.at_monitor).unwrap_or(&self.to);
        match self.drops {
            true => !matches!(to.try_send(key), Err(TrySendError::Disconnected(_))),
            false => to.send(key).is_ok(),
        }
    }
}

impl Drop for Typist {
    /// A reader's end is news too.
    fn drop(&mut self) {
        _ = self.run.bell.try_send(());
    }
}

/// Opens what is on the other side of a port, or where a monitor is.
pub(super) fn open(
    device: &Chardev,
    purpose: Purpose,
    run: &Run,
    label: &str,
) -> Result<Backend, Failure> {
    let only = |output| Ok(Backend::new(Some(output), None));
    let typist = |drops| Typist::new(run, purpose, drops);
    match device {
        Chardev::Null => Ok(Backend::new(None, None)),
        Chardev::Stdout => only(Output::new(stdout())?),
        Chardev::File { path, append } => only(file(path, *append)?),
        Chardev::Stdio { .. } => {
            let terminal = terminal::is_stdin();
            let (mut typist, typed) = typist(terminal);
            typist.hello();
            stop::spawn("input", move || read_stdin(terminal, typist))?;
            Ok(Backend::new(Some(Output::new(stdout())?), Some(typed)))
        }
        Chardev::Pipe(path) => {
            let (from, to) = pipes(path)?;
            let (mut typist, typed) = typist(false);
            typist.hello();
            stop::spawn("input", move || read(from, typist))?;
            Ok(Backend::new(Some(Output::new(to)?), Some(typed)))
        }
        Chardev::Socket(socket) => {
            let (typist, typed) = typist(false);
            let peer = socket::open(socket, typist)?;
            let output = Output::new(peer.clone())?;
            let backend = Backend::new(Some(output), Some(typed));
            Ok(Backend { peer: socket.server.then_some(peer), ..backend })
        }
        Chardev::Pty => {
            let (mut typist, typed) = typist(true);
            typist.hello();
            let output = Output::new(pty::open(typist, label)?)?;
            Ok(Backend::new(Some(output), Some(typed)))
        }
    }
}

fn file(path: &Path, append: bool) -> Result<Output, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).append(append).truncate(!append);
    let file = options.open(path).map_err(|error| {
        let what = format!("-serial file:{}", path.display());
        Failure::usage(what, format!("{error}; accepted is a file that can be written"))
    })?;
    Output::new(file)
}

/// The two named pipes, or the one for both ways. Opened for both ways each, so that nobody need be
/// there yet, and nobody's leaving is an end.
fn pipes(path: &Path) -> Result<(File, File), Failure> {
    let both = |path: PathBuf| OpenOptions::new().read(true).write(true).open(path);
    let with = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let opened = match (both(with(".in")), both(with(".out"))) {
        (Ok(from), Ok(to)) => Ok((from, to)),
        _ => both(path.into()).and_then(|to| Ok((to.try_clone()?, to))),
    };
    opened.map_err(|error| {
        let what = format!("-serial pipe:{}", path.display());
        let shown = path.display();
        Failure::usage(
            what,
            format!("{error}; accepted are pipes {shown}.in and {shown}.out, or {shown}"),
        )
    })
}

/// Reads to the end.
fn read(mut from: impl Read, mut typist: Typist) {
    let mut buffer = [0; 256];
    loop {
        match from.read(&mut buffer) {
            Ok(count @ 1..) if typist.type_in(&buffer[..count]) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// Standard input, without the standard library's buffer, which poll(2) does not know.
struct Stdin;

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(stdin(), buffer)?)
    }
}

/// Reads standard input. In the background a read of the terminal would stop the process, which waits
/// for the foreground instead.
fn read_stdin(is_terminal: bool, typist: Typist) {
    if is_terminal { read(Terminal, typist) } else { read(Stdin, typist) }
}

/// The terminal, where and when it may be read.
struct Terminal;

impl Read for Terminal {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !terminal::foreground() {
                terminal::lost();
                thread::sleep(LOOK);
                continue;
            }
            terminal::again();
            if readable(LOOK) && terminal::foreground() {
                return Stdin.read(buffer);
            }
        }
    }
}

/// Waits until standard input can be read, at most for `time`.
fn readable(time: Duration) -> bool {
    let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    poll(&mut [PollFd::new(&stdin(), PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
}
