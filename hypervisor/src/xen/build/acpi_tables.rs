//! ACPI tables: a domU's own, and dom0's copy of the platform's with a MADT of its own.
//!
//! ACPI specification 6.x, "ACPI System Description Tables"; a domU is a hardware-reduced
//! platform: no PM timer, no SCI, a sleep control register for S5 and a reset register.

use super::super::devices::{RESET_PORT, RESET_VALUE, SLEEP_PORT, SLEEP_TYPE_S5};
use super::super::{vioapic, vlapic, vuart};
use super::BuildError;
use alloc::vec::Vec;

/// A table's header.
pub const HEADER: usize = 36;
/// No table of a real machine is larger; a bogus length is refused.
const MAX_TABLE: usize = 1 << 20;
/// More tables than an XSDT has.
const MAX_TABLES: usize = 128;

/// Tables laid out one after another from a physical address.
#[derive(Debug, Clone)]
pub struct Tables {
    base: u64,
    /// The bytes from the base address on.
    pub bytes: Vec<u8>,
}

impl Tables {
    /// An empty list of tables from `base` on.
    pub fn new(base: u64) -> Self {
        Self { base, bytes: Vec::new() }
    }

    /// Appends a finished table at a multiple of 16; yields its address.
    fn push(&mut self, table: &[u8]) -> u64 {
        let at = self.bytes.len().next_multiple_of(16);
        self.bytes.resize(at, 0);
        self.bytes.extend_from_slice(table);
        self.base + at as u64
    }

    /// Appends RSDP and XSDT naming `tables`; yields the RSDP's address.
    fn root(&mut self, tables: &[u64]) -> u64 {
        let entries: Vec<u8> = tables.iter().flat_map(|addr| addr.to_le_bytes()).collect();
        let xsdt = self.push(&table(b"XSDT", 1, &entries));
        self.push(&rsdp(xsdt))
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)).wrapping_neg()
}

/// A table with its header and checksum.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut table = Vec::with_capacity(HEADER + body.len());
    table.extend_from_slice(signature);
    table.extend_from_slice(&((HEADER + body.len()) as u32).to_le_bytes());
    table.extend_from_slice(&[revision, 0]);
    // OEM ID, OEM table ID, OEM revision, creator ID, creator revision.
    table.extend_from_slice(b"STRATASTRATAHV\x01\0\0\0STRA\x01\0\0\0");
    table.extend_from_slice(body);
    table[9] = checksum(&table);
    table
}

fn rsdp(xsdt: u64) -> [u8; 36] {
    let mut rsdp = [0; 36];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(b"STRATA");
    rsdp[15] = 2;
    rsdp[20..24].copy_from_slice(&36u32.to_le_bytes());
    rsdp[24..32].copy_from_slice(&xsdt.to_le_bytes());
    rsdp[8] = checksum(&rsdp[..20]);
    rsdp[32] = checksum(&rsdp);
    rsdp
}

/// A domU's tables; yields them and the RSDP's address.
pub fn domu(base: u64, vcpus: u32) -> (Tables, u64) {
    let mut tables = Tables::new(base);
    let dsdt = tables.push(&table(b"DSDT", 2, &domu_aml()));
    let fadt = tables.push(&table(b"FACP", 5, &reduced_fadt(dsdt)));
    let ioapic = ioapic_entry(vioapic::PAGE as u32);
    let madt = tables.push(&madt(vcpus, &[&ioapic]));
    let rsdp = tables.root(&[fadt, madt]);
    (tables, rsdp)
}

/// A MADT: a local APIC for each vCPU, then `others`. Flags 0: no 8259s.
fn madt(vcpus: u32, others: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&(vlapic::PAGE as u32).to_le_bytes());
    body.extend_from_slice(&0u32.to_le_bytes());
    for vcpu in 0..vcpus {
        // Processor UID = vCPU, APIC ID = 2 * vCPU, enabled.
        body.extend_from_slice(&[0, 8, vcpu as u8, (vcpu * 2) as u8, 1, 0, 0, 0]);
    }
    others.iter().for_each(|entry| body.extend_from_slice(entry));
    table(b"APIC", 4, &body)
}

