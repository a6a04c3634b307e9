//! What gdb debugs: a machine that goes on, and may go back.

use super::domains::Domains;
use crate::status::Failure;
use platform::machine::debugging::{Breakpoints, Position};
use platform::machine::{Icount, Machine};
use platform::timeline::Outcome;

/// Where a run may be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Position(Position),
    Time(Icount),
    End,
}

/// A run that is debugged. What goes back is refused where there is no recording.
pub(crate) trait Subject {
    /// The machine as it is.
    fn machine(&self) -> &Machine;

    /// The machine to be changed, unless it must do what was recorded.
    fn machine_mut(&mut self) -> Option<&mut Machine>;

    /// Who may run on the machine, by name.
    fn domains(&self) -> &Domains;

    /// Takes what was written down of events, and has more written down from now on, or not.
    fn write_events_down(&mut self, _on: bool) -> String {
        String::new()
    }

    /// Sets the breakpoints.
    fn set_breakpoints(&mut self, at: Breakpoints);

    /// Goes on for a while; with a processor, to its next step.
    fn go_on(&mut self, step: Option<usize>) -> Result<Outcome, Failure>;

    /// Where the run is.
    fn position(&self) -> Position {
        self.machine().position()
    }

    /// The exit status of the run, if it has ended for good.
    fn exit(&self) -> Option<u8> {
        None
    }

    /// Whether there is a way back.
    fn goes_back(&self) -> bool {
        false
    }

    /// Goes to before the last step of a processor; false if there was none.
    fn step_back(&mut self, _processor: usize) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Goes back to the last breakpoint; `asked` says whether to stop.
    fn go_back(&mut self, _asked: &mut dyn FnMut() -> bool) -> Result<Outcome, Failure> {
        Ok(Outcome::Begin)
    }

    /// Goes elsewhere; false if the run ends before.
    fn go_to(&mut self, _to: Moved) -> Result<bool, Failure> {
        Ok(false)
    }
}
