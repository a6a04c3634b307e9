//! Which instruction forms are implemented and which have a vector, by CPUID feature.
//!
//! [`Report`] is the table. A form is one of the decoder's codes. A form counts where a processor of ours may
//! have all its features, in the last group of [`GROUPS`] that has one of them. What is left out, and why,
//! stands in [`feature::LEFT_OUT`] (whole features), [`EXCEPTIONS`] (forms that are not implemented) and
//! [`NO_VECTOR`] (forms that silicon in user mode cannot show).

use cpu::feature::{self, FEATURES, FeatureInfo, GROUPS, ModelName};
use iced_x86::Code;
use std::collections::BTreeSet;
use std::fmt;

/// Forms of our features that are not implemented, with the reason.
pub const EXCEPTIONS: &[(Code, &str)] =
    &[(Code::Popw_CS, "the byte 0F begins longer opcodes since the 80286")];

/// Forms that no vector from a process of the host (AMD's, under Linux and KVM) can show, with the
/// reason.
#[rustfmt::skip]
pub const NO_VECTOR: &[(Code, &str)] = {
    use Code::*;
    const KERNEL: &str = "Linux catches UMIP's #GP in 64-bit code and emulates the instruction";
    const SHORT: &str = "AMD has no 64-bit offsets in far pointers";
    const NONE: &str = "AMD has it not: #UD";
    const CALL: &str = "a system call of the host";
    &[
        (Popw_CS, "the byte 0F begins longer opcodes since the 80286"),
        (Sldt_r64m16, KERNEL), (Str_r64m16, KERNEL), (Smsw_r64m16, KERNEL),
        (Sgdt_m1664, KERNEL), (Sidt_m1664, KERNEL),
        (Call_m1664, SHORT), (Jmp_m1664, SHORT), (Lss_r64_m1664, SHORT), (Lfs_r64_m1664, SHORT),
        (Lgs_r64_m1664, SHORT),
        (Reservednop_rm16_r16_0F0D, NONE), (Reservednop_rm32_r32_0F0D, NONE),
        (Reservednop_rm64_r64_0F0D, NONE), (Serialize, NONE),
        (Syscall, CALL), (Sysenter, CALL),
        (Int1, "KVM intercepts its #DB and gives it with another RIP"),
        (Vmcall, "KVM intercepts it and gives another fault"),
    ]
};

/// The forms of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The group's name.
    pub name: &'static str,
    /// Forms that the decoder knows.
    pub known: usize,
    /// Of these, the ones without a handler.
    pub missing: Vec<Code>,
    /// Of these, the ones without a vector.
    pub bare: Vec<Code>,
}

/// The whole table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report(pub Vec<Row>);

/// The group that a form counts in.
pub fn group(code: Code) -> Option<usize> {
    let groups: Option<Vec<usize>> =
        code.cpuid_features().iter().map(|f| feature::group(*f)).collect();
    groups?.into_iter().max().filter(|_| counts(code))
}

/// Whether our decoder gives the code for some bytes: data declarations and codes with a WAIT in
/// front are made by assemblers alone, and others by decoders of other processors.
fn counts(code: Code) -> bool {
    let o = code.op_code();
    let intel = o.intel_decoder16() || o.intel_decoder32() || o.intel_decoder64();
    o.is_instruction() && intel && !o.fwait() && o.decoder_option() == 0
}

/// The forms that the committed vectors show.
pub fn covered() -> BTreeSet<Code> {
    crate::oracle::vectors::forms().unwrap_or_default()
}

