//! The embedded dom0: lists the domains, exchanges data over a grant and an event channel with each
//! that offers it, pauses and resumes it, and powers off when all have ended. What a domU does wrong
//! ends the exchange with it, and nothing else.
#![no_std]
#![no_main]

use core::fmt::{self, Write};
use core::mem::offset_of;
use core::panic::PanicInfo;
use guests::hypercalls::{self, Console, DomainInfo, Error, Shared, SharedInfo};
use guests::{GRANT, PORT, Page, state, work};

runtime::entry! { main: guest_main, stack: 0x10000, rights: 3, descriptors: [] }

static INFO: SharedInfo = SharedInfo::new();
/// The page that copies of granted pages go to.
static COPY: Shared<Page> = Shared::new(Page::new());
/// The place for the mapped grant, a hole between two exchanges.
static WINDOW: Shared<Page> = Shared::new(Page::new());

const MILLISECOND: u64 = 1_000_000;
/// The time that dom0 waits for a domU's next step.
const PATIENCE: u64 = 5_000 * MILLISECOND;
/// Rounds without an exchange, a millisecond apart, after which dom0 looks more rarely.
const QUIET: u32 = 1000;

/// The reason why an exchange is given up.
enum Failure {
    Hypercall(Error),
    Late(&'static str),
    Wrong(&'static str),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Hypercall(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hypercall(Error(number)) => write!(f, "a hypercall failed with {number}"),
            Self::Late(what) => write!(f, "{what} did not happen"),
            Self::Wrong(what) => write!(f, "{what} is wrong"),
        }
    }
}

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
    // The exchange is for domUs that know of it; for others there are words.
    let result = match hypercalls::command_line(start_info) {
        "watch" => watch(),
        "bury" => bury(),
        "leave" => Ok(()),
        _ => work(),
    };
    match result {
        Ok(()) => hypercalls::shutdown(0),
        Err(error) => panic!("a hypercall failed: {error:?}"),
    }
}

/// Calls `f` with each domU, in order.
fn domus(mut f: impl FnMut(&DomainInfo)) -> Result<(), Error> {
    let mut next = 1;
    loop {
        let (list, count) = hypercalls::list_domains(next)?;
        list[..count].iter().for_each(&mut f);
        if count < list.len() {
            return Ok(());
        }
        next = list[count - 1].domain + 1;
    }
}

fn list() -> Result<(), Error> {
    INFO.map()?;
    let say = |info: &DomainInfo| {
        say!("domain {}: {} pages, {} vCPUs", info.domain, info.pages, info.vcpus());
    };
    let (own, _) = hypercalls::list_domains(0)?;
    say(&own[0]);
    domus(say)
}

/// Waits for the end of the domUs, however long that takes.
fn watch() -> Result<(), Error> {
    list()?;
    while domu_lives()? {
        INFO.sleep(0, 100 * MILLISECOND)?;
    }
    say!("all domUs have ended");
    Ok(())
}

/// Destroys each domU once it has ended, as a toolstack does.
fn bury() -> Result<(), Error> {
    list()?;
    loop {
        let (mut lives, mut ended) = (false, None);
        domus(|info| if info.ended() { ended = Some(info.domain) } else { lives = true })?;
        match ended {
            Some(domain) => hypercalls::domctl(2, domain)?,
            None if lives => INFO.sleep(0, MILLISECOND)?,
            None => break,
        }
    }
    say!("all domUs are destroyed");
    Ok(())
}

/// Does the exchange with each domU that offers it, once, until all have ended.
fn work() -> Result<(), Error> {
    list()?;
    let mut served = [0_u64; 512];
    let mut quiet = 0;
    loop {
        let (mut lives, mut offered) = (false, None);
        domus(|info| {
            let (word, bit) = (usize::from(info.domain / 64), 1 << (info.domain % 64));
            lives |= !info.ended();
            if offered.is_some() || info.ended() || served[word] & bit != 0 {
                return;
            }
            if let Ok(port) = hypercalls::bind_interdomain(info.domain, PORT) {
                served[word] |= bit;
                offered = Some((info.domain, port));
            }
        })?;
        if let Some((domain, port)) = offered {
            quiet = 0;
            exchange(domain, port)?;
        } else if lives {
            quiet += 1;
            INFO.sleep(0, if quiet < QUIET { MILLISECOND } else { 100 * MILLISECOND })?;
        } else {
            say!("all domUs have ended");
            return Ok(());
        }
    }
}

