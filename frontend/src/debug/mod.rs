//! Debian's gdb, and others that speak its remote protocol, on a machine: on a recording, forwards and backwards, or
//! on a run.
//!
//! Reading order: `subject` (what is debugged), `recorded` and `live` (a recording, a run), `target` (the machine as
//! the protocol knows it), `registers`, `monitor` (commands of our own), `domains` (who runs), `why`,
//! `connection`.

pub(crate) mod connection;
mod domains;
pub(crate) mod live;
mod monitor;
pub(crate) mod recorded;
pub(crate) mod registers;
pub(crate) mod subject;
mod target;
mod why;

use crate::kept::Debugger;
use crate::output;
use crate::replay::Replay;
use crate::status::{Failure, Status};
use connection::{Connection, Listener, Where};
use gdbstub::stub::{DisconnectReason, GdbStub};
use platform::machine::Config;
use recorded::Recorded;
use subject::Subject;
use target::{EventLoop, Target};

/// Bytes of a packet of gdb's.
const PACKET: usize = 16 << 10;

/// `strata debug`: serves one gdb after another, until one says `kill`.
pub(crate) fn recording(asked: &Debugger) -> Result<Status, Failure> {
    let replay = Replay::read(&asked.directory)?;
    let place = asked.gdb.clone().unwrap_or(Where::Tcp("127.0.0.1".into(), PORT));
    let Some(listener) = Listener::open(&place)? else {
        let why = "none; accepted are tcp:HOST:PORT, unix:PATH and stdio";
        return Err(Failure::usage("-gdb", why));
    };
    let host = Config { code: asked.accel.unwrap_or_default(), ..Config::default() };
    let mut recorded = Recorded::new(replay, host)?;
    say(&listener, "");
    while let Some(connection) = listener.accept(true)? {
        let gone = serve(connection, &mut recorded)?;
        if gone == Gone::Killed || place == Where::Stdio {
            break;
        }
    }
    Ok(Status::Success)
}

/// The port of QEMU's `-s`.
pub(crate) const PORT: u16 = 1234;

/// Says where gdb is waited for.
pub(crate) fn say(listener: &Listener, more: &str) {
    if let Some(hint) = listener.hint() {
        output::say(&format!("strata: for gdb: {hint}{more}\n"));
    }
}

/// How gdb has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The run goes on without.
    Left,
    /// The run is to end.
    Killed,
}

/// Serves gdb until it goes.
pub(crate) fn serve(connection: Connection, subject: &mut dyn Subject) -> Result<Gone, Failure> {
    let mut target = Target::new(subject);
    let stub = GdbStub::builder(connection).packet_buffer_size(PACKET).build();
    let stub = stub.map_err(|error| Failure::emulator(format!("-gdb: {error:?}")))?;
    let ended = stub.run_blocking::<EventLoop<'_>>(&mut target);
    subject_without_breakpoints(&mut target);
    match ended {
        Ok(DisconnectReason::Kill) => Ok(Gone::Killed),
        Ok(_) => Ok(Gone::Left),
        Err(error) if error.is_target_error() => {
            Err(error.into_target_error().unwrap_or_else(|| Failure::emulator("-gdb")))
        }
        // gdb has gone without a word.
        Err(error) if error.is_connection_error() => Ok(Gone::Left),
        Err(error) => {
            output::say(&format!(
                "strata: gdb: {}\n",
                crate::status::one_line(&format!("{error:?}"))
            ));
            Ok(Gone::Left)
        }
    }
}

/// The breakpoints go with gdb.
fn subject_without_breakpoints(target: &mut Target<'_>) {
    target.subject.set_breakpoints(Default::default());
}
