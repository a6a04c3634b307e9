//! Linux bzImage by the 32-bit boot protocol: the protected-mode part is loaded at 1 MiB and entered
//! at its start with the boot parameters ("zero page") in ESI, as a boot loader without a BIOS does. An image whose
//! header has no 32-bit entry (`code32_start` is 0, as in iPXE) is entered in real mode.
//!
//! Linux, Documentation/arch/x86/boot.rst and zero-page.rst.

use crate::memory_map::{EXTENDED_BASE, MemoryMap};

use super::{
    BootError, BootFile, BootRequest, Entry, GuestMemory,
    layout::{CMDLINE_BASE, INFO_BASE, SETUP_BASE},
    request::{BootModule, with_nul},
};

/// Fields of the setup header: offsets in the file and in the boot parameters alike.
const SETUP_SECTS: u64 = 0x1f1;
/// Length of the protected-mode part in units of 16 bytes, rounded up.
const SYSSIZE: u64 = 0x1f4;
const JUMP_LENGTH: u64 = 0x201;
const MAGIC: u64 = 0x202;
pub(super) const VERSION: u64 = 0x206;
const TYPE_OF_LOADER: usize = 0x210;
const CODE32_START: u64 = 0x214;
const LOADFLAGS: u64 = 0x211;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const HEAP_END_PTR: usize = 0x224;
const CMD_LINE_PTR: usize = 0x228;
const INITRD_ADDR_MAX: u64 = 0x22c;
const RELOCATABLE: u64 = 0x234;
const CMDLINE_SIZE: u64 = 0x238;
const PREF_ADDRESS: u64 = 0x258;
const INIT_SIZE: u64 = 0x260;
/// Fields of the boot parameters.
const EXT_MEM_K: usize = 0x02;
const ACPI_RSDP_ADDR: usize = 0x70;
const ALT_MEM_K: usize = 0x1e0;
const E820_ENTRIES: usize = 0x1e8;
const E820_TABLE: usize = 0x2d0;
const PARAMS_SIZE: usize = 0x1000;

const LOADED_HIGH: u8 = 1;
const CAN_USE_HEAP: u8 = 1 << 7;
/// Most bytes of a real-mode part; its heap and its stack follow up to the top.
const SETUP_LIMIT: u64 = 0x8000;
const STACK_TOP: u16 = 0xe000;
/// The entry, in paragraphs from the start of the real-mode part.
const SETUP_ENTRY: u16 = 0x20;
/// "Undefined boot loader".
const LOADER_TYPE: u8 = 0xff;
const HDRS: u32 = u32::from_le_bytes(*b"HdrS");
/// Protocol 2.00, the first with a magic number.
const OLDEST: u16 = 0x200;
/// Protocol 2.02, the first with a pointer to the command line.
const WITH_CMD_LINE_PTR: u16 = 0x202;
/// Protocol 2.03, the first that says how high the initial ramdisk may lie.
const WITH_INITRD_ADDR_MAX: u16 = 0x203;
/// Protocol 2.04, the first with a length that can be trusted.
const WITH_SYSSIZE: u16 = 0x204;
/// Protocol 2.06, the first with a command line limit of its own.
const WITH_CMDLINE_SIZE: u16 = 0x206;
/// Protocol 2.10, the first that says how much memory the kernel takes.
const WITH_INIT_SIZE: u16 = 0x20a;
/// What holds before the fields are there.
const INITRD_ADDR_MAX_BEFORE: u64 = 0x37ff_ffff;
const CMDLINE_SIZE_BEFORE: u64 = 255;
/// Fields of the boot parameters by which old kernels find the command line: a magic number, and an offset
/// from the parameters.
const OLD_CMD_LINE_MAGIC: (usize, u16) = (0x20, 0xa33f);
const OLD_CMD_LINE_OFFSET: usize = 0x22;

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
    version: u16,
    /// Bytes that the protected-mode part has at least.
    least: u64,
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
    let code = kernel.slice(header.setup_end, size.max(header.least), "protected-mode kernel")?;
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
    put_sizes(&mut params, &request.map);
    let start = u64::from(kernel.u32(CODE32_START, "setup header")?);
    if start == 0 && header.version >= WITH_CMD_LINE_PTR {
        return load_setup(kernel, header.setup_end, &mut params, memory);
    }
    memory.write(INFO_BASE, &params)?;
    // Elsewhere than in the code it would be a hook of the loader's, which there is not.
    let inside = (EXTENDED_BASE..EXTENDED_BASE + size).contains(&start);
    let entry = if inside { start } else { EXTENDED_BASE };
    let entry = Entry { rsi: INFO_BASE, ..Entry::flat32(entry as u32) };
    entry.write_gdt(memory)?;
    Ok(entry)
}

