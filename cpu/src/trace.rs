//! What a processor writes down for the user: events, VM exits, decoded code, each instruction. The
//! lines gather in memory until the machine takes them. No guest sees that it is watched: an
//! instruction does the same whether it runs in a block or alone.

use crate::Cpu;
use crate::block::Key;
use crate::limits::MAX_LEN;
use crate::state::trace::{Transition, TransitionKind};
use crate::state::vmx::Exit;
use crate::state::{CodeMode, Event, gpr, seg};
use crate::vmx::reason;
use iced_x86::{Decoder, DecoderOptions, FastFormatter, Instruction};
use mmu::{HostPhys, Linear, Mmu};
use std::fmt::Write;

/// The instructions in `bytes` at `rip`, as text.
pub fn disassemble(bytes: &[u8], rip: u64, mode: CodeMode) -> Vec<String> {
    let bits = match mode {
        CodeMode::Bits16 => 16,
        CodeMode::Bits32 | CodeMode::Flat32 => 32,
        CodeMode::Bits64 => 64,
    };
    let mut decoder = Decoder::with_ip(bits, bytes, rip, DecoderOptions::NONE);
    let mut lines = Vec::new();
    while decoder.can_decode() {
        lines.push(line(&decoder.decode()));
    }
    lines
}

/// `address: instruction`.
fn line(i: &Instruction) -> String {
    let mut text = format!("{:016x}: ", i.ip());
    FastFormatter::new().format(i, &mut text);
    text
}

impl Cpu {
    /// Writes a line down; when there are many, the run ends at the next look, so that they can be taken.
    fn write_down(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.trace.text, "{line}");
        if self.trace.is_full() {
            self.env.until = 0;
        }
    }

    /// An event is delivered.
    pub(crate) fn trace_event(&mut self, e: &Event) {
        if !self.trace.items.int {
            return;
        }
        let (now, cpl, rip) = (self.now(), self.state.sys.cpl, self.state.rip);
        let cs = self.state.sys.seg[seg::CS].selector;
        let error = e.error.unwrap_or(0);
        let (kind, vector, address) = (e.kind, e.vector, e.address);
        self.write_down(format_args!(
            "int {now}: v={vector:02x} e={error:04x} {kind:?} cpl={cpl} ip={cs:04x}:{rip:016x} \
             address={address:016x}"
        ));
    }

    /// The processor enters (`smi`) or has left (`rsm`) system-management mode.
    pub(crate) fn trace_smm(&mut self, what: &str) {
        if !self.trace.items.int {
            return;
        }
        let (now, cpl, rip) = (self.now(), self.state.sys.cpl, self.state.rip);
        let (cs, base) = (self.state.sys.seg[seg::CS].selector, self.state.sys.smm.base);
        self.write_down(format_args!(
            "{what} {now}: cpl={cpl} ip={cs:04x}:{rip:016x} smbase={base:08x}"
        ));
    }

    /// The guest is entered; its first instruction is the one at `at`.
    #[inline]
    pub(crate) fn trace_entry(&mut self, at: u64) {
        if self.env.attended && self.trace.items.transitions {
            self.write_transition(at, TransitionKind::Entry);
        }
    }

    /// A transition between guest and host; when there are many, the run ends at the next look.
    #[cold]
    fn write_transition(&mut self, at: u64, kind: TransitionKind) {
        let (level, rip) = (self.state.vmx.level(), self.state.rip);
        self.trace.transitions.push(Transition { at, level, rip, kind });
        if self.trace.is_full() {
            self.env.until = 0;
        }
    }

    /// The guest exits, or was not entered.
    #[inline]
    pub(crate) fn trace_exit(&mut self, e: &Exit) {
        if self.env.attended {
            self.write_exit(*e);
        }
    }

    #[cold]
    fn write_exit(&mut self, e: Exit) {
        let Exit { reason, qualification, physical, .. } = e;
        self.note_exit(reason);
        if self.trace.items.transitions {
            let [rax, rcx] = [gpr::RAX, gpr::RCX].map(|register| self.state.regs[register]);
            let kind = TransitionKind::Exit { reason, qualification, physical, rax, rcx };
            self.write_transition(self.now(), kind);
        }
        if self.trace.items.vmexit {
            let (now, rip) = (self.now(), self.state.rip);
            let name = reason::name(reason & 0xffff);
            self.write_down(format_args!(
                "vmexit {now}: {name} qualification={qualification:x} ip={rip:016x}"
            ));
        }
    }

    /// The `bytes` at `address` have been decoded as a block of `count` instructions.
    pub(crate) fn trace_decoded(&mut self, bytes: &[u8], address: u64, count: usize) {
        for line in disassemble(bytes, address, self.caches.mode).into_iter().take(count) {
            self.write_down(format_args!("in_asm {line}"));
        }
    }

    /// The instruction that is the block `key` is about to run.
    pub(crate) fn trace_instruction(&mut self, key: Key) {
        let bytes = rest_of_page(self.mmu(), key.frame << 12 | key.page_offset as u64, MAX_LEN);
        let (now, rip) = (self.now(), self.state.rip);
        let line = match disassemble(&bytes, rip, self.caches.mode).into_iter().next() {
            Some(line) if bytes.len() == MAX_LEN || !line.ends_with("(bad)") => line,
            _ => format!("{rip:016x}: (across pages)"),
        };
        self.write_down(format_args!("exec {now}: {line}"));
    }

    /// The physical address of the next instruction, and at most `count` bytes from it on in its page; none where
    /// it is not mapped.
    pub fn ahead(&self, mmu: &mut Mmu, count: usize) -> (HostPhys, Vec<u8>) {
        let base = if self.is_64() { 0 } else { self.state.bases.seg[seg::CS] };
        let la = Linear(self.state.rip.wrapping_add(base));
        match mmu.fetch(&self.caches.regime, self.caches.bank, self.state.sys.cpl == 3, la) {
            Ok(p) => (p, rest_of_page(mmu, p.0, count)),
            Err(_) => (HostPhys(0), Vec::new()),
        }
    }

    /// The next instructions at RIP in its page, as text; nothing where it is not mapped.
    pub fn window(&self, mmu: &mut Mmu) -> Vec<String> {
        const INSTRUCTIONS: usize = 6;
        let (_, bytes) = self.ahead(mmu, INSTRUCTIONS * MAX_LEN);
        disassemble(&bytes, self.state.rip, self.caches.mode)
            .into_iter()
            .take(INSTRUCTIONS)
            .collect()
    }
}

/// At most `count` bytes at physical address `p`, within its page.
fn rest_of_page(mmu: &Mmu, p: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count.min(4096 - (p as usize & 0xfff))];
    if !mmu.read_slice(HostPhys(p), &mut bytes) {
        bytes.clear();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        let check = |bytes: &[u8], mode, expect: &[&str]| {
            assert_eq!(disassemble(bytes, 0x10, mode), expect);
        };
        check(
            &[0x90, 0x31, 0xC0],
            CodeMode::Bits64,
            &["0000000000000010: nop", "0000000000000011: xor eax,eax"],
        );
        check(&[0x31, 0xC0], CodeMode::Bits16, &["0000000000000010: xor ax,ax"]);
        check(&[0x48], CodeMode::Flat32, &["0000000000000010: dec eax"]);
        check(&[], CodeMode::Bits64, &[]);
    }
}