fn ioapic_entry(address: u32) -> [u8; 12] {
    let mut entry = [1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    entry[4..8].copy_from_slice(&address.to_le_bytes());
    entry
}

/// A generic address: one 8-bit register in I/O space.
fn io_register(port: u16) -> [u8; 12] {
    let mut register = [1, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    register[4..6].copy_from_slice(&port.to_le_bytes());
    register
}

/// The body of a revision 5 FADT of a hardware-reduced platform.
fn reduced_fadt(dsdt: u64) -> Vec<u8> {
    const SIZE: usize = 268;
    // WBINVD works, reset register, hardware-reduced.
    const FLAGS: u32 = 1 | 1 << 10 | 1 << 20;
    // No VGA, no CMOS RTC, no 8042.
    const BOOT_ARCH: u16 = 1 << 2 | 1 << 5;
    let mut fadt = alloc::vec![0; SIZE];
    let mut put = |at: usize, bytes: &[u8]| fadt[at..at + bytes.len()].copy_from_slice(bytes);
    put(40, &(dsdt as u32).to_le_bytes());
    put(109, &BOOT_ARCH.to_le_bytes());
    put(112, &FLAGS.to_le_bytes());
    put(116, &io_register(RESET_PORT));
    put(128, &[RESET_VALUE]);
    put(140, &dsdt.to_le_bytes());
    put(244, &io_register(SLEEP_PORT));
    put(256, &io_register(SLEEP_PORT + 1));
    fadt.split_off(HEADER)
}

/// `_S5` and COM1, in AML (ACPI specification, "ACPI Machine Language").
fn domu_aml() -> Vec<u8> {
    let mut crs = Vec::new();
    // I/O 3F8h–3FFh, 16-bit decode.
    let [low, high] = vuart::BASE.to_le_bytes();
    crs.extend_from_slice(&[0x47, 1, low, high, low, high, 1, vuart::LEN as u8]);
    // Extended interrupt: consumer, edge, active high, exclusive.
    crs.extend_from_slice(&[0x89, 6, 0, 3, 1, vuart::GSI as u8, 0, 0, 0]);
    crs.extend_from_slice(&[0x79, 0]);
    let mut buffer = alloc::vec![0x0A, crs.len() as u8];
    buffer.extend_from_slice(&crs);
    let mut device = Vec::from(*b"COM1");
    // Name(_HID, EISAID("PNP0501")), Name(_UID, 0), Name(_STA, 0Fh), Name(_CRS, Buffer).
    device.extend_from_slice(b"\x08_HID\x0C\x41\xD0\x05\x01");
    device.extend_from_slice(b"\x08_UID\x00");
    device.extend_from_slice(b"\x08_STA\x0A\x0F");
    device.extend_from_slice(b"\x08_CRS");
    device.extend_from_slice(&package(&[0x11], &buffer));
    let mut scope = Vec::from(*b"\\_SB_");
    scope.extend_from_slice(&package(&[0x5B, 0x82], &device));
    let mut aml = Vec::from(*b"\x08_S5_");
    aml.extend_from_slice(&package(&[0x12], &[4, 0x0A, SLEEP_TYPE_S5, 0, 0, 0]));
    aml.extend_from_slice(&package(&[0x10], &scope));
    aml
}

/// An AML object with a package length, in its one- or two-byte form (up to 4095).
fn package(opcode: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::from(opcode);
    let short = body.len() + 1;
    if short < 64 {
        out.push(short as u8);
    } else {
        let long = body.len() + 2;
        out.extend_from_slice(&[0x40 | (long & 0xF) as u8, (long >> 4) as u8]);
    }
    out.extend_from_slice(body);
    out
}

/// TableMemory memory of the platform, where its firmware has left its tables.
pub trait TableMemory {
    /// Reads at a physical address; false if there is no memory.
    fn read(&self, addr: u64, buf: &mut [u8]) -> bool;
}

/// The platform's tables as far as dom0's builder takes them over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostTables {
    /// The tables dom0 keeps, by address.
    pub kept: Vec<u64>,
    /// The I/O APICs, interrupt overrides and NMI sources of the MADT, as they are.
    pub interrupts: Vec<Vec<u8>>,
}

/// The tables a PVH dom0 keeps; the DSDT and the FACS are named by the FADT. The HPET, SRAT, DMAR
/// and the like describe what dom0 does not own.
const KEPT: [&[u8; 4]; 9] =
    [b"FACP", b"SSDT", b"MCFG", b"SBST", b"SLIC", b"MSDM", b"WDAT", b"FPDT", b"S3PT"];

/// Reads the platform's tables from its RSDP.
pub fn host_tables(memory: &dyn TableMemory, rsdp: u64) -> Result<HostTables, BuildError> {
    let mut raw = [0; 36];
    let found = memory.read(rsdp, &mut raw) && raw[..8] == *b"RSD PTR ";
    if !found {
        return Err(BuildError::NoAcpi);
    }
    let long = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap_or_default());
    let short = u32::from_le_bytes(raw[16..20].try_into().unwrap_or_default());
    let (root, width) = match (raw[15], long(24)) {
        (2.., xsdt) if xsdt != 0 => (xsdt, 8),
        _ => (u64::from(short), 4),
    };
    let list = read_table(memory, root)?;
    let mut platform = HostTables::default();
    for entry in list[HEADER..].chunks_exact(width).take(MAX_TABLES) {
        let mut addr = [0; 8];
        addr[..width].copy_from_slice(entry);
        let addr = u64::from_le_bytes(addr);
        let table = read_table(memory, addr)?;
        if table[..4] == *b"APIC" {
            platform.interrupts = interrupt_entries(&table);
        } else if KEPT.iter().any(|kept| table[..4] == **kept) {
            platform.kept.push(addr);
        }
    }
    Ok(platform)
}

