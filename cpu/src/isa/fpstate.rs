//! FXSAVE, FXRSTOR and the XSAVE family; XCR0. SDM vol. 1, "Managing State Using the XSAVE Feature
//! Set".

use super::{Exec, Form, forms};
use crate::state::control::{CR0_EM, CR0_TS, CR4_OSXSAVE};
use crate::state::fpu::{F80, MXCSR_MASK, MXCSR_RESET};
use crate::state::{Fpu, gpr};
use crate::trap::Trap;
use crate::vmx::Cause;
use crate::{Cpu, feature};
use component::{AVX, SSE, X87};
use iced_x86::Instruction;
use mmu::AccessKind;

type Done = Result<(), Trap>;

/// State components.
pub(super) mod component {
    /// x87.
    pub(crate) const X87: u64 = 1;
    /// XMM registers and MXCSR.
    pub(crate) const SSE: u64 = 2;
    /// Upper halves of the YMM registers.
    pub(crate) const AVX: u64 = 4;
}

/// Bytes of the legacy region.
const LEGACY: usize = 512;
/// Offset of the extended region.
const EXTENDED: usize = 576;
/// Bytes of the AVX component.
const AVX_SIZE: usize = 256;
/// In XCOMP_BV: the compacted format.
const COMPACTED: u64 = 1 << 63;

/// Which part of the area an instruction form reaches.
#[derive(Clone, Copy)]
struct Form64 {
    /// 64-bit pointers (REX.W).
    wide: bool,
    /// XMM8 to XMM15 are there.
    all: bool,
}

fn put(area: &mut [u8], at: usize, v: &[u8]) {
    area[at..at + v.len()].copy_from_slice(v);
}

fn get64(area: &[u8], at: usize) -> u64 {
    area[at..at + 8].iter().rev().fold(0, |v, b| v << 8 | *b as u64)
}

fn get32(area: &[u8], at: usize) -> u32 {
    get64(area, at) as u32
}

fn save_x87(f: &Fpu, area: &mut [u8], form: Form64) {
    put(area, 0, &f.cw.to_le_bytes());
    put(area, 2, &f.sw.get().to_le_bytes());
    put(area, 4, &[f.tags(), 0]);
    put(area, 6, &f.fop.to_le_bytes());
    // Selectors are zero: CPUID says that they are deprecated (leaf 7, EBX bit 13).
    let cut = |v: u64| if form.wide { v } else { v as u32 as u64 };
    put(area, 8, &cut(f.fip).to_le_bytes());
    put(area, 16, &cut(f.fdp).to_le_bytes());
    for n in 0..8 {
        let v = f.st(n);
        put(area, 32 + 16 * n, &v.m.to_le_bytes());
        put(area, 40 + 16 * n, &(v.se as u64).to_le_bytes());
    }
}

fn load_x87(f: &mut Fpu, area: &[u8], form: Form64) {
    let word = |at| get32(area, at) as u16;
    f.set_cw(word(0));
    f.set_status_word(word(2));
    f.set_tags(area[4]);
    f.fop = word(6) & 0x7ff;
    let cut = |v: u64| if form.wide { v } else { v as u32 as u64 };
    f.fip = cut(get64(area, 8));
    f.fdp = cut(get64(area, 16));
    let top = f.top();
    for n in 0..8 {
        f.set_value(top + n, F80 { m: get64(area, 32 + 16 * n), se: word(40 + 16 * n) });
    }
}

fn save_mxcsr(f: &Fpu, area: &mut [u8]) {
    put(area, 24, &f.mxcsr.to_le_bytes());
    put(area, 28, &MXCSR_MASK.to_le_bytes());
}

fn save_vectors(regs: &[u128; 16], area: &mut [u8], at: usize, form: Form64) {
    let n = if form.all { 16 } else { 8 };
    for (k, v) in regs[..n].iter().enumerate() {
        put(area, at + 16 * k, &v.to_le_bytes());
    }
}

