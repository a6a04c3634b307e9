//! The embedded dom0: lists the domains, pauses and resumes one, exchanges data with each over a
//! grant and an event channel, and powers off when they have ended.
#![no_std]
#![no_main]

use core::fmt::Write;
use core::mem::offset_of;
use core::panic::PanicInfo;
use guests::hypercalls::{self, Console, DomainInfo, Error, Shared, SharedInfo};
use guests::{GRANT, PORT, Page, state, work};

runtime::entry! { main: guest_main, stack: 0x10000, rights: 3, descriptors: [] }

static INFO: SharedInfo = SharedInfo::new();
/// The page that copies of granted pages go to.
static COPY: Shared<Page> = Shared::new(Page::new());
/// The places for mapped grants; each mapping leaves a hole, so each domain gets its own.
static WINDOWS: [Shared<Page>; 8] = [const { Shared::new(Page::new()) }; 8];

const MILLISECOND: u64 = 1_000_000;
/// The time that dom0 waits for a domU before it gives up.
const PATIENCE_MS: u64 = 20_000;

macro_rules! say {
    ($($arg:tt)*) => {{
        // Nobody could be told that the console fails.
        let _ = writeln!(Console, $($arg)*);
    }};
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    say!("PANIC: {info}");
    hypercalls::shutdown(3)
}

extern "C" fn guest_main(_magic: u32, start_info: u32) -> ! {
    say!("dom0: at work");
    // The word `watch` is for domUs that know nothing of the exchange.
    let result = match hypercalls::command_line(start_info) {
        "watch" => watch(),
        _ => work(),
    };
    match result {
        Ok(()) => hypercalls::shutdown(0),
        Err(error) => panic!("a hypercall failed: {error:?}"),
    }
}

fn list() -> Result<([DomainInfo; 8], usize), Error> {
    INFO.map()?;
    let (list, count) = hypercalls::list_domains()?;
    for info in &list[..count] {
        say!("domain {}: {} pages, {} vCPUs", info.domain, info.pages, info.vcpus());
    }
    Ok((list, count))
}

/// Waits for the end of the domUs, however long that takes.
fn watch() -> Result<(), Error> {
    list()?;
    while !all_ended()? {
        INFO.sleep(0, 100 * MILLISECOND)?;
    }
    say!("all domUs have ended");
    Ok(())
}

fn work() -> Result<(), Error> {
    let (list, count) = list()?;
    for (info, window) in list[..count].iter().zip(&WINDOWS).filter(|(info, _)| info.domain != 0) {
        exchange(info.domain, window)?;
    }
    wait(0, "the end of the domUs", all_ended)?;
    say!("all domUs have ended");
    Ok(())
}

/// Waits until `done`, a millisecond at a time.
fn wait(port: u32, what: &str, mut done: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
    for _ in 0..PATIENCE_MS {
        if done()? {
            return Ok(());
        }
        INFO.sleep(port, MILLISECOND)?;
    }
    panic!("{what} did not happen");
}

/// Everything with one domU: its results, a question, a pause, goodbye.
fn exchange(domain: u16, window: &Shared<Page>) -> Result<(), Error> {
    let mut port = None;
    wait(0, "the domU's offer of an event channel", || {
        port = hypercalls::bind_interdomain(domain, PORT).ok();
        Ok(port.is_some())
    })?;
    let port = port.unwrap_or_default();
    let handle = hypercalls::map_grant(domain, GRANT, window.address())?;
    check_results(domain, window)?;
    ask(domain, window, port)?;
    pause_and_resume(domain, window)?;
    window.write(offset_of!(Page, state), state::GOODBYE);
    hypercalls::send(port)?;
    hypercalls::unmap_grant(handle, window.address())?;
    hypercalls::close(port)?;
    say!("domain {domain}: grant unmapped, channel closed");
    Ok(())
}

/// Checks what the domU computed: through the mapping, and through a copy by the hypervisor.
fn check_results(domain: u16, window: &Shared<Page>) -> Result<(), Error> {
    let primes: u32 = window.read(offset_of!(Page, primes));
    assert_eq!(primes, work::PRIMES, "the domU's primes are wrong");
    let chain: [u8; 32] = window.read(offset_of!(Page, chain));
    hypercalls::copy_grant(domain, GRANT, COPY.address(), 64)?;
    assert_eq!(chain, COPY.read::<[u8; 32]>(offset_of!(Page, chain)), "map and copy differ");
    say!("domain {domain}: {primes} primes, chain {:02x?}: mapped and copied", &chain[..4]);
    Ok(())
}

/// Asks a question over the event channel and checks the answer.
fn ask(domain: u16, window: &Shared<Page>, port: u32) -> Result<(), Error> {
    let question = work::sha256(&INFO.time().to_le_bytes());
    window.write(offset_of!(Page, question), question);
    window.write(offset_of!(Page, state), state::ASKED);
    hypercalls::send(port)?;
    wait(port, "the domU's answer", || {
        INFO.take_event(port);
        Ok(window.read::<u32>(offset_of!(Page, state)) == state::ANSWERED)
    })?;
    let answer: [u8; 32] = window.read(offset_of!(Page, answer));
    assert_eq!(answer, work::sha256(&question), "the domU's answer is wrong");
    say!("domain {domain}: asked over event channel {port}, the answer is right");
    Ok(())
}

fn info(domain: u16) -> Result<DomainInfo, Error> {
    let (list, count) = hypercalls::list_domains()?;
    let found = list[..count].iter().find(|info| info.domain == domain);
    found.copied().ok_or(Error(0))
}

/// Pauses the domU, sees that it stands still, resumes it, sees that it goes on.
fn pause_and_resume(domain: u16, window: &Shared<Page>) -> Result<(), Error> {
    let beats = || window.read::<u64>(offset_of!(Page, beats));
    hypercalls::domctl(3, domain)?;
    let (before, flag) = (beats(), info(domain)?.paused());
    INFO.sleep(0, 5 * MILLISECOND)?;
    let still = beats() == before;
    hypercalls::domctl(4, domain)?;
    wait(0, "the domU's next beat", || Ok(beats() > before))?;
    assert!(flag && still && !info(domain)?.paused(), "pausing has no effect");
    say!("domain {domain}: paused, stood still, resumed");
    Ok(())
}

fn all_ended() -> Result<bool, Error> {
    let (list, count) = hypercalls::list_domains()?;
    Ok(list[..count].iter().all(|info| info.domain == 0 || info.ended()))
}
