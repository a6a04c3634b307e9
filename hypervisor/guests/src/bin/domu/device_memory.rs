//! Accesses of every shape to where no memory is, and to the local APIC's page: the hypervisor answers as an empty
//! bus does, and as the APIC does.

#![expect(unsafe_code, reason = "the accesses are assembly")]

use core::arch::asm;

const NOWHERE: u64 = 0x7FFF_0000;
const APIC: u64 = 0xFEE0_0000;
const TPR: u64 = APIC + 0x80;
const SPURIOUS: u64 = APIC + 0xF0;
const ICR_HIGH: u64 = APIC + 0x310;
const LVT_ERROR: u64 = APIC + 0x370;

/// All shapes, one after the other.
pub(crate) fn use_devices() {
    read_modify_write();
    widths();
    strings();
    vectors();
    apic();
}

/// Nothing is stored, and what comes back is made of ones.
fn read_modify_write() {
    let (tested, set, zero, exchanged, added): (u8, u8, u8, u32, u16);
    // SAFETY: no memory is there.
    unsafe {
        asm!(
            "bt dword ptr [{at}], 5", "setc {tested}",
            "lock btr dword ptr [{at}], 7", "setc {set}",
            "and dword ptr [{at}], 0", "setz {zero}",
            at = in(reg) NOWHERE, tested = out(reg_byte) tested, set = out(reg_byte) set,
            zero = out(reg_byte) zero,
        );
        asm!(
            "xchg [{at}], {exchanged:e}", "lock xadd [{at}], {added:x}",
            at = in(reg) NOWHERE, exchanged = inout(reg) 0_u32 => exchanged,
            added = inout(reg) 9_u16 => added,
        );
    }
    assert_eq!((tested, set, zero, exchanged, added), (1, 1, 1, u32::MAX, u16::MAX));
}

/// 8 to 64 bits, and across two pages.
fn widths() {
    let (byte, word, long, extended, across): (u64, u64, u64, u64, u64);
    // SAFETY: no memory is there.
    unsafe {
        asm!(
            "mov {byte:l}, [{at} + 3]", "mov {word:x}, [{at} + 1]", "mov {long}, [{at} + 8]",
            "movsx {extended:e}, byte ptr [{at}]", "mov {across}, [{at} + 4092]",
            at = in(reg) NOWHERE, byte = inout(reg) 0_u64 => byte, word = inout(reg) 0_u64 => word,
            long = out(reg) long, extended = out(reg) extended, across = out(reg) across,
        );
    }
    let expected = (0xFF, 0xFFFF, u64::MAX, 0xFFFF_FFFF, u64::MAX);
    assert_eq!((byte, word, long, extended, across), expected);
}

/// From nowhere to memory, and to nowhere.
fn strings() {
    let mut copy = [0_u32; 8];
    let left: u64;
    // SAFETY: the array takes seven words; what goes to nowhere is lost.
    unsafe {
        asm!(
            "rep movsd",
            inout("rcx") 7_u64 => left, inout("rsi") NOWHERE + 4084 => _,
            inout("rdi") copy.as_mut_ptr() => _,
        );
        asm!("rep stosb", inout("rcx") 9_u64 => _, in("al") 0_u8, inout("rdi") NOWHERE => _);
    }
    assert_eq!((left, copy[6], copy[7]), (0, u32::MAX, 0));
}

/// SSE.
fn vectors() {
    let low: u64;
    // SAFETY: no memory is there.
    unsafe {
        asm!(
            "pxor {x}, {x}", "movups [{at}], {x}", "movups {x}, [{at}]", "movq {low}, {x}",
            at = in(reg) NOWHERE, x = out(xmm_reg) _, low = out(reg) low,
        );
    }
    assert_eq!(low, u64::MAX);
}

/// Registers of the local APIC, in xAPIC mode.
fn apic() {
    let read = |at: u64| -> u32 {
        // SAFETY: a register of the local APIC.
        unsafe { (at as *const u32).read_volatile() }
    };
    let vector: u8;
    // SAFETY: no interrupt comes of these registers.
    unsafe {
        asm!(
            "or dword ptr [{spurious}], 0x100", "mov byte ptr [{tpr}], 0x35",
            "mov dword ptr [{icr}], 0x02000000", "xor dword ptr [{icr}], 0x03000000",
            "mov dword ptr [{error}], 0x000100FE", "mov {vector}, byte ptr [{error}]",
            "lock btr dword ptr [{error}], 0",
            spurious = in(reg) SPURIOUS, tpr = in(reg) TPR, icr = in(reg) ICR_HIGH,
            error = in(reg) LVT_ERROR, vector = out(reg_byte) vector,
        );
    }
    assert_eq!([SPURIOUS, TPR, ICR_HIGH].map(read), [0x1FF, 0x35, 0x0100_0000]);
    assert_eq!((read(LVT_ERROR), vector), (0x0001_00FE, 0xFE));
}