fn load_vectors(regs: &mut [u128; 16], area: &[u8], at: usize, form: Form64) {
    let n = if form.all { 16 } else { 8 };
    for (k, v) in regs[..n].iter_mut().enumerate() {
        let at = at + 16 * k;
        *v = (get64(area, at + 8) as u128) << 64 | get64(area, at) as u128;
    }
}

/// The MXCSR of an area. #GP(0) for reserved bits.
fn checked_mxcsr(area: &[u8]) -> Result<u32, Trap> {
    let v = get32(area, 24);
    if v & !MXCSR_MASK != 0 { Err(Trap::GP0) } else { Ok(v) }
}

impl Cpu {
    fn fx_address(
        &self,
        i: &Instruction,
        size: usize,
        align: u64,
        write: bool,
    ) -> Result<(usize, u64), Trap> {
        if self.state.sys.cr0 & (CR0_EM | CR0_TS) != 0 {
            return Err(Trap::NM);
        }
        if self.aligned_only() {
            self.check_alignment(i, 4)?;
        }
        self.aligned_operand(i, size, align, write)
    }
}

fn fxsave<const WIDE: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (s, la) = cpu.fx_address(i, LEGACY, 16, true)?;
    let form = Form64 { wide: WIDE, all: cpu.is_64() };
    let mut area = [0; 416];
    save_x87(&cpu.state.fpu, &mut area, form);
    save_mxcsr(&cpu.state.fpu, &mut area);
    save_vectors(&cpu.state.fpu.xmm, &mut area, 160, form);
    let size = if form.all { 416 } else { 288 };
    cpu.store_bytes(s, la, &area[..size])
}

fn fxrstor<const WIDE: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (s, la) = cpu.fx_address(i, LEGACY, 16, false)?;
    let form = Form64 { wide: WIDE, all: cpu.is_64() };
    let mut area = [0; LEGACY];
    cpu.load_bytes(s, la, &mut area)?;
    let mxcsr = checked_mxcsr(&area)?;
    load_x87(&mut cpu.state.fpu, &area, form);
    cpu.state.fpu.mxcsr = mxcsr;
    cpu.update_fallback();
    load_vectors(&mut cpu.state.fpu.xmm, &area, 160, form);
    Ok(())
}

impl Fpu {
    /// Components that are not in their initial state.
    pub fn in_use(&self) -> u64 {
        let mut initial = self.clone();
        initial.init_x87();
        initial.clear_values();
        let x87 = if *self == initial { 0 } else { X87 };
        let sse = if self.xmm == [0; 16] { 0 } else { SSE };
        let avx = if self.upper == [0; 16] { 0 } else { AVX };
        x87 | sse | avx
    }

    fn initialize(&mut self, components: u64, form: Form64) {
        if components & X87 != 0 {
            self.init_x87();
            self.clear_values();
        }
        let n = if form.all { 16 } else { 8 };
        if components & SSE != 0 {
            self.xmm[..n].fill(0);
        }
        if components & AVX != 0 {
            self.upper[..n].fill(0);
        }
    }
}

/// Which of the XSAVE family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Opt,
    Compact,
    Supervisor,
}

const PLAIN: u8 = 0;
const OPT: u8 = 1;
const COMPACT: u8 = 2;
const SUPERVISOR: u8 = 3;

const fn kind(k: u8) -> Kind {
    match k {
        PLAIN => Kind::Plain,
        OPT => Kind::Opt,
        COMPACT => Kind::Compact,
        _ => Kind::Supervisor,
    }
}

impl Cpu {
    /// Checks an instruction of the XSAVE family; the components that it asks for.
    fn xsave_request(&self, supervisor: bool) -> Result<u64, Trap> {
        if self.state.sys.cr4 & CR4_OSXSAVE == 0 {
            return Err(Trap::UD);
        }
        if self.state.sys.cr0 & CR0_TS != 0 {
            return Err(Trap::NM);
        }
        if supervisor && self.state.sys.cpl != 0 {
            return Err(Trap::GP0);
        }
        let asked = self.state.regs[gpr::RDX] << 32 | self.state.regs[gpr::RAX] as u32 as u64;
        Ok(asked & self.state.sys.xcr0)
    }

