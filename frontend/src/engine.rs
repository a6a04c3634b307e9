//! The machine, as this crate drives it: the one file that knows `platform::machine`.

use crate::args::Limits;
use crate::launch::Launch;
use crate::status::{Failure, Status};

/// Starts the machine and runs it to its end.
pub(crate) fn run(launch: &Launch, _limits: &Limits) -> Result<Status, Failure> {
    Err(Failure::emulator(format!("{}: the machine is not joined yet", launch.kernel.name)))
}
