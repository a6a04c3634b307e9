//! Rules on an event to be injected. SDM vol. 3, "VM-Entry Control Fields" and "Checks on Guest
//! Non-Register State"; they are looked at only if the field's valid bit is 1.

use super::{Check, Rule, rules};
use crate::state::flags;
use crate::state::vmx::field::Field::*;
use crate::state::vmx::kind;
use crate::trap::vector;
use crate::vmx::controls::{pin, proc2};

fn kind_of(c: &Check) -> u8 {
    (c.get(EntryInterruptionInfo) >> 8 & 7) as u8
}

fn vector_of(c: &Check) -> u8 {
    c.get(EntryInterruptionInfo) as u8
}

fn is(c: &Check, kind: u8, vector: u8) -> bool {
    kind_of(c) == kind && vector_of(c) == vector
}

/// Whether an error code has to be delivered.
fn has_error(c: &Check) -> bool {
    let coded = matches!(vector_of(c), 8 | 10..=14 | 17);
    let real = c.proc2(proc2::UNRESTRICTED) && !c.protected();
    kind_of(c) == kind::HARDWARE && coded && !real
}

fn delivers_error(c: &Check) -> bool {
    c.get(EntryInterruptionInfo) & 1 << 11 != 0
}

/// Rules on the control fields.
#[rustfmt::skip]
pub(super) const RULES: &[Rule] = rules! {
    "the event's type is not 1" => |c| kind_of(c) != 1;
    "an injected NMI has vector 2" => |c| kind_of(c) != kind::NMI || vector_of(c) == vector::NMI;
    "an injected hardware exception has a vector of at most 31" => |c|
        kind_of(c) != kind::HARDWARE || vector_of(c) <= 31;
    "an injected other event has vector 0" => |c| kind_of(c) != kind::OTHER || vector_of(c) == 0;
    "an error code is delivered exactly with the exceptions that have one" => |c|
        delivers_error(c) == has_error(c);
    "bits 30:12 of the event are 0" => |c| c.get(EntryInterruptionInfo) & 0x7fff_f000 == 0;
    "bits 31:16 of the error code are 0" => |c|
        !delivers_error(c) || c.get(EntryErrorCode) >> 16 == 0;
    "the instruction length is at most 15" => |c|
        !matches!(kind_of(c), kind::SOFTWARE_INTERRUPT..=kind::SOFTWARE)
            || c.get(EntryInstructionLength) <= 15;
};

const STI: u64 = 1;
const MOV_SS: u64 = 2;
const NMI: u64 = 8;

/// Whether the interruptibility state has none of `bits`.
fn unblocked(c: &Check, bits: u64) -> bool {
    c.get(GuestInterruptibility) & bits == 0
}

/// Rules on the guest state.
#[rustfmt::skip]
pub(super) const GUEST: &[Rule] = rules! {
    "an injected interrupt needs RFLAGS.IF" => |c|
        kind_of(c) != kind::EXTERNAL || c.get(GuestRflags) & flags::IF != 0;
    "an event for a guest in HLT is one that wakes it" => |c|
        c.get(GuestActivity) != 1
            || matches!(kind_of(c), kind::EXTERNAL | kind::NMI | kind::OTHER)
            || is(c, kind::HARDWARE, vector::DB)
            || is(c, kind::HARDWARE, vector::MC);
    "an event for a guest in shutdown is an NMI or a machine check" => |c|
        c.get(GuestActivity) != 2 || kind_of(c) == kind::NMI || is(c, kind::HARDWARE, vector::MC);
    "a guest that waits for a start-up IPI gets no event" => |c| c.get(GuestActivity) != 3;
    "an injected interrupt is not blocked by STI or MOV SS" => |c|
        kind_of(c) != kind::EXTERNAL || unblocked(c, STI | MOV_SS);
    "an injected NMI is not blocked by MOV SS" => |c|
        kind_of(c) != kind::NMI || unblocked(c, MOV_SS);
    "an injected virtual NMI is not blocked by NMI" => |c|
        kind_of(c) != kind::NMI || !c.pin(pin::VIRTUAL_NMIS) || unblocked(c, NMI);
};