    /// Linear address of an XSAVE area, aligned.
    fn xsave_address(
        &self,
        i: &Instruction,
        size: usize,
        write: bool,
    ) -> Result<(usize, u64), Trap> {
        self.aligned_operand(i, size, 64, write)
    }
}

fn xsave<const KIND: u8, const WIDE: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let kind = kind(KIND);
    let compact = matches!(kind, Kind::Compact | Kind::Supervisor);
    let asked = cpu.xsave_request(kind == Kind::Supervisor)?;
    if kind == Kind::Supervisor {
        cpu.vmx_intercept(i, Cause::Xsaves)?;
    }
    let size = if asked & AVX != 0 { EXTENDED + AVX_SIZE } else { EXTENDED };
    let at = cpu.xsave_address(i, size, true)?;
    let form = Form64 { wide: WIDE, all: cpu.is_64() };
    let mut used = cpu.state.fpu.in_use();
    if compact && cpu.state.fpu.mxcsr != MXCSR_RESET {
        used |= SSE;
    }
    let mut area = vec![0; size];
    // What is not written stays as it is; what fails is a write.
    cpu.probe(at.0, at.1, size, AccessKind::Write)?;
    cpu.load_bytes(at.0, at.1, &mut area)?;
    let written = if kind == Kind::Plain { asked } else { asked & used };
    save_components(&cpu.state.fpu, &mut area, asked, written, form, compact);
    let old = if compact { 0 } else { get64(&area, LEGACY) & !asked };
    put(&mut area, LEGACY, &(old | asked & used).to_le_bytes());
    if compact {
        put(&mut area, LEGACY + 8, &(asked | COMPACTED).to_le_bytes());
    }
    cpu.store_bytes(at.0, at.1, &area)
}

fn save_components(
    f: &Fpu,
    area: &mut [u8],
    asked: u64,
    written: u64,
    form: Form64,
    compact: bool,
) {
    if written & X87 != 0 {
        save_x87(f, area, form);
    }
    let mxcsr = if compact { written & SSE } else { asked & (SSE | AVX) };
    if mxcsr != 0 {
        save_mxcsr(f, area);
    }
    if written & SSE != 0 {
        save_vectors(&f.xmm, area, 160, form);
    }
    if written & AVX != 0 {
        save_vectors(&f.upper, area, EXTENDED, form);
    }
}

fn xrstor<const SUPER: bool, const WIDE: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let asked = cpu.xsave_request(SUPER)?;
    if SUPER {
        cpu.vmx_intercept(i, Cause::Xrstors)?;
    }
    // Limits are checked for what is asked for, whatever the header says.
    let size = if asked & AVX != 0 { EXTENDED + AVX_SIZE } else { EXTENDED };
    let at = cpu.xsave_address(i, size, false)?;
    let form = Form64 { wide: WIDE, all: cpu.is_64() };
    let mut area = [0; EXTENDED + AVX_SIZE];
    cpu.load_bytes(at.0, at.1, &mut area[..EXTENDED])?;
    let (held, format) = (get64(&area, LEGACY), get64(&area, LEGACY + 8));
    let compact = format & COMPACTED != 0;
    let possible = if compact { format & !COMPACTED } else { cpu.state.sys.xcr0 };
    // Beyond XCOMP_BV the header is zero.
    let zeros = area[LEGACY + 16..LEGACY + if compact { 64 } else { 24 }].iter().all(|b| *b == 0);
    let legal = possible & !cpu.state.sys.xcr0 == 0 && held & !possible == 0 && zeros;
    if !legal || !compact && (format != 0 || SUPER) {
        return Err(Trap::GP0);
    }
    let loaded = asked & held;
    if loaded & AVX != 0 {
        let from = at.1.wrapping_add(EXTENDED as u64);
        cpu.load_bytes(at.0, from, &mut area[EXTENDED..])?;
    }
    let mxcsr = restored_mxcsr(&area, asked, loaded, compact)?;
    let f = &mut cpu.state.fpu;
    f.initialize(asked & !held, form);
    f.mxcsr = mxcsr.unwrap_or(f.mxcsr);
    if loaded & X87 != 0 {
        load_x87(f, &area, form);
    }
    if loaded & SSE != 0 {
        load_vectors(&mut f.xmm, &area, 160, form);
    }
    if loaded & AVX != 0 {
        load_vectors(&mut f.upper, &area, EXTENDED, form);
    }
    cpu.update_fallback();
    Ok(())
}

