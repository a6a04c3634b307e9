//! A serial port on a new pseudo-terminal, whose name is printed; what is sent while nobody has it open
//! is lost.

use super::backend::Typist;
use crate::output;
use crate::status::Failure;
use crate::stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often it is looked whether somebody has opened the terminal.
const LOOK: Duration = Duration::from_millis(100);

/// The end of a pseudo-terminal that programs drive.
pub(super) struct Pty(Arc<OwnedFd>);

/// Opens a pseudo-terminal; `label` says for what.
pub(super) fn open(typist: Typist, label: &str) -> Result<Pty, Failure> {
    let (pty, name) = make().map_err(|error| Failure::usage("-serial pty", error))?;
    output::say(&format!("char device redirected to {name} (label {label})\n"));
    let pty = Arc::new(pty);
    let reader = Arc::clone(&pty);
    stop::spawn("input", move || read(&reader, typist))?;
    Ok(Pty(pty))
}

fn make() -> rustix::io::Result<(OwnedFd, String)> {
    let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&pty)?;
    unlockpt(&pty)?;
    let name = ptsname(&pty, Vec::new())?;
    // Open and closed once, it shows from now on whether somebody has it open; and what is typed is not
    // echoed.
    let terminal = rustix::fs::open(
        name.as_c_str(),
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut modes = tcgetattr(&terminal)?;
    modes.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    Ok((pty, name.to_string_lossy().into_owned()))
}

/// What is ready: input, and whether nobody has the terminal open.
fn look(pty: &OwnedFd, time: Duration) -> (bool, bool) {
    let mut fds = [PollFd::new(pty, PollFlags::IN)];
    let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    _ = poll(&mut fds, Some(&time));
    let ready = fds[0].revents();
    (ready.contains(PollFlags::IN), ready.contains(PollFlags::HUP))
}

fn read(pty: &OwnedFd, mut typist: Typist) {
    let mut buffer = [0; 256];
    loop {
        match look(pty, LOOK) {
            (true, _) => match rustix::io::read(pty, &mut buffer) {
                Ok(count) if !typist.type_in(&buffer[..count]) => return,
                Ok(_) => {}
                Err(_) => thread::sleep(LOOK),
            },
            (false, true) => thread::sleep(LOOK),
            (false, false) => {}
        }
    }
}

impl Write for Pty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if look(&self.0, Duration::ZERO).1 {
            return Ok(bytes.len());
        }
        Ok(rustix::io::write(&*self.0, bytes).unwrap_or(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