fn read_table(memory: &dyn TableMemory, addr: u64) -> Result<Vec<u8>, BuildError> {
    let mut header = [0; HEADER];
    if !memory.read(addr, &mut header) {
        return Err(BuildError::NoAcpi);
    }
    let len = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
    if !(HEADER..=MAX_TABLE).contains(&len) {
        return Err(BuildError::NoAcpi);
    }
    let mut table = alloc::vec![0; len];
    if memory.read(addr, &mut table) { Ok(table) } else { Err(BuildError::NoAcpi) }
}

/// The entries of types 1 (I/O APIC, the first one), 2 (override) and 3 (NMI source).
fn interrupt_entries(madt: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = madt.get(HEADER + 8..).unwrap_or_default();
    let (mut out, mut seen_ioapic) = (Vec::new(), false);
    while let [kind, len, ..] = *rest {
        let Some(entry) = rest.get(..len as usize).filter(|entry| entry.len() >= 2) else { break };
        match kind {
            1 if !seen_ioapic => {
                seen_ioapic = true;
                out.push(Vec::from(entry));
            }
            2 | 3 => out.push(Vec::from(entry)),
            _ => {}
        }
        rest = &rest[entry.len()..];
    }
    out
}

/// Dom0's RSDP, XSDT and MADT at `base`, beside the platform's other tables.
pub fn dom0(base: u64, vcpus: u32, platform: &HostTables) -> (Tables, u64) {
    let mut tables = Tables::new(base);
    let interrupts: Vec<&[u8]> = platform.interrupts.iter().map(Vec::as_slice).collect();
    let madt = tables.push(&madt(vcpus, &interrupts));
    let mut list = platform.kept.clone();
    list.push(madt);
    let rsdp = tables.root(&list);
    (tables, rsdp)
}