/// The MXCSR that XRSTOR loads, if it loads one. SDM vol. 1, "MXCSR" of "Operation of XRSTOR".
fn restored_mxcsr(
    area: &[u8],
    asked: u64,
    loaded: u64,
    compact: bool,
) -> Result<Option<u32>, Trap> {
    if compact {
        return Ok(match (asked & SSE != 0, loaded & SSE != 0) {
            (true, true) => Some(checked_mxcsr(area)?),
            (true, false) => Some(MXCSR_RESET),
            _ => None,
        });
    }
    if asked & (SSE | AVX) != 0 { Ok(Some(checked_mxcsr(area)?)) } else { Ok(None) }
}

fn xgetbv(cpu: &mut Cpu, _: &Instruction) -> Done {
    if cpu.state.sys.cr4 & CR4_OSXSAVE == 0 {
        return Err(Trap::UD);
    }
    let v = match cpu.state.regs[gpr::RCX] as u32 {
        0 => cpu.state.sys.xcr0,
        1 => cpu.state.sys.xcr0 & cpu.state.fpu.in_use(),
        _ => return Err(Trap::GP0),
    };
    cpu.state.regs[gpr::RAX] = v as u32 as u64;
    cpu.state.regs[gpr::RDX] = v >> 32;
    Ok(())
}

/// `XSETBV`: XCR0 alone, x87 always, AVX only with SSE. SDM vol. 2, "XSETBV".
fn xsetbv(cpu: &mut Cpu, i: &Instruction) -> Done {
    if cpu.state.sys.cr4 & CR4_OSXSAVE == 0 {
        return Err(Trap::UD);
    }
    if cpu.state.sys.cpl != 0 {
        return Err(Trap::GP0);
    }
    cpu.vmx_intercept(i, Cause::Xsetbv)?;
    let v = cpu.state.regs[gpr::RDX] << 32 | cpu.state.regs[gpr::RAX] as u32 as u64;
    let avx = if cpu.state.model.has(feature::AVX) { AVX } else { 0 };
    let index = cpu.state.regs[gpr::RCX] as u32;
    if index != 0 || v & !(X87 | SSE | avx) != 0 || v & X87 == 0 || v & (SSE | AVX) == AVX {
        return Err(Trap::GP0);
    }
    cpu.state.sys.xcr0 = v;
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Fxsave_m512byte => Exec::Function(fxsave::<false>);
    Fxsave64_m512byte => Exec::Function(fxsave::<true>);
    Fxrstor_m512byte => Exec::Function(fxrstor::<false>);
    Fxrstor64_m512byte => Exec::Function(fxrstor::<true>);
    Xsave_mem => Exec::Function(xsave::<PLAIN, false>);
    Xsave64_mem => Exec::Function(xsave::<PLAIN, true>);
    Xsaveopt_mem => Exec::Function(xsave::<OPT, false>);
    Xsaveopt64_mem => Exec::Function(xsave::<OPT, true>);
    Xsavec_mem => Exec::Function(xsave::<COMPACT, false>);
    Xsavec64_mem => Exec::Function(xsave::<COMPACT, true>);
    Xsaves_mem => Exec::Function(xsave::<SUPERVISOR, false>);
    Xsaves64_mem => Exec::Function(xsave::<SUPERVISOR, true>);
    Xrstor_mem => Exec::Function(xrstor::<false, false>);
    Xrstor64_mem => Exec::Function(xrstor::<false, true>);
    Xrstors_mem => Exec::Function(xrstor::<true, false>);
    Xrstors64_mem => Exec::Function(xrstor::<true, true>);
    Xgetbv => Exec::Function(xgetbv);
    Xsetbv => Exec::EndsBlock(xsetbv);
};
