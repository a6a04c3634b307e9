//! The registers that gdb sees: one description for all modes of the processor, so that gdb keeps its connection
//! when the guest changes mode. Names and types of the first four features are gdb's own.

use gdbstub::arch::{Arch, Registers as GdbRegisters};
use platform::machine::debugging::{Processor, State};
use std::fmt::Write;
use std::sync::LazyLock;

/// Names of the general-purpose registers, in gdb's order, with their numbers.
const GENERAL: [(&str, usize); 16] = [
    ("rax", 0),
    ("rbx", 3),
    ("rcx", 1),
    ("rdx", 2),
    ("rsi", 6),
    ("rdi", 7),
    ("rbp", 5),
    ("rsp", 4),
    ("r8", 8),
    ("r9", 9),
    ("r10", 10),
    ("r11", 11),
    ("r12", 12),
    ("r13", 13),
    ("r14", 14),
    ("r15", 15),
];

/// What a register is for gdb.
#[derive(Clone, Copy)]
enum Value {
    General(usize),
    Rip,
    Flags,
    St(usize),
    Xmm(usize),
    Upper(usize),
    /// The number of instructions of machine time.
    Icount,
    /// Anything else, of a processor.
    Other(fn(&Processor) -> u64),
}

/// A register in gdb's description.
struct Row {
    name: String,
    bits: usize,
    kind: &'static str,
    value: Value,
}

/// A feature of the description: its name, its own types, its registers.
struct Feature {
    name: &'static str,
    types: &'static str,
    rows: Vec<Row>,
}

fn row(name: impl Into<String>, bits: usize, kind: &'static str, value: Value) -> Row {
    Row { name: name.into(), bits, kind, value }
}

/// All registers, in gdb's order.
static FEATURES: LazyLock<Vec<Feature>> = LazyLock::new(|| {
    vec![
        Feature { name: "org.gnu.gdb.i386.core", types: FLAG_TYPES, rows: core() },
        Feature { name: "org.gnu.gdb.i386.sse", types: VECTOR_TYPES, rows: sse() },
        Feature { name: "org.gnu.gdb.i386.avx", types: "", rows: avx() },
        Feature { name: "org.gnu.gdb.i386.segments", types: "", rows: bases() },
        Feature { name: "org.strata.system", types: "", rows: system() },
    ]
});

const FLAG_TYPES: &str = r#"<flags id="i386_eflags" size="4">
<field name="CF" start="0" end="0"/><field name="" start="1" end="1"/><field name="PF" start="2" end="2"/>
<field name="AF" start="4" end="4"/><field name="ZF" start="6" end="6"/><field name="SF" start="7" end="7"/>
<field name="TF" start="8" end="8"/><field name="IF" start="9" end="9"/><field name="DF" start="10" end="10"/>
<field name="OF" start="11" end="11"/><field name="NT" start="14" end="14"/><field name="RF" start="16" end="16"/>
<field name="VM" start="17" end="17"/><field name="AC" start="18" end="18"/><field name="VIF" start="19" end="19"/>
<field name="VIP" start="20" end="20"/><field name="ID" start="21" end="21"/></flags>
"#;

const VECTOR_TYPES: &str = r#"<vector id="v8bf16" type="bfloat16" count="8"/>
<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>
<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
<union id="vec128"><field name="v8_bfloat16" type="v8bf16"/><field name="v4_float" type="v4f"/>
<field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>
<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/>
</union><flags id="i386_mxcsr" size="4"><field name="IE" start="0" end="0"/><field name="DE" start="1" end="1"/>
<field name="ZE" start="2" end="2"/><field name="OE" start="3" end="3"/><field name="UE" start="4" end="4"/>
<field name="PE" start="5" end="5"/><field name="DAZ" start="6" end="6"/><field name="IM" start="7" end="7"/>
<field name="DM" start="8" end="8"/><field name="ZM" start="9" end="9"/><field name="OM" start="10" end="10"/>
<field name="UM" start="11" end="11"/><field name="PM" start="12" end="12"/><field name="FZ" start="15" end="15"/>
</flags>
"#;

fn core() -> Vec<Row> {
    let kind = |name: &str| if matches!(name, "rsp" | "rbp") { "data_ptr" } else { "int64" };
    let mut rows: Vec<_> =
        GENERAL.iter().map(|&(name, n)| row(name, 64, kind(name), Value::General(n))).collect();
    rows.push(row("rip", 64, "code_ptr", Value::Rip));
    rows.push(row("eflags", 32, "i386_eflags", Value::Flags));
    let selector = |name, f| row(name, 32, "int32", Value::Other(f));
    rows.push(selector("cs", |p| p.state.sys.seg[1].selector.into()));
    rows.push(selector("ss", |p| p.state.sys.seg[2].selector.into()));
    rows.push(selector("ds", |p| p.state.sys.seg[3].selector.into()));
    rows.push(selector("es", |p| p.state.sys.seg[0].selector.into()));
    rows.push(selector("fs", |p| p.state.sys.seg[4].selector.into()));
    rows.push(selector("gs", |p| p.state.sys.seg[5].selector.into()));
    rows.extend((0..8).map(|n| row(format!("st{n}"), 80, "i387_ext", Value::St(n))));
    let float = |name, f| row(name, 32, "int\" group=\"float", Value::Other(f));
    rows.push(float("fctrl", |p| p.state.fpu.cw.into()));
    rows.push(float("fstat", |p| p.state.fpu.sw.get().into()));
    rows.push(float("ftag", full_tags));
    rows.push(float("fiseg", |_| 0));
    rows.push(float("fioff", |p| p.state.fpu.fip));
    rows.push(float("foseg", |_| 0));
    rows.push(float("fooff", |p| p.state.fpu.fdp));
    rows.push(float("fop", |p| p.state.fpu.fop.into()));
    rows
}

