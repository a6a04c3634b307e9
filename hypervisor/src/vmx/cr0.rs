//! A guest's write to CR0, where the hypervisor owns some bits.
//! SDM vol. 3, "Control Registers" and "Initializing IA-32e Mode".

const PE: u64 = 1;
const ET: u64 = 1 << 4;
/// Numeric error: VMX operation wants it set.
pub const NE: u64 = 1 << 5;
const NW: u64 = 1 << 29;
const CD: u64 = 1 << 30;
const PG: u64 = 1 << 31;
/// Bits whose writes exit: the guest's caching mode must not become the machine's.
pub const OWNED: u64 = NE | NW | CD;
/// The bits that exist; writes to the other ones of the lower half are ignored.
const BITS: u64 = 0xE005_003F;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// The registers after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// CR0 in the processor.
    pub real: u64,
    /// CR0 in the guest's view.
    pub shadow: u64,
    /// EFER: LMA follows PG.
    pub efer: u64,
    /// Paging was turned on or off: cached translations are void.
    pub paging_changed: bool,
}

/// CR0 as the guest sees it, from the real one and the read shadow.
pub fn seen(real: u64, shadow: u64) -> u64 {
    real & !OWNED | shadow & OWNED
}

/// CR0 in the processor for a guest that sees `value`.
pub fn real(value: u64) -> u64 {
    value & !(CD | NW) | NE
}

/// Writes `value` over `old` (as the guest sees it); an error is #GP(0).
#[expect(clippy::result_unit_err, reason = "the one error is #GP(0)")]
pub fn write(old: u64, value: u64, cr4: u64, efer: u64) -> Result<Written, ()> {
    let shadow = value & BITS | ET;
    let (on, off) = (shadow & !old & PG != 0, old & !shadow & PG != 0);
    let long = efer & EFER_LME != 0;
    let bad = value >> 32 != 0
        || shadow & PG != 0 && shadow & PE == 0
        || shadow & NW != 0 && shadow & CD == 0
        || on && long && cr4 & CR4_PAE == 0;
    if bad {
        return Err(());
    }
    let efer = match (on, off) {
        (true, _) if long => efer | EFER_LMA,
        (_, true) => efer & !EFER_LMA,
        _ => efer,
    };
    Ok(Written { real: real(shadow), shadow, efer, paging_changed: on || off })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: u64, value: u64, efer: u64, expected: Result<(u64, u64), ()>) {
        let written = write(old, value, CR4_PAE, efer);
        assert_eq!(written.map(|w| (w.real, w.efer)), expected);
        if let Ok(w) = written {
            assert_eq!(seen(w.real, w.shadow), w.shadow);
        }
    }

    #[test]
    fn writes() {
        check(0x11, 0x31, 0, Ok((0x31, 0)));
        check(0x11, PE | CD | NW, 0, Ok((0x31, 0)));
        check(0x11, PG | PE, EFER_LME, Ok((PG | 0x31, EFER_LME | EFER_LMA)));
        check(PG | 0x11, PE, EFER_LME | EFER_LMA, Ok((0x31, EFER_LME)));
        check(0x11, PG | PE, 0, Ok((PG | 0x31, 0)));
        check(0x11, PE | 0xFFC0, 0, Ok((0x31, 0)));
    }

    #[test]
    fn faults() {
        check(0x11, PG, 0, Err(()));
        check(0x11, PE | NW, 0, Err(()));
        check(0x11, PE | 1 << 32, 0, Err(()));
        assert_eq!(write(0x11, PG | PE, 0, EFER_LME), Err(()));
    }
}