/// Waits until `done`, a millisecond at a time, while the domain lives.
fn wait(
    domain: u16,
    port: u32,
    what: &'static str,
    mut done: impl FnMut() -> bool,
) -> Result<(), Failure> {
    let end = INFO.time() + PATIENCE;
    while !done() {
        if INFO.time() > end || info(domain)?.ended() {
            return Err(Failure::Late(what));
        }
        INFO.sleep(port, MILLISECOND)?;
    }
    Ok(())
}

/// Everything with one domU, whose event channel is bound to `port`. Only dom0's own hypercalls can
/// fail here.
fn exchange(domain: u16, port: u32) -> Result<(), Error> {
    let result = match hypercalls::map_grant(domain, GRANT, WINDOW.address()) {
        Ok(handle) => {
            let result = talk(domain, port);
            hypercalls::unmap_grant(handle, WINDOW.address())?;
            result
        }
        Err(error) => Err(error.into()),
    };
    hypercalls::close(port)?;
    match result {
        Ok(()) => say!("domain {domain}: grant unmapped, channel closed"),
        Err(why) => say!("domain {domain}: exchange given up: {why}"),
    }
    Ok(())
}

/// The domU's results, a question, a pause, goodbye.
fn talk(domain: u16, port: u32) -> Result<(), Failure> {
    check_results(domain)?;
    ask(domain, port)?;
    pause_and_resume(domain)?;
    WINDOW.write(offset_of!(Page, state), state::GOODBYE);
    hypercalls::send(port)?;
    Ok(())
}

/// Checks what the domU computed: through the mapping, and through a copy by the hypervisor.
fn check_results(domain: u16) -> Result<(), Failure> {
    let primes: u32 = WINDOW.read(offset_of!(Page, primes));
    if primes != work::PRIMES {
        return Err(Failure::Wrong("the number of primes"));
    }
    let chain: [u8; 32] = WINDOW.read(offset_of!(Page, chain));
    hypercalls::copy_grant(domain, GRANT, COPY.address(), 64)?;
    if chain != COPY.read::<[u8; 32]>(offset_of!(Page, chain)) {
        return Err(Failure::Wrong("the copy of the granted page"));
    }
    say!("domain {domain}: {primes} primes, chain {:02x?}: mapped and copied", &chain[..4]);
    Ok(())
}

/// Asks a question over the event channel and checks the answer.
fn ask(domain: u16, port: u32) -> Result<(), Failure> {
    let question = work::sha256(&INFO.time().to_le_bytes());
    WINDOW.write(offset_of!(Page, question), question);
    WINDOW.write(offset_of!(Page, state), state::ASKED);
    hypercalls::send(port)?;
    wait(domain, port, "the domU's answer", || {
        INFO.take_event(port);
        WINDOW.read::<u32>(offset_of!(Page, state)) == state::ANSWERED
    })?;
    let answer: [u8; 32] = WINDOW.read(offset_of!(Page, answer));
    if answer != work::sha256(&question) {
        return Err(Failure::Wrong("the domU's answer"));
    }
    say!("domain {domain}: asked over event channel {port}, the answer is right");
    Ok(())
}

fn info(domain: u16) -> Result<DomainInfo, Error> {
    let (list, count) = hypercalls::list_domains(domain)?;
    list[..count].first().filter(|info| info.domain == domain).copied().ok_or(Error(0))
}

/// Pauses the domU, sees that it stands still, resumes it, sees that it goes on.
fn pause_and_resume(domain: u16) -> Result<(), Failure> {
    let beats = || WINDOW.read::<u64>(offset_of!(Page, beats));
    hypercalls::domctl(3, domain)?;
    let (before, paused) = (beats(), info(domain));
    let slept = INFO.sleep(0, 5 * MILLISECOND);
    let still = beats() == before;
    hypercalls::domctl(4, domain)?;
    slept?;
    wait(domain, 0, "the domU's next beat", || beats() > before)?;
    if !paused?.paused() || !still || info(domain)?.paused() {
        return Err(Failure::Wrong("the effect of a pause"));
    }
    say!("domain {domain}: paused, stood still, resumed");
    Ok(())
}

fn domu_lives() -> Result<bool, Error> {
    let mut lives = false;
    domus(|info| lives |= !info.ended())?;
    Ok(lives)
}
