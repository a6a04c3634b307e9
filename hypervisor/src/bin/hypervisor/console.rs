//! The hypervisor's own console: COM1, and the debug port E9h where there is one.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use runtime::cpu::{inb, outb};

const COM1: u16 = 0x3F8;
const DEBUG: u16 = 0xE9;

/// The I/O APIC pin of COM1.
pub(crate) const PIN: u32 = 4;

/// Sets COM1 to 115200 baud, 8N1, FIFOs on, interrupts for what is received (OUT2 lets them out).
pub(crate) fn init() {
    for (offset, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 11), (1, 1)] {
        outb(COM1 + offset, value);
    }
    HAS_DEBUG.store(inb(DEBUG) == DEBUG as u8, Ordering::Relaxed);
}

/// A received byte.
pub(crate) fn received() -> Option<u8> {
    // All-ones: no UART.
    let status = inb(COM1 + 5);
    (status & 1 != 0 && status != 0xFF).then(|| inb(COM1))
}

/// Bytes that the UART's transmit FIFO takes once it is empty.
const FIFO: u32 = 16;

/// Room left in the FIFO, as far as is known.
static ROOM: AtomicU32 = AtomicU32::new(0);
/// The debug port exists.
static HAS_DEBUG: AtomicBool = AtomicBool::new(false);

fn put(byte: u8) {
    let mut room = ROOM.load(Ordering::Relaxed);
    if room == 0 {
        // LSR: bit 5 says that the FIFO is empty; without a UART all bits read 1.
        while inb(COM1 + 5) & 0x20 == 0 {}
        room = FIFO;
    }
    ROOM.store(room - 1, Ordering::Relaxed);
    outb(COM1, byte);
    if HAS_DEBUG.load(Ordering::Relaxed) {
        outb(DEBUG, byte);
    }
}

/// Waits until everything has left the UART, which a power-off would lose.
pub(crate) fn drain() {
    // LSR bit 6: FIFO and shift register are empty.
    while inb(COM1 + 5) & 0x40 == 0 {}
}

/// The domain that has left its line unfinished, if any.
static OPEN: AtomicU32 = AtomicU32::new(NOBODY);
const NOBODY: u32 = u32::MAX;

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                put(b'\r');
            }
            put(byte);
        }
        Ok(())
    }
}

/// Prints text of a domain behind its name. `ends`: a line, or the rest of one; else the line stays open for more of
/// the same domain's.
pub(crate) fn domain(dom: u16, name: &str, text: &str, ends: bool) {
    if OPEN.load(Ordering::Relaxed) != dom.into() {
        print(format_args!("({name}) "));
    }
    let _ = Console.write_str(text);
    let _ = Console.write_str(if ends { "\n" } else { "" });
    OPEN.store(if ends { NOBODY } else { dom.into() }, Ordering::Relaxed);
}

/// Prints formatted text as it is, on a line of its own.
pub(crate) fn print(args: fmt::Arguments) {
    if OPEN.swap(NOBODY, Ordering::Relaxed) != NOBODY {
        let _ = Console.write_str("\n");
    }
    // The console takes everything; there is no error to report and nowhere to report it.
    let _ = Console.write_fmt(args);
}

/// Prints one line of the hypervisor's own.
macro_rules! say {
    ($($arg:tt)*) => {
        $crate::console::print(format_args!("(hv) {}\n", format_args!($($arg)*)))
    };
}
pub(crate) use say;

/// Says why the hypervisor cannot go on, and stops.
macro_rules! die {
    ($($arg:tt)*) => {{
        $crate::console::say!($($arg)*);
        $crate::power::off(None)
    }};
}
pub(crate) use die;