/// The x87 tag word, of two bits a register. SDM vol. 1, "x87 FPU Tag Word".
fn full_tags(p: &Processor) -> u64 {
    let fpu = &p.state.fpu;
    (0..8).fold(0, |word, n| {
        let value = fpu.r[n].value();
        let tag = match (fpu.tags() >> n & 1, value.se & 0x7fff, value.m) {
            (0, ..) => 3,
            (_, 0, 0) => 1,
            (_, 0 | 0x7fff, _) => 2,
            (_, _, m) if m >> 63 == 0 => 2,
            _ => 0,
        };
        word | tag << (2 * n)
    })
}

fn sse() -> Vec<Row> {
    let mut rows: Vec<_> =
        (0..16).map(|n| row(format!("xmm{n}"), 128, "vec128", Value::Xmm(n))).collect();
    let mxcsr = Value::Other(|p| p.state.fpu.mxcsr.into());
    rows.push(row("mxcsr", 32, "i386_mxcsr\" group=\"vector", mxcsr));
    rows
}

fn avx() -> Vec<Row> {
    (0..16).map(|n| row(format!("ymm{n}h"), 128, "uint128", Value::Upper(n))).collect()
}

fn bases() -> Vec<Row> {
    let base = |name, f| row(name, 64, "int64", Value::Other(f));
    vec![base("fs_base", |p| p.state.sys.seg[4].base), base("gs_base", |p| p.state.sys.seg[5].base)]
}

macro_rules! other {
    ($($name:literal = |$p:ident| $value:expr;)*) => {
        vec![$(row($name, 64, "int64\" group=\"system", Value::Other(|$p| $value))),*]
    };
}

/// Control, debug and model-specific registers, and what is hidden in segment registers.
#[rustfmt::skip]
fn system() -> Vec<Row> {
    let mut rows = vec![row("icount", 64, "int64\" group=\"system", Value::Icount)];
    rows.extend(other! {
        "cr0" = |p| p.state.sys.cr0;
        "cr2" = |p| p.state.sys.cr2;
        "cr3" = |p| p.state.sys.cr3;
        "cr4" = |p| p.state.sys.cr4;
        "cr8" = |p| u64::from(p.state.apic.tpr >> 4);
        "efer" = |p| p.state.sys.efer;
        "xcr0" = |p| p.state.sys.xcr0;
        "cpl" = |p| p.state.sys.cpl.into();
        "dr0" = |p| p.state.sys.dr[0];
        "dr1" = |p| p.state.sys.dr[1];
        "dr2" = |p| p.state.sys.dr[2];
        "dr3" = |p| p.state.sys.dr[3];
        "dr6" = |p| p.state.sys.dr6;
        "dr7" = |p| p.state.sys.dr7;
        "gdtr_base" = |p| p.state.sys.gdtr.base;
        "gdtr_limit" = |p| p.state.sys.gdtr.limit.into();
        "idtr_base" = |p| p.state.sys.idtr.base;
        "idtr_limit" = |p| p.state.sys.idtr.limit.into();
        "ldtr" = |p| p.state.sys.ldtr.selector.into();
        "ldtr_base" = |p| p.state.sys.ldtr.base;
        "tr" = |p| p.state.sys.tr.selector.into();
        "tr_base" = |p| p.state.sys.tr.base;
        "es_base" = |p| p.state.sys.seg[0].base;
        "cs_base" = |p| p.state.sys.seg[1].base;
        "ss_base" = |p| p.state.sys.seg[2].base;
        "ds_base" = |p| p.state.sys.seg[3].base;
        "star" = |p| p.state.sys.msr.star;
        "lstar" = |p| p.state.sys.msr.lstar;
        "cstar" = |p| p.state.sys.msr.cstar;
        "sfmask" = |p| p.state.sys.msr.sfmask;
        "kernel_gs_base" = |p| p.state.sys.msr.kernel_gs_base;
        "sysenter_cs" = |p| p.state.sys.msr.sysenter_cs;
        "sysenter_esp" = |p| p.state.sys.msr.sysenter_esp;
        "sysenter_eip" = |p| p.state.sys.msr.sysenter_eip;
        "tsc_aux" = |p| p.state.sys.msr.tsc_aux;
        "pat" = |p| p.state.sys.msr.pat;
        "apic_base" = |p| p.state.apic.base;
        "vmx_guest" = |p| p.state.vmx.guest.into();
        "vmcs" = |p| p.state.vmx.vmcs.address;
        "eptp" = |p| p.state.vmx.eptp().map_or(0, |pointer| pointer.0);
    });
    rows
}

