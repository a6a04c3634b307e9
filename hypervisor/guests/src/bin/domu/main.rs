//! The embedded domU: prints on COM1, computes, and shares its results with dom0.
#![expect(unsafe_code, reason = "one static array is borrowed once")]
#![no_std]
#![no_main]

mod device_memory;
mod greed;
mod violation;

use core::fmt::Write;
use core::mem::offset_of;
use core::panic::PanicInfo;
use guests::hypercalls::{self, Error, Shared, SharedInfo};
use guests::{GRANT, PORT, Page, state, work};
use runtime::serial::Com1;

runtime::entry! { main: guest_main, stack: 0x10000, rights: 3, descriptors: [] }

static INFO: SharedInfo = SharedInfo::new();
/// The grant table, once mapped.
static GRANTS: Shared<[u8; 4096]> = Shared::new([0; 4096]);
static PAGE: Shared<Page> = Shared::new(Page::new());

/// The time that the domU sleeps between two beats.
const BEAT_NS: u64 = 500_000;

macro_rules! say {
    ($($arg:tt)*) => {{
        // The serial line takes everything.
        let _ = writeln!(Com1, $($arg)*);
    }};
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    say!("PANIC: {info}");
    hypercalls::shutdown(3)
}

extern "C" fn guest_main(_magic: u32, start_info: u32) -> ! {
    let name = hypercalls::command_line(start_info);
    say!("domU {name}: at work");
    if let Some(name) = name.strip_prefix("violate=") {
        violation::commit(name);
        say!("still here");
        hypercalls::shutdown(0);
    }
    let primes = compute();
    let chain = work::chain(name.as_bytes());
    PAGE.write(offset_of!(Page, primes), primes);
    PAGE.write(offset_of!(Page, chain), chain);
    PAGE.write(offset_of!(Page, state), state::READY);
    say!("{primes} primes below {}, chain {:02x?}", work::PRIMES_BELOW, &chain[..4]);
    match share() {
        Ok(()) => say!("page granted to dom0 as {GRANT}, event channel {PORT}"),
        Err(error) => panic!("sharing failed: {error:?}"),
    }
    match serve() {
        Ok(()) => say!("dom0 said goodbye"),
        Err(error) => panic!("waiting failed: {error:?}"),
    }
    hypercalls::shutdown(0)
}

fn compute() -> u32 {
    static mut SIEVE: [u8; work::PRIMES_BELOW] = [0; work::PRIMES_BELOW];
    // SAFETY: called once; nothing else names the array.
    let sieve = unsafe { (&raw mut SIEVE).as_mut() };
    let sieve = sieve.expect("a static has an address");
    work::count_primes(sieve)
}

/// Grants the page to dom0 and offers the event channel.
fn share() -> Result<(), Error> {
    INFO.map()?;
    hypercalls::add_to_physmap(1, 0, GRANTS.address())?;
    let entry = GRANT as usize * 8;
    GRANTS.write(entry + 2, 0_u16);
    GRANTS.write(entry + 4, (PAGE.address() >> 12) as u32);
    // GTF_permit_access makes the entry valid, so it comes last.
    GRANTS.write(entry, 1_u16);
    let port = hypercalls::alloc_unbound(0)?;
    assert_eq!(port, PORT, "dom0 knows the port by its number");
    Ok(())
}

/// Answers dom0 until it says goodbye.
fn serve() -> Result<(), Error> {
    let mut beats = 0_u64;
    loop {
        beats += 1;
        PAGE.write(offset_of!(Page, beats), beats);
        INFO.sleep(PORT, BEAT_NS)?;
        if !INFO.take_event(PORT) {
            continue;
        }
        match PAGE.read(offset_of!(Page, state)) {
            state::ASKED => {
                let question: [u8; 32] = PAGE.read(offset_of!(Page, question));
                PAGE.write(offset_of!(Page, answer), work::sha256(&question));
                PAGE.write(offset_of!(Page, state), state::ANSWERED);
                hypercalls::send(PORT)?;
            }
            state::GOODBYE => return Ok(()),
            _ => {}
        }
    }
}
