//! The interrupt lines of a PC: ISA, and PCI's by the chipset's four links, to the controllers' inputs.
//! The 82371's routing and Xen's assignment of I/O APIC inputs to PCI devices.

/// Lines of PCI devices begin at this input of the I/O APIC.
const FIRST_PCI: u32 = 16;
/// The inputs of the I/O APIC.
pub const INPUTS: u32 = 48;
/// ISA lines.
const ISA: u8 = 16;
/// Timer and cascade never are a link's.
const NOT_ROUTABLE: u16 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 13;

/// Who drives an ISA line from within the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Internal {
    /// The clock's interrupt, line 8.
    Rtc = 8,
    /// The system control interrupt, line 9.
    Sci = 9,
}

/// The levels of all lines, and the routes of the links.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// ISA lines that the device model drives.
    isa: u16,
    /// ISA lines that the hypervisor's own devices drive.
    internal: u16,
    /// INTA to INTD of each device, a word each.
    intx: [u32; 4],
    /// The ISA line of each link; 0 is none.
    routes: [u8; 4],
}

/// The input of the I/O APIC of a PCI device's line.
fn gsi(device: u32, intx: u32) -> u32 {
    ((device * 4 + device / 8 + intx) & 31) + FIRST_PCI
}

fn link(device: u32, intx: u32) -> usize {
    ((device + intx) & 3) as usize
}

/// The numbers of the bits that are set.
pub(super) fn ones(mut word: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

fn set(word: &mut u16, bit: u8, level: bool) {
    *word = *word & !(1 << bit) | u16::from(level) << bit;
}

impl Lines {
    /// The device model drives an ISA line; false if there is no such line.
    pub fn set_isa(&mut self, line: u8, level: bool) -> bool {
        if line < ISA {
            set(&mut self.isa, line, level);
        }
        line < ISA
    }

    /// A device of the hypervisor drives its line.
    pub fn set_internal(&mut self, line: Internal, level: bool) {
        set(&mut self.internal, line as u8, level);
    }

    /// INTA to INTD (`intx` from 0) of a device of bus 0; false if there is no such line.
    pub fn set_intx(&mut self, device: u8, intx: u8, level: bool) -> bool {
        let Some(word) = self.intx.get_mut(usize::from(intx)).filter(|_| device < 32) else {
            return false;
        };
        *word = *word & !(1 << device) | u32::from(level) << device;
        true
    }

    /// The chipset leads a link to an ISA line, or with 0 to none; false if that cannot be.
    pub fn set_route(&mut self, link: u8, line: u8) -> bool {
        let routable = line == 0 || (line < ISA && NOT_ROUTABLE >> line & 1 == 0);
        match self.routes.get_mut(usize::from(link)).filter(|_| routable) {
            Some(route) => {
                *route = line;
                true
            }
            None => false,
        }
    }

    /// What the device model drives, as the records of an HVM context: PCI, ISA, routes.
    pub fn records(&self) -> ([u8; 16], [u8; 8], [u8; 8]) {
        let Self { isa, internal: _, intx, routes } = self;
        let wire = |at: u32| intx[at as usize % 4] >> (at / 4) & 1 != 0;
        let pci = (0..128).filter(|&at| wire(at)).fold(0_u128, |wires, at| wires | 1 << at);
        let [a, b, c, d] = *routes;
        (pci.to_le_bytes(), u64::from(*isa).to_le_bytes(), [a, b, c, d, 0, 0, 0, 0])
    }

    /// Takes a record of PCI's lines over.
    pub fn load_pci(&mut self, raw: [u8; 16]) {
        let wires = u128::from_le_bytes(raw);
        for at in 0..128_u32 {
            self.set_intx((at / 4) as u8, (at % 4) as u8, wires >> at & 1 != 0);
        }
    }

    /// Takes a record of ISA lines over.
    pub fn load_isa(&mut self, raw: [u8; 8]) {
        self.isa = u64::from_le_bytes(raw) as u16;
    }

    /// Takes a record of the links over; false if one cannot be routed so.
    pub fn load_routes(&mut self, raw: [u8; 8]) -> bool {
        (0..4).zip(raw).all(|(link, line)| self.set_route(link, line))
    }

    fn asserted(&self) -> impl Iterator<Item = (u32, u32)> {
        let lines = self.intx.iter().zip(0..);
        lines.flat_map(|(&word, intx)| ones(word.into()).map(move |device| (device, intx)))
    }

    /// The levels of the ISA lines, links included.
    pub fn isa(&self) -> u16 {
        let routed = self.asserted().map(|(device, intx)| self.routes[link(device, intx)]);
        let links = routed.filter(|&line| line != 0).fold(0, |word, line| word | 1 << line);
        self.isa | self.internal | links
    }

    /// The levels of the I/O APIC's inputs. ISA line 0 is at input 2.
    pub fn inputs(&self) -> u64 {
        let isa = u64::from(self.isa());
        let isa = isa & !5 | (isa & 1) << 2;
        self.asserted().fold(isa, |word, (device, intx)| word | 1 << gsi(device, intx))
    }
}

const _: () = assert!(FIRST_PCI + 32 == INPUTS, "each line of PCI has an input");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &Lines, isa: u16, inputs: u64) {
        assert_eq!((lines.isa(), lines.inputs()), (isa, inputs));
    }

    #[test]
    fn isa_lines() {
        let mut lines = Lines::default();
        assert!(lines.set_isa(0, true) && lines.set_isa(4, true) && !lines.set_isa(16, true));
        lines.set_internal(Internal::Sci, true);
        check(&lines, 0x211, 0x214);
        lines.set_isa(4, false);
        lines.set_internal(Internal::Sci, false);
        check(&lines, 1, 4);
    }

    #[test]
    fn survive_their_records() {
        let mut lines = Lines::default();
        lines.set_isa(4, true);
        lines.set_route(2, 5);
        lines.set_intx(31, 3, true);
        lines.set_intx(2, 0, true);
        let (pci, isa, routes) = lines.records();
        assert_eq!((pci[1], pci[15], isa[0], routes[2]), (1, 0x80, 0x10, 5));
        let mut copy = Lines::default();
        copy.load_pci(pci);
        copy.load_isa(isa);
        assert!(copy.load_routes(routes) && !copy.load_routes([16; 8]));
        check(&copy, lines.isa(), lines.inputs());
    }

    #[test]
    fn pci_lines() {
        let mut lines = Lines::default();
        assert!(lines.set_route(2, 5) && !lines.set_route(4, 5) && !lines.set_route(1, 2));
        // Device 2, INTA: link 2, input 24.
        assert!(lines.set_intx(2, 0, true) && !lines.set_intx(32, 0, true));
        assert!(!lines.set_intx(0, 4, true));
        check(&lines, 1 << 5, 1 << 5 | 1 << 24);
        // Device 1, INTB shares the link.
        lines.set_intx(1, 1, true);
        lines.set_intx(2, 0, false);
        check(&lines, 1 << 5, 1 << 5 | 1 << 21);
        lines.set_route(2, 0);
        check(&lines, 0, 1 << 21);
    }
}
