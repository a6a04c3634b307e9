//! What a processor writes down for the user, and the lines that it has written.

/// What to write down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// Exceptions and interrupts as they are delivered.
    pub int: bool,
    /// Each instruction before it runs.
    pub exec: bool,
    /// Code as it is decoded.
    pub in_asm: bool,
    /// VM exits.
    pub vmexit: bool,
}

/// The lines not yet taken.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What is asked for.
    pub items: Items,
    /// Lines of the trace so far.
    pub text: String,
}

impl Trace {
    /// Bytes of text after which a run ends, so that the lines can be taken.
    pub const MANY: usize = 1 << 20;

    /// Whether the lines are to be taken before the run goes on.
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= Trace::MANY
    }
}
