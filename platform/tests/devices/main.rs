//! The devices, as the processor sees them: rows of accesses and what must come of them.

mod board;
mod edu;
mod functions;
mod fw_cfg;
mod hpet;
mod ioapic;
mod keyboard;
mod misc;
mod pci;
mod pic;
mod pit;
mod random;
mod rtc;
mod text_display;
mod uart;

use platform::{
    board::{Board, BoardConfig, OptionalDevice},
    time::Icount,
};

/// One thing that happens to the board, or one thing that must be so.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The clock shows this many instructions (1 ns each) since power-on.
    At(u64),
    /// So many instructions pass.
    Wait(u64),
    /// `OUT`: port, size, value.
    Out(u16, u8, u32),
    /// `IN`: port, size, expected value.
    In(u16, u8, u32),
    /// A store: address, size, value.
    Store(u64, u8, u64),
    /// A load: address, size, expected value.
    Load(u64, u8, u64),
    /// INTR has this level.
    Intr(bool),
    /// INTA returns this vector.
    Ack(u8),
    /// A local APIC ends this vector.
    Eoi(u8),
    /// Exactly these vectors have been sent to the local APICs since the last time.
    Messages(&'static [u8]),
    /// The next deadline is this instant.
    Deadline(Option<u64>),
    /// Serial port 0 receives these bytes.
    Serial(&'static [u8]),
    /// Serial port 0 receives a break.
    SerialBreak,
    /// A key of this number goes down, or up.
    Key(u8, bool),
    /// Serial port 0 has sent exactly these bytes.
    Sent(&'static [u8]),
}
pub(crate) use Step::*;

/// Byte accesses, the usual ones.
pub(crate) const fn out(port: u16, value: u8) -> Step {
    Out(port, 1, value as u32)
}

pub(crate) const fn inb(port: u16, expect: u8) -> Step {
    In(port, 1, expect as u32)
}

/// A board with `isa-debug-exit` at QEMU's default ports.
pub(crate) fn with_debug_exit() -> BoardConfig {
    let devices = vec![OptionalDevice::DebugExit { base: 0x501, length: 2 }];
    BoardConfig { devices, ..BoardConfig::default() }
}

/// Runs `steps` on a new board.
#[track_caller]
pub(crate) fn check(steps: &[Step]) {
    run(&mut Board::new(&with_debug_exit()), steps);
}

/// Runs `steps` and names the first that fails by its number.
#[track_caller]
pub(crate) fn run(board: &mut Board, steps: &[Step]) {
    let mut now = Icount(0);
    for (number, step) in steps.iter().enumerate() {
        let wrong = apply(board, &mut now, step);
        assert!(wrong.is_none(), "step {number}, {step:x?}: found {}", wrong.unwrap_or_default());
    }
}

/// Does one step; returns what was found instead of what it expects.
fn apply(board: &mut Board, now: &mut Icount, step: &Step) -> Option<String> {
    fn differs<T: PartialEq + std::fmt::LowerHex>(found: T, expect: T) -> Option<String> {
        (found != expect).then(|| format!("{found:#x}"))
    }
    fn unequal<T: PartialEq + std::fmt::Debug>(found: T, expect: T) -> Option<String> {
        (found != expect).then(|| format!("{found:x?}"))
    }
    match *step {
        At(instant) => {
            *now = Icount(instant);
            board.advance(*now);
        }
        Wait(time) => {
            *now = now.plus(time);
            board.advance(*now);
        }
        Out(port, size, value) => board.port_write(port, size, value, *now),
        Store(address, size, value) => board.mmio_write(address, size, value, *now),
        Eoi(vector) => board.eoi(vector),
        Serial(bytes) => board.push_serial_input(0, bytes, *now),
        SerialBreak => board.push_serial_break(0, *now),
        Key(key, down) => board.press_key(key, down, *now),
        In(port, size, expect) => return differs(board.port_read(port, size, *now), expect),
        Load(address, size, expect) => {
            return differs(board.mmio_read(address, size, *now), expect);
        }
        Intr(expect) => return unequal(board.intr_output(), expect),
        Ack(expect) => return differs(board.acknowledge(), expect),
        Messages(expect) => {
            let sent: Vec<u8> = board.take_messages().iter().map(|m| m.vector).collect();
            return unequal(&sent[..], expect);
        }
        Deadline(expect) => return unequal(board.next_deadline(), expect.map(Icount)),
        Sent(expect) => return unequal(&board.take_serial_output(0)[..], expect),
    }
    None
}

/// Initialises both interrupt controllers as a PC does: vectors 20h and 28h, all lines unmasked.
pub(crate) const INIT_PICS: [Step; 10] = [
    out(0x20, 0x11),
    out(0x21, 0x20),
    out(0x21, 0x04),
    out(0x21, 0x01),
    out(0xa0, 0x11),
    out(0xa1, 0x28),
    out(0xa1, 0x02),
    out(0xa1, 0x01),
    out(0x21, 0x00),
    out(0xa1, 0x00),
];
