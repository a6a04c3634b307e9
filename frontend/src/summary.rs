//! The closing summary on standard error. Its last line is the hash of the final machine state.

use crate::status::{Status, one_line};
use platform::machine::exit_reason;
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many unclaimed registers are listed.
const UNCLAIMED: usize = 16;

/// What a run has counted. Only [`Level::seconds`] and its sum are the host's.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// The hypervisor and each domain, or the bare machine.
    pub(crate) levels: Vec<Level>,
    /// VM exits: basic reason and count.
    pub(crate) exits: Vec<(String, u64)>,
    /// VM entries that failed: the rule that was broken, and count.
    pub(crate) refused: Vec<(String, u64)>,
    /// Counts of the shadow pages and of decoded code.
    pub(crate) translations: Vec<(String, u64)>,
    /// Instructions that raised #UD because nobody has written them yet.
    pub(crate) unimplemented: Vec<(String, u64)>,
    /// Accesses to MSRs that raised #GP: number and count.
    pub(crate) refused_msrs: Vec<(String, u64)>,
    /// Device registers that no device claims.
    pub(crate) unclaimed: Vec<String>,
    /// Accesses that devices have refused, by device and reason.
    pub(crate) refused_accesses: Vec<(String, u64)>,
    /// The same by the level's place and the reason's number.
    pub(crate) exits_by_level: BTreeMap<(usize, u32), u64>,
    /// How often each device was read and written.
    pub(crate) accesses: Vec<(String, u64, u64)>,
    /// What the machine's clock shows, in nanoseconds since the first start.
    pub(crate) time: u64,
    /// The hash of the final machine state.
    pub(crate) state: [u8; 32],
}

/// One level of the machine's work.
#[derive(Debug, Default, Clone)]
pub(crate) struct Level {
    pub(crate) name: String,
    /// Instructions retired.
    pub(crate) instructions: u64,
    /// The host's seconds of processor time that they took, as the instructions of a slice share them.
    pub(crate) seconds: f64,
}

impl Level {
    /// Millions of instructions per second.
    fn mips(&self) -> f64 {
        if self.seconds > 0.0 { self.instructions as f64 / self.seconds / 1e6 } else { 0.0 }
    }
}

/// How the run ended, in words.
pub(crate) fn ending(status: Status) -> String {
    match status {
        Status::Success => "the guest ended the run".into(),
        Status::Usage => "bad input".into(),
        Status::Differs => "the states differ".into(),
        Status::TestsFailed => "a test has failed".into(),
        Status::Found => "something was found".into(),
        Status::GuestPanicked => "the guest panicked".into(),
        Status::Halted => "all processors halt and nothing can wake them".into(),
        Status::TripleFault => "triple fault".into(),
        Status::Emulator => "the emulator failed".into(),
        Status::Limit => "a limit was reached".into(),
        Status::Interrupted(_) => "interrupted".into(),
        Status::Closed => "ended at a monitor".into(),
        Status::Quit => "ended by Ctrl-A x".into(),
        Status::DebugExit(value) => format!("the guest wrote {value:#x} to isa-debug-exit"),
    }
}

