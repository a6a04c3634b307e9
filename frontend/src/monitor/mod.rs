//! Monitors: people and programs that look at the machine and steer it, by QEMU's two languages.
//!
//! Reading order: this file (channels, what is asked of a machine), `line` (what a person types), `hmp` (a person's
//! commands), `show` (what `info` prints), `memory` (`x`, `xp`), `qmp` (a program's commands).
//!
//! Invariant: what comes is hostile. A line or a command has a bound, an answer too, and nobody who does not read
//! holds up the machine.

mod hmp;
mod line;
mod memory;
mod qmp;
mod show;

use crate::console::{Consoles, Key, Language};
use crate::status::Status;
use crate::stop::Stop;
use line::Line;
use platform::machine::{Input, Machine};
use std::path::Path;

/// What one monitor may ask for between two slices of the machine's time.
const AT_ONCE: usize = 64;
/// Bytes that an answer has at most.
const ANSWER: usize = 256 << 10;

/// What a monitor does to a run.
pub(crate) trait Target {
    /// The machine that is looked at.
    fn machine(&mut self) -> &mut Machine;
    /// Gives the machine an input now.
    fn input(&mut self, input: Input);
    /// Why a reset, or another state, is not to be had.
    fn is_kept(&self) -> Option<&'static str>;
    /// Writes a snapshot.
    fn save(&mut self, path: &Path) -> Result<(), String>;
    /// Goes on from a snapshot.
    fn load(&mut self, path: &Path) -> Result<(), String>;
    /// The name of the level that runs on a processor.
    fn level(&mut self, processor: usize) -> String;
}

/// Something that programs at a monitor want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Stop,
    Resume,
    /// By the guest, or by a monitor.
    Reset {
        guest: bool,
    },
    PowerDown,
    /// The run ends.
    Shutdown(Status),
}

/// What the run does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attended {
    Run,
    /// The machine stands still.
    Stopped,
    /// The machine is to be reset.
    Reset,
}

/// What all monitors know and decide.
#[derive(Default)]
pub(crate) struct Control {
    paused: bool,
    /// The guest has ended the run: only a reset has the machine go on.
    ended: Option<Status>,
    reset: bool,
    quit: bool,
    events: Vec<Event>,
    /// Names of snapshots that were written.
    saved: Vec<String>,
}

/// A monitor with what has come there.
enum Channel {
    Person(Line),
    Program(qmp::Session),
}

/// The monitors of a run.
#[derive(Default)]
pub(crate) struct Monitors {
    channels: Vec<Channel>,
    control: Control,
}

impl Monitors {
    /// Greets whoever is there; `paused`: the machine waits for a command.
    pub(crate) fn new(consoles: &mut Consoles, paused: bool) -> Self {
        let channels = consoles.languages().into_iter().map(|language| match language {
            Language::Person => Channel::Person(Line::default()),
            Language::Program => Channel::Program(qmp::Session::default()),
        });
        let control = Control { paused, ..Control::default() };
        Self { channels: channels.collect(), control }
    }

    /// Does what was asked since the last call.
    pub(crate) fn attend(
        &mut self,
        consoles: &mut Consoles,
        target: &mut dyn Target,
        stop: &Stop,
    ) -> Attended {
        for n in 0..self.channels.len() {
            for _ in 0..AT_ONCE {
                let Some(key) = consoles.heard(n) else { break };
                let answer = self.channels[n].take(&key, &mut self.control, target);
                consoles.tell(n, cut(answer));
            }
        }
        self.tell_events(consoles);
        if self.control.quit {
            stop.ask(Status::Closed);
        }
        match (std::mem::take(&mut self.control.reset), self.control.paused) {
            (true, _) => Attended::Reset,
            (false, true) => Attended::Stopped,
            (false, false) => Attended::Run,
        }
    }

    /// The guest has ended the run with `status`, and the machine stands still.
    pub(crate) fn stay(&mut self, status: Status, consoles: &mut Consoles) {
        self.control.ended = Some(status);
        self.control.events.push(Event::Shutdown(status));
        self.control.pause(true);
        self.tell_events(consoles);
    }

    /// Tells programs of an event.
    pub(crate) fn happened(&mut self, event: Event, consoles: &mut Consoles) {
        if !self.channels.is_empty() {
            self.control.events.push(event);
            self.tell_events(consoles);
        }
    }

    fn tell_events(&mut self, consoles: &mut Consoles) {
        for event in std::mem::take(&mut self.control.events) {
            for (n, channel) in self.channels.iter().enumerate() {
                if let Channel::Program(session) = channel {
                    consoles.tell(n, session.event(event));
                }
            }
        }
    }
}

impl Channel {
    fn take(&mut self, key: &Key, control: &mut Control, target: &mut dyn Target) -> String {
        match (self, key) {
            (Self::Person(line), Key::Hello) => line.greet(),
            (Self::Program(session), Key::Hello) => session.greet(),
            (Self::Person(line), Key::Bytes(bytes)) => line.take(bytes, control, target),
            (Self::Program(session), Key::Bytes(bytes)) => session.take(bytes, control, target),
            _ => String::new(),
        }
    }
}

/// An answer as bytes for a terminal, cut where it is too long.
fn cut(answer: String) -> String {
    if answer.len() <= ANSWER {
        return answer;
    }
    let end = (0..=ANSWER).rfind(|n| answer.is_char_boundary(*n)).unwrap_or(0);
    format!("{}\r\n(cut)\r\n", &answer[..end])
}

impl Control {
    fn status(&self) -> &'static str {
        match self.ended {
            Some(Status::GuestPanicked) => "guest-panicked",
            Some(_) => "shutdown",
            None if self.paused => "paused",
            None => "running",
        }
    }

    /// Has the machine go on, unless it is at its end.
    fn go_on(&mut self) -> Result<(), String> {
        if self.ended.is_some() {
            return Err("Resetting the Virtual Machine is required".into());
        }
        self.pause(false);
        Ok(())
    }

    fn pause(&mut self, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            self.events.push(if paused { Event::Stop } else { Event::Resume });
        }
    }

    /// Has the machine reset, unless what is kept of the run would not know.
    fn reset(&mut self, target: &dyn Target) -> Result<(), String> {
        if let Some(why) = target.is_kept() {
            return Err(format!("no reset: {why}"));
        }
        self.reset = true;
        self.ended = None;
        self.events.push(Event::Reset { guest: false });
        Ok(())
    }

    fn power_down(&mut self, target: &mut dyn Target) {
        target.input(Input::PowerButton);
        self.events.push(Event::PowerDown);
    }
}
