//! The hypervisor's own console: COM1, and the debug port E9h where there is one; and COM2 for consoles of domains' own.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hypervisor::multiplex;
use runtime::cpu::{inb, outb};

const DEBUG: u16 = 0xE9;

/// The I/O APIC pin of COM1.
pub(crate) const PIN: u32 = 4;
/// The I/O APIC pin of COM2.
pub(crate) const OWN_PIN: u32 = 3;
/// The ports of COM2.
pub(crate) const OWN_PORTS: (u16, u16) = (0x2F8, 8);

/// Bytes that a UART's transmit FIFO takes once it is empty.
const FIFO: u32 = 16;

/// A 16550.
struct Uart {
    base: u16,
    /// Room left in the transmit FIFO, as far as is known.
    room: AtomicU32,
}

static SHARED: Uart = Uart::at(0x3F8);
static OWN: Uart = Uart::at(OWN_PORTS.0);

impl Uart {
    const fn at(base: u16) -> Self {
        Self { base, room: AtomicU32::new(0) }
    }

    /// 115200 baud, 8N1, FIFOs on, interrupts for what is received (OUT2 lets them out).
    fn init(&self) {
        for (offset, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 11), (1, 1)]
        {
            outb(self.base + offset, value);
        }
    }

    fn received(&self) -> Option<u8> {
        // All-ones: no UART.
        let status = inb(self.base + 5);
        (status & 1 != 0 && status != 0xFF).then(|| inb(self.base))
    }

    fn put(&self, byte: u8) {
        let mut room = self.room.load(Ordering::Relaxed);
        if room == 0 {
            // LSR: bit 5 says that the FIFO is empty; without a UART all bits read 1.
            while inb(self.base + 5) & 0x20 == 0 {}
            room = FIFO;
        }
        self.room.store(room - 1, Ordering::Relaxed);
        outb(self.base, byte);
    }

    fn drain(&self) {
        // LSR bit 6: FIFO and shift register are empty.
        while inb(self.base + 5) & 0x40 == 0 {}
    }
}

/// Sets COM1 up.
pub(crate) fn init() {
    SHARED.init();
    HAS_DEBUG.store(inb(DEBUG) == DEBUG as u8, Ordering::Relaxed);
}

/// Sets COM2 up, which some domain's console needs.
pub(crate) fn init_own() {
    OWN.init();
}

/// A byte received at COM1.
pub(crate) fn received() -> Option<u8> {
    SHARED.received()
}

/// A byte received at COM2.
pub(crate) fn received_own() -> Option<u8> {
    OWN.received()
}

/// Sends what a domain prints on its own console.
pub(crate) fn own(dom: u8, bytes: &[u8]) {
    multiplex::frames(dom, bytes).for_each(|byte| OWN.put(byte));
}

/// The debug port exists.
static HAS_DEBUG: AtomicBool = AtomicBool::new(false);

fn put(byte: u8) {
    SHARED.put(byte);
    if HAS_DEBUG.load(Ordering::Relaxed) {
        outb(DEBUG, byte);
    }
}

/// Waits until everything has left the UARTs, which a power-off would lose.
pub(crate) fn drain() {
    SHARED.drain();
    OWN.drain();
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

/// Prints a line of a domain behind its name, unless it has begun the line before.
pub(crate) fn domain(dom: u16, name: &str, line: &str) {
    if OPEN.load(Ordering::Relaxed) != dom.into() {
        print(format_args!("({name}) "));
    }
    let _ = Console.write_str(line);
    let _ = Console.write_str("\n");
    OPEN.store(NOBODY, Ordering::Relaxed);
}

/// Prints what a domain has written, to which a person types, as it is.
pub(crate) fn raw(dom: u16, bytes: &[u8]) {
    let Some(last) = bytes.last() else { return };
    let open = OPEN.load(Ordering::Relaxed);
    if open != NOBODY && open != dom.into() {
        let _ = Console.write_str("\n");
    }
    bytes.iter().for_each(|byte| put(*byte));
    OPEN.store(if *last == b'\n' { NOBODY } else { dom.into() }, Ordering::Relaxed);
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
