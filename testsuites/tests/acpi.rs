//! The ACPI tables, read by ACPICA's compiler.

use platform::acpi;
use platform::board::OptionalDevice;
use platform::boot::{GuestMemory, MemoryError};
use platform::memory_map::MemoryMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use testsuites::outcome::{Needed, skip};

const SIZE: usize = 64 << 20;

/// Guest memory from address 0.
struct Memory(Vec<u8>);

impl GuestMemory for Memory {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let at = address as usize..address as usize + bytes.len();
        self.0[at].copy_from_slice(bytes);
        Ok(())
    }
}

impl Memory {
    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn table(&self, at: u64) -> Vec<u8> {
        let at = at as usize;
        let length = u32::from_le_bytes(self.0[at + 4..at + 8].try_into().unwrap());
        self.0[at..at + length as usize].to_vec()
    }

    /// The tables that the XSDT lists, and the DSDT, which the FADT names.
    fn tables(&self) -> Vec<Vec<u8>> {
        let at = self.u64(acpi::RSDP_ADDRESS as usize + 24) as usize;
        let listed = self.table(at as u64).len();
        let mut tables: Vec<_> =
            (36..listed).step_by(8).map(|entry| self.table(self.u64(at + entry))).collect();
        let fadt = tables.iter().find(|table| table.starts_with(b"FACP")).expect("a FADT");
        let dsdt = u64::from_le_bytes(fadt[140..148].try_into().unwrap());
        tables.push(self.table(dsdt));
        tables
    }
}

/// Disassembles `table`: what the compiler said, and the source.
fn disassembled(table: &[u8]) -> (String, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("acpi");
    fs::create_dir_all(&folder).needed("a folder");
    let path = folder.join(String::from_utf8_lossy(&table[..4]).as_ref()).with_extension("aml");
    fs::write(&path, table).needed("a file for the table");
    let run = Command::new("iasl").arg("-d").arg(&path).output().needed("iasl");
    let said = [run.stdout, run.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(run.status.success(), "{said}");
    (said, fs::read_to_string(path.with_extension("dsl")).needed("iasl's output"))
}

#[test]
fn iasl_accepts_every_table() {
    if Command::new("iasl").arg("-v").output().is_err() {
        return skip("iasl", "ACPICA's compiler is not installed (acpica-tools)");
    }
    let mut memory = Memory(vec![0; SIZE]);
    acpi::install(&MemoryMap::new(SIZE as u64), 2, &[OptionalDevice::Pvpanic], &mut memory)
        .unwrap();
    let tables = memory.tables();
    assert!(tables.len() > 2);
    for table in tables {
        let (said, source) = disassembled(&table);
        assert!(!said.contains("rror") && !said.contains("arning"), "{said}");
        assert!(!source.contains("Invalid") && !source.contains("Error"), "{source}");
    }
}
