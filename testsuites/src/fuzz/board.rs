//! The machine around the fuzzed processor: ports and devices answer with numbers made from the
//! question and its time, a write to a port sets the interrupt line or is an SMI, and messages come
//! back.

use cpu::Cpu;
use cpu::bus::{Bus, Message};
use mmu::HostPhys;

/// The outside world of a fuzzed processor.
#[derive(Default)]
pub struct Board {
    /// Of everything that was asked and told.
    pub digest: u64,
    line: bool,
    smi: bool,
    messages: Vec<Message>,
}

impl Board {
    fn note(&mut self, words: [u64; 4]) -> u64 {
        for w in words {
            self.digest = (self.digest ^ w).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        self.digest
    }

    /// The processor samples its lines and gets its messages.
    pub fn settle(&mut self, cpu: &mut Cpu) {
        cpu.state.sys.intr = self.line;
        cpu.state.sys.smm.pending |= std::mem::take(&mut self.smi);
        for m in std::mem::take(&mut self.messages) {
            if cpu.state.apic.matches(&m) {
                cpu.receive(&m);
            }
        }
    }
}

impl Bus for Board {
    fn port_read(&mut self, port: u16, size: u8, now: u64) -> u32 {
        self.note([1, port.into(), size.into(), now]) as u32
    }
    fn port_write(&mut self, port: u16, size: u8, value: u32, now: u64) {
        self.note([u64::from(value) << 32 | 2, port.into(), size.into(), now]);
        self.line = value & 1 != 0;
        self.smi = value & 0xe == 0xe;
    }
    fn mmio_read(&mut self, addr: HostPhys, size: u8, now: u64) -> u64 {
        self.note([3, addr.0, size.into(), now])
    }
    fn mmio_write(&mut self, addr: HostPhys, size: u8, value: u64, now: u64) {
        self.note([value ^ 4, addr.0, size.into(), now]);
    }
    fn acknowledge(&mut self) -> u8 {
        self.line = false;
        self.note([5, 0, 0, 0]) as u8
    }
    fn message(&mut self, message: Message) {
        self.note([6, message.delivery.into(), message.vector.into(), 0]);
        self.messages.push(message);
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        self.note([7, vector.into(), 0, 0]);
    }
}