impl Summary {
    /// The hash as text.
    pub(crate) fn state_text(&self) -> String {
        self.state.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Exits of the level at a place: number and name of the reason, and count.
    pub(crate) fn exits_of(&self, place: usize) -> impl Iterator<Item = (u32, &'static str, u64)> {
        let exits = self.exits_by_level.range((place, 0)..=(place, u32::MAX));
        exits.map(|((_, reason), count)| (*reason, exit_reason(*reason), *count))
    }

    /// The whole text.
    pub(crate) fn text(&self, status: Status) -> String {
        let mut text = String::new();
        self.write(&mut text, status).expect("a String takes every write");
        text
    }

    fn write(&self, out: &mut String, status: Status) -> std::fmt::Result {
        writeln!(out, "-- {} (exit status {})", ending(status), status.code())?;
        let name = "all".into();
        let instructions = self.levels.iter().map(|l| l.instructions).sum();
        let seconds = self.levels.iter().map(|l| l.seconds).sum();
        let all = Level { name, instructions, seconds };
        writeln!(out, "{:<16} {:>16} {:>10} {:>8}", "level", "instructions", "seconds", "MIPS")?;
        for level in self.levels.iter().chain((self.levels.len() != 1).then_some(&all)) {
            let Level { name, instructions, seconds } = level;
            writeln!(out, "{name:<16} {instructions:>16} {seconds:>10.2} {:>8.1}", level.mips())?;
        }
        counts(out, "VM exits", &self.exits)?;
        counts(out, "failed VM entries", &self.refused)?;
        counts(out, "translations", &self.translations)?;
        counts(out, "unimplemented instructions", &self.unimplemented)?;
        counts(out, "MSRs that raised #GP", &self.refused_msrs)?;
        if !self.unclaimed.is_empty() {
            let some = self.unclaimed.iter().take(UNCLAIMED).cloned().collect::<Vec<_>>();
            let more = match self.unclaimed.len() - some.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let some = one_line(&some.join(", "));
            writeln!(out, "unclaimed device registers: {some}{more}")?;
        }
        counts(out, "accesses that devices refused", &self.refused_accesses)?;
        writeln!(out, "state {}", self.state_text())
    }
}

/// A list of counts under a title, the largest first; nothing when there are none.
fn counts(out: &mut String, title: &str, counts: &[(String, u64)]) -> std::fmt::Result {
    let mut counts: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    counts.sort_by(|(a, m), (b, n)| n.cmp(m).then(a.cmp(b)));
    if !counts.is_empty() {
        writeln!(out, "{title}")?;
    }
    counts.iter().try_for_each(|(name, count)| writeln!(out, "  {count:>16}  {}", one_line(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested() {
        let level =
            |name: &str, instructions, seconds| Level { name: name.into(), instructions, seconds };
        let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(n, c)| ((*n).into(), *c)).collect();
        let summary = Summary {
            levels: vec![level("hypervisor", 1_000_000, 0.5), level("dom0", 3_000_000, 0.5)],
            exits: counts(&[("CPUID", 2), ("HLT", 0), ("VMCALL", 30)]),
            refused: counts(&[("RFLAGS bit 1 is 1", 4)]),
            translations: counts(&[("shadow pages", 1)]),
            unimplemented: counts(&[("FSIN\n", 1)]),
            refused_msrs: counts(&[("0x1a2", 3)]),
            unclaimed: vec!["port 0x2e".into(), "port 0x2f".into()],
            refused_accesses: counts(&[("pci: no response", 2)]),
            state: [0xA5; 32],
            ..Summary::default()
        };
        let expect = "\
-- the guest ended the run (exit status 0)
level                instructions    seconds     MIPS
hypervisor                1000000       0.50      2.0
dom0                      3000000       0.50      6.0
all                       4000000       1.00      4.0
VM exits
                30  VMCALL
                 2  CPUID
failed VM entries
                 4  RFLAGS bit 1 is 1
translations
                 1  shadow pages
unimplemented instructions
                 1  FSIN
MSRs that raised #GP
                 3  0x1a2
unclaimed device registers: port 0x2e, port 0x2f
accesses that devices refused
                 2  pci: no response
state ";
        assert_eq!(summary.text(Status::Success), format!("{expect}{}\n", "a5".repeat(32)));
    }

    #[test]
    fn bare() {
        let level = Level { name: "machine".into(), instructions: 5, seconds: 0.0 };
        let summary = Summary { levels: vec![level], ..Summary::default() };
        let text = summary.text(Status::DebugExit(0x10));
        let expect = "\
-- the guest wrote 0x10 to isa-debug-exit (exit status 33)
level                instructions    seconds     MIPS
machine                         5       0.00      0.0
state ";
        assert_eq!(text, format!("{expect}{}\n", "00".repeat(32)));
    }
}
