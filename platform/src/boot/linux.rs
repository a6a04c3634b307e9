//! Linux bzImage by the 32-bit boot protocol: the protected-mode part is loaded at 1 MiB and entered
//! at its start with the boot parameters ("zero page") in ESI, as a boot loader without a BIOS does.
//!
//! Linux, Documentation/arch/x86/boot.rst and zero-page.rst.

use crate::memory_map::{EXTENDED_BASE, MemoryMap};

use super::{
    BootError, BootFile, BootRequest, Entry, GuestMemory,
    layout::{CMDLINE_BASE, INFO_BASE},
    request::{BootModule, with_nul},
};

/// `__BOOT_CS` and `__BOOT_DS`.
const BOOT_CS: u16 = 0x10;
const BOOT_DS: u16 = 0x18;

/// Fields of the setup header: offsets in the file and in the boot parameters alike.
const SETUP_SECTS: u64 = 0x1f1;
/// Length of the protected-mode part in units of 16 bytes.
const SYSSIZE: u64 = 0x1f4;
const JUMP_LENGTH: u64 = 0x201;
const MAGIC: u64 = 0x202;
pub(super) const VERSION: u64 = 0x206;
const TYPE_OF_LOADER: usize = 0x210;
const LOADFLAGS: u64 = 0x211;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const CMD_LINE_PTR: usize = 0x228;
const INITRD_ADDR_MAX: u64 = 0x22c;
const RELOCATABLE: u64 = 0x234;
const CMDLINE_SIZE: u64 = 0x238;
const PREF_ADDRESS: u64 = 0x258;
const INIT_SIZE: u64 = 0x260;
/// Fields of the boot parameters.
const ACPI_RSDP_ADDR: usize = 0x70;
const E820_ENTRIES: usize = 0x1e8;
const E820_TABLE: usize = 0x2d0;
const PARAMS_SIZE: usize = 0x1000;

const LOADED_HIGH: u8 = 1;
/// "Undefined boot loader".
const LOADER_TYPE: u8 = 0xff;
const HDRS: u32 = u32::from_le_bytes(*b"HdrS");
/// Protocol 2.06, the first with a command line limit of its own.
const OLDEST: u16 = 0x206;
/// Protocol 2.10, the first that says how much memory the kernel takes.
const WITH_INIT_SIZE: u16 = 0x20a;

/// The file has a setup header.
pub(super) fn recognise(kernel: &[u8]) -> bool {
    kernel.get(MAGIC as usize..MAGIC as usize + 4) == Some(&HDRS.to_le_bytes())
}

/// What the setup header says.
pub(super) struct Header {
    /// File offset of the protected-mode part.
    pub(super) setup_end: u64,
    /// Boot parameters with the header copied in.
    params: Vec<u8>,
    initrd_max: u64,
    cmdline_max: u64,
    /// First address past the memory that the kernel takes before it reads the memory map.
    end: u64,
}

/// Loads the kernel, its initial ramdisk, command line and boot parameters.
pub(super) fn load(
    request: &BootRequest<'_>,
    memory: &mut dyn GuestMemory,
) -> Result<Entry, BootError> {
    let kernel = &request.kernel;
    let mut header = Header::read(kernel)?;
    let size = (kernel.bytes.len() as u64).saturating_sub(header.setup_end);
    let stated = u64::from(kernel.u32(SYSSIZE, "setup header")?) * 16;
    kernel.slice(header.setup_end, stated.max(1), "protected-mode kernel")?;
    let code = kernel.slice(header.setup_end, size, "protected-mode kernel")?;
    header.end = header.end.max(EXTENDED_BASE + size);
    if header.end > request.map.acpi_base() {
        return Err(request.no_room(kernel, "kernel", EXTENDED_BASE, header.end - EXTENDED_BASE));
    }
    memory.write(EXTENDED_BASE, code)?;
    load_cmdline(request, &mut header, memory)?;
    load_initrd(request, &mut header, memory)?;
    let mut params = header.params;
    params[TYPE_OF_LOADER] = LOADER_TYPE;
    put64(&mut params, ACPI_RSDP_ADDR, request.rsdp_address());
    put_e820(&mut params, &request.map);
    memory.write(INFO_BASE, &params)?;
    let entry = Entry { rsi: INFO_BASE, ..Entry::flat32(EXTENDED_BASE as u32, BOOT_CS, BOOT_DS) };
    entry.write_gdt(memory)?;
    Ok(entry)
}

