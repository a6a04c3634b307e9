//! Runs cases on the host's processor, in a `child` that this module starts, feeds and, if a
//! case kills it, starts again.
#![expect(unsafe_code, reason = "fork, and memory shared with the child")]

use super::child::{self, IDLE};
use super::shared::{LINES, PATCHES, SLOTS, Shared, Slot};
use super::{Case, Line, Outcome, base};
use anyhow::{Result, bail, ensure};
use std::ptr::{self, null_mut};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const STACK: usize = 1 << 16;
/// A case that takes longer has the child killed.
const PATIENCE: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 400_000_000 };

/// A child and what it shares with us.
pub struct Host {
    pid: libc::pid_t,
    shared: *mut Shared,
    code: *mut u8,
    stack: *mut u8,
    /// Cases that killed the child.
    pub deaths: u64,
}

// SAFETY: the pointers are to mappings that this value owns.
unsafe impl Send for Host {}

fn map(size: usize, kind: i32) -> Result<*mut u8> {
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping.
    let p = unsafe { libc::mmap(null_mut(), size, rw, kind | libc::MAP_ANONYMOUS, -1, 0) };
    ensure!(p != libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    Ok(p.cast())
}

/// What this host lacks, if anything.
pub fn missing() -> Option<&'static str> {
    let have = std::arch::is_x86_feature_detected!("avx2");
    (!have).then_some("the host's processor has no AVX2")
}

/// The host's XCR0.
pub fn components() -> u64 {
    if missing().is_some() {
        return 0;
    }
    // SAFETY: AVX2 needs XSAVE, which Linux has then turned on.
    unsafe { std::arch::x86_64::_xgetbv(0) }
}

impl Host {
    /// Starts a child.
    pub fn new() -> Result<Host> {
        if let Some(why) = missing() {
            bail!("{why}");
        }
        let shared = map(size_of::<Shared>(), libc::MAP_SHARED)?.cast::<Shared>();
        let code = map(4096, libc::MAP_SHARED)?;
        let stack = map(STACK, libc::MAP_PRIVATE)?;
        let mut host = Host { pid: 0, shared, code, stack, deaths: 0 };
        host.start()?;
        Ok(host)
    }

    fn start(&mut self) -> Result<()> {
        // SAFETY: the mappings are ours; the child makes only plain system calls.
        unsafe {
            self.code.write_bytes(0xcc, 4096);
            let s = &*self.shared;
            s.current.store(IDLE, Relaxed);
            s.done.store(s.asked.load(Relaxed), Relaxed);
            self.pid = libc::fork();
            if self.pid == 0 {
                child::enter(self.shared, self.code, self.stack, STACK);
            }
        }
        ensure!(self.pid != -1, "fork: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Runs `cases` in batches; `None` is the outcome of a case that killed the child.
    pub fn run(&mut self, cases: &[Case]) -> Result<Vec<Option<Outcome>>> {
        let mut out = Vec::with_capacity(cases.len());
        for same in cases.chunk_by(|a, b| a.page == b.page) {
            for batch in same.chunks(SLOTS) {
                self.submit(batch);
                out.extend(self.collect(batch)?);
            }
        }
        Ok(out)
    }

    /// Runs one case.
    pub fn run_one(&mut self, case: &Case) -> Result<Option<Outcome>> {
        Ok(self.run(std::slice::from_ref(case))?.pop().flatten())
    }

    /// Gives the child a batch: at most [`Host::BATCH`] cases with the same page.
    pub fn submit(&mut self, cases: &[Case]) {
        debug_assert!(cases.len() <= SLOTS, "a batch");
        let Some(first) = cases.first() else { return };
        // SAFETY: the child is idle, so that the memory is ours alone.
        unsafe {
            (*self.shared).base.copy_from_slice(&base::data(first.page));
            for (n, case) in cases.iter().enumerate() {
                fill(&mut (*self.shared).slots[n], case);
            }
            let s = &*self.shared;
            s.count.store(cases.len() as u32, Relaxed);
            s.asked.fetch_add(1, Release);
            libc::syscall(libc::SYS_futex, s.asked.as_ptr(), libc::FUTEX_WAKE, 1);
        }
    }

    /// Cases in a batch.
    pub const BATCH: usize = SLOTS;

    /// The outcomes of the batch that was submitted last, which is `cases`.
    pub fn collect(&mut self, cases: &[Case]) -> Result<Vec<Option<Outcome>>> {
        let mut out = Vec::with_capacity(cases.len());
        while out.len() < cases.len() {
            let died = !self.wait()?;
            // SAFETY: the child is idle, or gone.
            let s = unsafe { &*self.shared };
            let rest = cases.len() - out.len();
            let ran = if died { s.current.load(Relaxed) as usize } else { rest };
            ensure!(ran <= rest, "the host child does not start");
            out.extend(s.slots[..ran].iter().map(outcome));
            if died {
                out.push(None);
                self.deaths += 1;
                self.start()?;
                self.submit(&cases[out.len()..]);
            }
        }
        Ok(out)
    }

    /// Waits for the end of the batch; false if the child has died.
    fn wait(&mut self) -> Result<bool> {
        // SAFETY: atomics in our mapping.
        let s = unsafe { &*self.shared };
        let asked = s.asked.load(Relaxed);
        loop {
            let done = s.done.load(Acquire);
            if done == asked {
                return Ok(true);
            }
            let before = s.current.load(Relaxed);
            // SAFETY: waits on our own word.
            let r = unsafe {
                let word = s.done.as_ptr();
                libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, done, &POLL)
            };
            if r == 0 || s.done.load(Acquire) == asked {
                continue;
            }
            if self.gone() || self.stuck(before) {
                return Ok(false);
            }
        }
    }

    /// Whether the child has ended.
    fn gone(&self) -> bool {
        // SAFETY: our own child.
        unsafe { libc::waitpid(self.pid, null_mut(), libc::WNOHANG) == self.pid }
    }

    /// Whether the child still runs the case `before` after a while; then it is killed.
    fn stuck(&self, before: u32) -> bool {
        // SAFETY: atomics in our mapping; our own child.
        unsafe {
            let s = &*self.shared;
            let now = || s.current.load(Relaxed) == before && before != IDLE;
            if !now() {
                return false;
            }
            libc::nanosleep(&PATIENCE, null_mut());
            if !now() {
                return false;
            }
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, null_mut(), 0) == self.pid
        }
    }
}

/// How often a child that says nothing is looked after.
const POLL: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };

fn fill(slot: &mut Slot, case: &Case) {
    slot.code = [0xcc; 16];
    slot.code[..15].copy_from_slice(&case.code);
    slot.step = case.step;
    slot.state = case.state.clone();
    let n = case.patches.len().min(PATCHES);
    slot.patched = n as u16;
    slot.patches[..n].copy_from_slice(&case.patches[..n]);
}

fn outcome(slot: &Slot) -> Option<Outcome> {
    let n = (slot.changed as usize).min(LINES);
    let line = |k: usize| Line { at: slot.at[k], bytes: slot.lines[k] };
    let lines = (0..n).map(line).collect();
    Some(Outcome { event: slot.event, state: slot.state.clone(), lines })
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: ends our own child and drops our own mappings.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, ptr::null_mut(), 0);
            libc::munmap(self.shared.cast(), size_of::<Shared>());
            libc::munmap(self.code.cast(), 4096);
            libc::munmap(self.stack.cast(), STACK);
        }
    }
}