/// Loads and enters the real-mode part of a kernel without a 32-bit entry; its header is that of `params`.
fn load_setup(
    kernel: &BootFile<'_>,
    size: u64,
    params: &mut [u8],
    memory: &mut dyn GuestMemory,
) -> Result<Entry, BootError> {
    if size > SETUP_LIMIT {
        let (found, accepted) = (size / 512 - 1, "at most 63, for a kernel without a 32-bit entry");
        return Err(kernel.bad_field("setup_sects", SETUP_SECTS, found, accepted));
    }
    params[LOADFLAGS as usize] |= CAN_USE_HEAP;
    put16(params, HEAP_END_PTR, STACK_TOP - 0x200);
    let header = SETUP_SECTS as usize..MAGIC as usize + usize::from(params[JUMP_LENGTH as usize]);
    memory.write(SETUP_BASE, kernel.slice(0, size, "real-mode kernel")?)?;
    memory.write(SETUP_BASE + header.start as u64, &params[header])?;
    let segment = (SETUP_BASE >> 4) as u16;
    Ok(Entry::real(segment, segment + SETUP_ENTRY, STACK_TOP))
}

impl Header {
    pub(super) fn read(kernel: &BootFile<'_>) -> Result<Self, BootError> {
        let what = "setup header";
        let version = kernel.u16(VERSION, what)?;
        if version < OLDEST {
            let accepted = "boot protocol 0x200 (2.00) or later";
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
        let field = |since: u16, at: u64, before: u64| {
            if version < since { Ok(before) } else { kernel.u32(at, what).map(u64::from) }
        };
        let paragraphs = field(WITH_SYSSIZE, SYSSIZE, 0)?;
        Ok(Self {
            setup_end: (sectors + 1) * 512,
            params,
            version,
            // The last paragraph may be short.
            least: (paragraphs * 16).saturating_sub(15).max(1),
            initrd_max: field(WITH_INITRD_ADDR_MAX, INITRD_ADDR_MAX, INITRD_ADDR_MAX_BEFORE)?,
            cmdline_max: field(WITH_CMDLINE_SIZE, CMDLINE_SIZE, CMDLINE_SIZE_BEFORE)?,
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
    if header.version >= WITH_CMD_LINE_PTR {
        put32(&mut header.params, CMD_LINE_PTR, CMDLINE_BASE as u32);
    } else {
        let (at, magic) = OLD_CMD_LINE_MAGIC;
        put16(&mut header.params, at, magic);
        put16(&mut header.params, OLD_CMD_LINE_OFFSET, (CMDLINE_BASE - INFO_BASE) as u16);
    }
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

/// The sizes of memory by which kernels go that read no ranges.
fn put_sizes(params: &mut [u8], map: &MemoryMap) {
    let kib = map.upper_kib();
    put16(params, EXT_MEM_K, kib.min(u16::MAX.into()) as u16);
    put32(params, ALT_MEM_K, kib);
}

fn put16(params: &mut [u8], at: usize, value: u16) {
    params[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn put32(params: &mut [u8], at: usize, value: u32) {
    params[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(params: &mut [u8], at: usize, value: u64) {
    params[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