impl Row {
    fn value(&self, p: &Processor, icount: u64) -> u128 {
        let fpu = &p.state.fpu;
        match self.value {
            Value::General(n) => p.state.regs[n].into(),
            Value::Rip => p.state.rip.into(),
            Value::Flags => p.rflags().into(),
            Value::St(n) => {
                let top = usize::from(fpu.sw.get() >> 11 & 7);
                let value = fpu.r[(top + n) & 7].value();
                u128::from(value.m) | u128::from(value.se) << 64
            }
            Value::Xmm(n) => fpu.xmm[n],
            Value::Upper(n) => fpu.upper[n],
            Value::Icount => icount.into(),
            Value::Other(f) => f(p).into(),
        }
    }
}

/// All registers of `p` as text, a line each.
pub(crate) fn text(p: &Processor, icount: u64) -> String {
    rows().fold(String::new(), |mut text, row| {
        _ = writeln!(text, "{:<16}{:#x}", row.name, row.value(p, icount));
        text
    })
}

/// The register `name` of `p`, its low 64 bits. None if there is no such register.
pub(crate) fn named(p: &Processor, icount: u64, name: &str) -> Option<u64> {
    rows().find(|row| row.name == name).map(|row| row.value(p, icount) as u64)
}

/// Whether there is a register `name`.
pub(crate) fn is_known(name: &str) -> bool {
    rows().any(|row| row.name == name)
}

fn rows() -> impl Iterator<Item = &'static Row> {
    FEATURES.iter().flat_map(|feature| &feature.rows)
}

/// Bytes of all registers.
static LENGTH: LazyLock<usize> = LazyLock::new(|| rows().map(|row| row.bits / 8).sum());

/// The registers of a processor, in gdb's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    rip: u64,
    bytes: Vec<u8>,
}

impl Default for Registers {
    fn default() -> Registers {
        Registers { rip: 0, bytes: vec![0; *LENGTH] }
    }
}

impl Registers {
    /// The registers of `p`, at machine time `icount`.
    pub(crate) fn of(p: &Processor, icount: u64) -> Registers {
        let bytes = rows()
            .flat_map(|row| row.value(p, icount).to_le_bytes().into_iter().take(row.bits / 8))
            .collect();
        Registers { rip: p.state.rip, bytes }
    }

    /// Gives `state`, which has the registers `old`, these ones. None if one is changed that cannot be.
    pub(crate) fn give(&self, old: &Registers, state: &mut State) -> Option<()> {
        let mut at = 0;
        for row in rows() {
            let bytes = at..at + row.bits / 8;
            at = bytes.end;
            let new = &self.bytes[bytes.clone()];
            if *new == old.bytes[bytes] {
                continue;
            }
            let mut value = [0; 16];
            value[..new.len()].copy_from_slice(new);
            let value = u128::from_le_bytes(value);
            match row.value {
                Value::General(n) => state.regs[n] = value as u64,
                Value::Rip => state.rip = value as u64,
                Value::Flags => state.flags.set(value as u64),
                Value::Xmm(n) => state.fpu.xmm[n] = value,
                Value::Upper(n) => state.fpu.upper[n] = value,
                Value::St(_) | Value::Icount | Value::Other(_) => return None,
            }
        }
        Some(())
    }
}

impl GdbRegisters for Registers {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.rip
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        self.bytes.iter().for_each(|byte| write_byte(Some(*byte)));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        if bytes.len() != *LENGTH {
            return Err(());
        }
        self.bytes = bytes.to_vec();
        Ok(())
    }
}

/// The description in gdb's form.
static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
    let mut xml = String::from(
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\
         <target version=\"1.0\"><architecture>i386:x86-64</architecture>\n",
    );
    for feature in FEATURES.iter() {
        _ = writeln!(xml, "<feature name=\"{}\">{}", feature.name, feature.types);
        for Row { name, bits, kind, .. } in &feature.rows {
            _ = writeln!(xml, "<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\"/>");
        }
        xml.push_str("</feature>\n");
    }
    xml + "</target>"
});

/// The processor in gdb's terms.
pub(crate) enum X86 {}

impl Arch for X86 {
    type Usize = u64;
    type Registers = Registers;
    type BreakpointKind = usize;
    type RegId = ();

    fn target_description_xml() -> Option<&'static str> {
        Some(&DESCRIPTION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// gdb's order: RIP is number 16, ST0 24, XMM0 40, each name once.
    #[test]
    fn order() {
        let names: Vec<&str> = rows().map(|row| row.name.as_str()).collect();
        let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
        assert_eq!(
            ["rip", "eflags", "st0", "fctrl", "xmm0", "mxcsr"].map(at),
            [16, 17, 24, 32, 40, 56]
        );
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        assert!(rows().all(|row| row.bits % 8 == 0));
        assert!(
            DESCRIPTION
                .contains("<reg name=\"efer\" bitsize=\"64\" type=\"int64\" group=\"system\"/>")
        );
    }
}