fn reason(table: &[(Code, &'static str)], code: Code) -> Option<&'static str> {
    table.iter().find(|row| row.0 == code).map(|row| row.1)
}

/// Whether a form belongs to a feature that no model has by itself. Such a form is not asked of the host
/// either: tests in `cpu/tests` show what it does.
fn on_request(code: Code) -> bool {
    let of = |f: &FeatureInfo| code.cpuid_features().iter().any(|c| f.decoder.contains(c));
    FEATURES.iter().any(|f| f.first == ModelName::OnRequest && of(f))
}

/// Why a form has no vector.
fn no_vector(code: Code) -> Option<&'static str> {
    let request = on_request(code).then_some("in no model, and not on the host: cpu/tests");
    reason(NO_VECTOR, code).or(request)
}

impl Report {
    /// The table where `covered` are the forms that have a vector.
    pub fn new(covered: &BTreeSet<Code>) -> Report {
        let empty = |name| Row { name, known: 0, missing: vec![], bare: vec![] };
        let mut rows: Vec<Row> = GROUPS.iter().map(|g| empty(g.0)).collect();
        for code in Code::values() {
            let Some(row) = group(code).map(|g| &mut rows[g]) else { continue };
            row.known += 1;
            if !cpu::isa::implemented(code) {
                row.missing.push(code);
            }
            if !covered.contains(&code) {
                row.bare.push(code);
            }
        }
        Report(rows)
    }

    fn sum(&self, of: impl Fn(&Row) -> usize) -> usize {
        self.0.iter().map(of).sum()
    }

    /// Whether every form is implemented or excused, and has a vector or is excused. At most 1 % of all
    /// forms may lack a vector, those on request not counted.
    pub fn complete(&self) -> bool {
        let implemented = |r: &Row| r.missing.iter().all(|c| reason(EXCEPTIONS, *c).is_some());
        let shown = |r: &Row| r.bare.iter().all(|c| no_vector(*c).is_some());
        let bare = self.sum(|r| r.bare.iter().filter(|c| !on_request(**c)).count());
        let known = self.sum(|r| r.known);
        self.0.iter().all(|r| implemented(r) && shown(r)) && bare * 100 <= known
    }
}

/// A table in Markdown, then what is missing in it, by name.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "| features | forms | implemented | with a vector |\n|---|---|---|---|")?;
        let mut line = |name: &str, known: usize, missing: usize, bare: usize| {
            writeln!(f, "| {name} | {known} | {} | {} |", known - missing, known - bare)
        };
        for r in &self.0 {
            line(r.name, r.known, r.missing.len(), r.bare.len())?;
        }
        let (missing, bare) = (self.sum(|r| r.missing.len()), self.sum(|r| r.bare.len()));
        line("all", self.sum(|r| r.known), missing, bare)?;
        let known = self.sum(|r| r.known);
        let percent = |n: usize| 100.0 * n as f64 / known as f64;
        writeln!(f)?;
        writeln!(f, "implemented: {:.2} %, {missing} excused", percent(known - missing))?;
        let excused = self.sum(|r| r.bare.iter().filter(|c| no_vector(**c).is_some()).count());
        writeln!(
            f,
            "with a vector: {:.2} %, {excused} of the other {bare} excused",
            percent(known - bare)
        )?;
        let of = |pick: fn(&Row) -> &Vec<Code>| self.0.iter().flat_map(pick);
        for c in of(|r| &r.missing) {
            let why = reason(EXCEPTIONS, *c).unwrap_or("MISSING");
            writeln!(f, "not implemented: {c:?}: {why}")?;
        }
        for c in of(|r| &r.bare) {
            writeln!(f, "no vector: {c:?}: {}", no_vector(*c).unwrap_or("none yet"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_implemented_or_excused() {
        let mut all: BTreeSet<Code> = Code::values().collect();
        assert!(Report::new(&all).complete());
        all.remove(&Code::Serialize);
        assert!(Report::new(&all).complete());
        all.retain(|c| !on_request(*c));
        assert!(Report::new(&all).complete());
        all.remove(&Code::Nopd);
        assert!(!Report::new(&all).complete());
        let mut fewer: BTreeSet<Code> = Code::values().collect();
        fewer.retain(|c| (*c as usize).is_multiple_of(2));
        assert!(!Report::new(&fewer).complete());
    }
}