impl Header {
    pub(super) fn read(kernel: &BootFile<'_>) -> Result<Self, BootError> {
        let what = "setup header";
        let version = kernel.u16(VERSION, what)?;
        if version < OLDEST {
            let accepted = "boot protocol 0x206 (2.06) or later";
            return Err(kernel.bad_field("version", VERSION, version.into(), accepted));
        }
        let flags = kernel.slice(LOADFLAGS, 1, what)?[0];
        if flags & LOADED_HIGH == 0 {
            let accepted = "bit 0 set (a bzImage, loaded at 1 MiB)";
            return Err(kernel.bad_field("loadflags", LOADFLAGS, flags.into(), accepted));
        }
        let end = MAGIC + u64::from(kernel.slice(JUMP_LENGTH, 1, what)?[0]);
        let mut params = vec![0; PARAMS_SIZE];
        params[SETUP_SECTS as usize..end as usize].copy_from_slice(kernel.slice(
            SETUP_SECTS,
            end - SETUP_SECTS,
            what,
        )?);
        let sectors = match kernel.slice(SETUP_SECTS, 1, what)?[0] {
            0 => 4,
            sectors => u64::from(sectors),
        };
        Ok(Self {
            setup_end: (sectors + 1) * 512,
            params,
            initrd_max: kernel.u32(INITRD_ADDR_MAX, what)?.into(),
            cmdline_max: kernel.u32(CMDLINE_SIZE, what)?.into(),
            end: kernel_end(kernel, version)?,
        })
    }
}

/// The end of the memory in which the kernel decompresses itself.
fn kernel_end(kernel: &BootFile<'_>, version: u16) -> Result<u64, BootError> {
    if version < WITH_INIT_SIZE {
        return Ok(0);
    }
    let what = "setup header";
    let preferred = kernel.u64(PREF_ADDRESS, what)?;
    let relocatable = kernel.slice(RELOCATABLE, 1, what)?[0] != 0;
    let base = if relocatable { preferred.max(EXTENDED_BASE) } else { preferred };
    Ok(base.saturating_add(kernel.u32(INIT_SIZE, what)?.into()))
}

fn load_cmdline(
    request: &BootRequest<'_>,
    header: &mut Header,
    memory: &mut dyn GuestMemory,
) -> Result<(), BootError> {
    let (length, limit) = (request.cmdline.len() as u64, header.cmdline_max);
    if length > limit {
        let (found, accepted) = (request.cmdline.len() + 1, limit as usize + 1);
        return Err(BootError::CommandLine { found, accepted });
    }
    memory.write(CMDLINE_BASE, &with_nul(request.cmdline))?;
    put32(&mut header.params, CMD_LINE_PTR, CMDLINE_BASE as u32);
    Ok(())
}

/// Puts the initial ramdisk as high as the kernel can reach.
fn load_initrd(
    request: &BootRequest<'_>,
    header: &mut Header,
    memory: &mut dyn GuestMemory,
) -> Result<(), BootError> {
    let [BootModule { file, .. }] = request.modules else {
        return match request.modules {
            [] => Ok(()),
            modules => Err(BootError::Modules {
                name: request.kernel.name.into(),
                found: modules.len(),
                accepted: 1,
            }),
        };
    };
    let size = file.bytes.len() as u64;
    let top = request.map.acpi_base().min(header.initrd_max.saturating_add(1));
    let base = top.saturating_sub(size) & !0xfff;
    if base < header.end {
        return Err(request.no_room(file, "initial ramdisk", header.end, size));
    }
    memory.write(base, file.bytes)?;
    put32(&mut header.params, RAMDISK_IMAGE, base as u32);
    put32(&mut header.params, RAMDISK_SIZE, size as u32);
    Ok(())
}

fn put_e820(params: &mut [u8], map: &MemoryMap) {
    let ranges = map.ranges();
    params[E820_ENTRIES] = ranges.len() as u8;
    for (index, range) in ranges.iter().enumerate() {
        let at = E820_TABLE + index * 20;
        put64(params, at, range.base);
        put64(params, at + 8, range.size);
        put32(params, at + 16, range.kind as u32);
    }
}

fn put32(params: &mut [u8], at: usize, value: u32) {
    params[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(params: &mut [u8], at: usize, value: u64) {
    params[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
