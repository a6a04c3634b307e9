//! Smoke test.
use crate::apic::Apic;
use crate::console::say;
use crate::vcpu::{Shared, Start, Vcpu};
use crate::vmx;
use hypervisor::ept::{self, Ept, Leaf};
use hypervisor::phys::Physical;
use hypervisor::vmx::{exit, field};

pub(crate) fn run() {
    let mut next = 0x80_0000_u64;
    let mut page = || {
        next += 4096;
        crate::machine::Direct.clear(next - 4096, 4096);
        Some(next - 4096)
    };
    let apic = Apic::init();
    say!("TSC {} kHz", apic.tsc_khz);
    let c = match vmx::enable(page().unwrap()) {
        Ok(c) => c,
        Err(e) => crate::console::die!("{e}"),
    };
    say!("{c:x?}");
    let ept = Ept::new(&mut page).unwrap();
    let code = page().unwrap();
    let mut m = crate::machine::Direct;
    m.write(code, &[0xb8, 0x2a, 0, 0, 0, 0x0f, 0x01, 0xc1, 0xfb, 0xeb, 0xfe]);
    ept.map(
        &mut m,
        &mut page,
        0x100,
        Leaf { mfn: code >> 12, flags: ept::ALL | ept::WRITE_BACK, kind: 0 },
    )
    .unwrap();
    let io = page().unwrap();
    page();
    let shared = Shared { ept: ept.pointer(), io_bitmaps: io, msr_bitmap: page().unwrap() };
    let mut v = Vcpu::new(page().unwrap(), 1);
    crate::machine::Direct.write(v.vmcs(), &c.revision.to_le_bytes());
    v.start(&c, &shared, Start::Pvh { entry: 0x10_0000, start_info: 77 });
    v.switch_in(&c);
    apic.set_deadline(Some(hypervisor::bare::cpu::rdtsc() + 1000000));
    for _ in 0..3 {
        let ok = v.enter();
        let reason = vmx::read(field::EXIT_REASON);
        say!(
            "enter {ok} error {} exit {reason:#x} {} rip {:#x} rax {:#x} info {:#x} qual {:#x}",
            vmx::read(field::INSTRUCTION_ERROR),
            exit::name(reason as u16),
            vmx::read(field::GUEST_RIP),
            v.gpr(0),
            vmx::read(field::EXIT_INTERRUPTION_INFO),
            vmx::read(field::EXIT_QUALIFICATION)
        );
        if reason == 18 {
            vmx::write(field::GUEST_RIP, vmx::read(field::GUEST_RIP) + 3);
        } else {
            break;
        }
    }
    v.switch_out(&c);
    vmx::clear(v.vmcs());
    apic.eoi();
    apic.set_deadline(Some(hypervisor::bare::cpu::rdtsc() + 1000000));
    say!("idle {:#x}", crate::traps::idle());
}
