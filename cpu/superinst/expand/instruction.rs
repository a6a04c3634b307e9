//! Which type does an instruction of the tables of superinstructions.

use super::operand::{ANY, Form, Operand, Width};

/// The conditions by number.
const CONDITIONS: [&str; 16] =
    ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];
/// The x87's operations by number, see `cpu/src/isa/x87.rs`.
const X87: [&str; 6] = ["add", "mul", "sub", "subr", "div", "divr"];

/// An instruction, as an operation.
pub(super) struct Instruction {
    /// The type that does the instruction, by its Rust name.
    pub(super) name: String,
    /// What is known of the operands: destination, source, base, index, scale.
    pub(super) fields: [u8; 5],
    /// The slot, by its place in `fields`, that is the destination of the operation before.
    pub(super) link: Option<usize>,
    /// The text with slots in place of registers.
    pub(super) template: String,
}

/// What is written: prefixes, mnemonic, operands.
struct Text<'a> {
    /// `{nf}`: nobody reads the flags.
    no_flags: bool,
    /// `{load}`: the encoding whose destination is a register for certain.
    load: bool,
    mnemonic: &'a str,
    operands: Vec<Operand>,
}

/// A type and, of each operand, its slot: `d`, `s`, or `-` of what has none. Memory has its own.
type Typed = (String, &'static str);

/// The operation that `text` is.
pub(super) fn instruction(text: &str) -> Result<Instruction, String> {
    let i = read(text)?;
    let found = move_or_jump(&i).or_else(|| arithmetic(&i)).or_else(|| fused(&i));
    let found = found.or_else(|| vector(&i)).or_else(|| x87(&i));
    let (name, slots) = found.ok_or("no type does this")?;
    let mut fields = [ANY, ANY, ANY, ANY, 0];
    let mut link = None;
    let mut put = |slot: usize, register: super::operand::Register| {
        fields[slot] = register.place;
        if register.linked {
            link = Some(slot);
        }
    };
    for (operand, slot) in i.operands.iter().zip(slots.chars()) {
        match (*operand, slot) {
            (Operand::Register { register, .. }, 'd') => put(0, register),
            (Operand::Register { register, .. }, 's') => put(1, register),
            (Operand::Memory { base, index, .. }, _) => {
                put(2, base);
                put(3, index);
            }
            _ => {}
        }
    }
    for operand in &i.operands {
        if let Operand::Memory { scale, .. } = operand {
            fields[4] = *scale;
        }
    }
    Ok(Instruction { name, fields, link, template: template(text, &i, slots) })
}

fn read(text: &str) -> Result<Text<'_>, String> {
    let no_flags = text.starts_with("{nf} ");
    let rest = text.strip_prefix("{nf} ").unwrap_or(text);
    let load = rest.starts_with("{load} ");
    let rest = rest.strip_prefix("{load} ").unwrap_or(rest);
    let (mnemonic, operands) = rest.split_once(' ').unwrap_or((rest, ""));
    let operands = operands.split(", ").filter(|o| !o.is_empty());
    let operands: Result<_, String> = operands.map(Operand::read).collect();
    Ok(Text { no_flags, load, mnemonic, operands: operands? })
}

fn template(text: &str, i: &Text, slots: &str) -> String {
    let Some(at) = text.find(i.mnemonic) else { return String::new() };
    let head = &text[..at + i.mnemonic.len()];
    let literals = text[head.len()..].trim_start().split(", ");
    let operands = i.operands.iter().zip(slots.chars()).zip(literals);
    let operands: Vec<String> = operands
        .map(|((operand, slot), literal)| match slot {
            '-' => literal.to_owned(),
            slot => operand.template(slot),
        })
        .collect();
    if operands.is_empty() { head.to_owned() } else { format!("{head} {}", operands.join(", ")) }
}

/// The number of a condition that a mnemonic ends in after `stem`.
fn condition(mnemonic: &str, stem: &str) -> Option<usize> {
    let name = mnemonic.strip_prefix(stem)?;
    CONDITIONS.iter().position(|c| *c == name)
}

/// The type of a register or memory operand; a register is in `register`.
fn rm(operand: Operand, register: &'static str) -> Option<&'static str> {
    match operand {
        Operand::Register { width: Width::Xmm | Width::St, .. } => None,
        Operand::Register { .. } => Some(register),
        Operand::Memory { form, .. } => Some(match form {
            Form::Base => "Mb",
            Form::Index => "Mi",
            Form::General => "Mg",
        }),
        _ => None,
    }
}

/// The type of an address.
fn address(operand: Operand) -> Option<&'static str> {
    match operand {
        Operand::Memory { form: Form::Base, .. } => Some("Base"),
        Operand::Memory { form: Form::Index, .. } => Some("Index"),
        _ => None,
    }
}

fn width(operand: Operand) -> Option<Width> {
    match operand {
        Operand::Register { width, .. } => Some(width),
        Operand::Memory { width, .. } => width,
        _ => None,
    }
}

/// The width of both, which must be the same.
fn same(a: Operand, b: Operand) -> Option<&'static str> {
    let (a, b) = (width(a)?, width(b)?);
    (a == b).then(|| a.rust())
}

fn is_register(operand: Operand) -> bool {
    matches!(operand, Operand::Register { .. })
}

fn is_memory(operand: Operand) -> bool {
    matches!(operand, Operand::Memory { .. })
}

fn is_vector(operand: Operand) -> bool {
    matches!(operand, Operand::Register { width: Width::Xmm, .. })
}

/// Moves, the stack, and branches.
fn move_or_jump(i: &Text) -> Option<Typed> {
    let w = |o: Operand| width(o).map(Width::rust);
    match (i.mnemonic, i.operands[..].as_ref()) {
        ("mov", [a, Operand::Immediate]) => {
            Some((format!("MovRmImm<{}, {}>", rm(*a, "RegD")?, w(*a)?), "d-"))
        }
        ("mov", [a, b]) if is_memory(*b) || i.load => {
            Some((format!("MovRegRm<{}, {}>", rm(*b, "RegS")?, same(*a, *b)?), "ds"))
        }
        ("mov", [a, b]) => {
            Some((format!("MovRmReg<{}, {}>", rm(*a, "RegD")?, same(*a, *b)?), "ds"))
        }
        ("movzx" | "movsx" | "movsxd", [a, b]) if is_register(*a) => {
            let signed = i.mnemonic != "movzx";
            Some((format!("Extend<{}, {}, {}, {signed}>", rm(*b, "RegS")?, w(*a)?, w(*b)?), "ds"))
        }
        ("lea", [a, b]) => Some((format!("Lea<{}, {}>", address(*b)?, w(*a)?), "ds")),
        ("push", [a]) => Some((format!("Push<{}, {}>", rm(*a, "RegD")?, w(*a)?), "d")),
        ("pop", [a]) if is_register(*a) => Some((format!("PopReg<{}>", w(*a)?), "d")),
        ("bswap", [a]) => Some((format!("Bswap<{}>", w(*a)?), "d")),
        ("ret", []) => Some(("Ret<u64>".into(), "")),
        ("nop", []) => Some(("Nop".into(), "")),
        ("jmp", [Operand::SamePage]) => Some(("Jmp<false>".into(), "-")),
        ("jmp", [Operand::OtherPage]) => Some(("Jmp<true>".into(), "-")),
        ("call", [Operand::SamePage]) => Some(("Call<u64, false>".into(), "-")),
        ("call", [Operand::OtherPage]) => Some(("Call<u64, true>".into(), "-")),
        ("jmp", [a]) => Some((format!("JmpRm<{}, {}>", rm(*a, "RegD")?, w(*a)?), "d")),
        ("call", [a]) => Some((format!("CallRm<{}, {}>", rm(*a, "RegD")?, w(*a)?), "d")),
        _ => conditional(i),
    }
}

/// What depends on a condition.
fn conditional(i: &Text) -> Option<Typed> {
    match i.operands[..] {
        [Operand::SamePage] => Some((format!("Jcc<{}, false>", condition(i.mnemonic, "j")?), "-")),
        [Operand::OtherPage] => Some((format!("Jcc<{}, true>", condition(i.mnemonic, "j")?), "-")),
        [a] if width(a) == Some(Width::Byte) => {
            Some((format!("Set<{}, {}>", rm(a, "RegD")?, condition(i.mnemonic, "set")?), "d"))
        }
        [a, b] => {
            let cc = condition(i.mnemonic, "cmov")?;
            Some((format!("Cmov<{}, {}, {cc}>", rm(b, "RegS")?, same(a, b)?), "ds"))
        }
        _ => None,
    }
}

/// Integer arithmetic.
fn arithmetic(i: &Text) -> Option<Typed> {
    let (name, flags) = (i.mnemonic.to_uppercase(), !i.no_flags);
    match (i.mnemonic, &i.operands[..]) {
        ("add" | "or" | "adc" | "sbb" | "and" | "sub" | "xor" | "cmp" | "test", [a, b]) => match *b
        {
            Operand::Immediate => {
                let w = width(*a)?.rust();
                Some((format!("RmImm<{}, {w}, {name}, {flags}>", rm(*a, "RegD")?), "d-"))
            }
            b if is_memory(b) || i.load => {
                let w = same(*a, b)?;
                Some((format!("RegRm<{}, {w}, {name}, {flags}>", rm(b, "RegS")?), "ds"))
            }
            b => {
                let w = same(*a, b)?;
                Some((format!("RmReg<{}, {w}, {name}, {flags}>", rm(*a, "RegD")?), "ds"))
            }
        },
        ("inc" | "dec" | "neg", [a]) => Some((
            format!("Unary<{}, {}, {name}, {flags}>", rm(*a, "RegD")?, width(*a)?.rust()),
            "d",
        )),
        ("not", [a]) => {
            Some((format!("Unary<{}, {}, NOT, false>", rm(*a, "RegD")?, width(*a)?.rust()), "d"))
        }
        ("rol" | "ror" | "shl" | "shr" | "sar", [a, count]) => {
            let cl = match count {
                Operand::Immediate => false,
                Operand::Register { width: Width::Byte, register } if register.place == 8 => true,
                _ => return None,
            };
            let w = width(*a)?.rust();
            Some((format!("Shift<{}, {w}, {name}, {cl}, {flags}>", rm(*a, "RegD")?), "d-"))
        }
        ("imul", [a, b]) => {
            Some((format!("ImulRegRm<{}, {}, {flags}>", rm(*b, "RegS")?, same(*a, *b)?), "ds"))
        }
        _ => None,
    }
}

/// Arithmetic and the conditional branch after it, in one operation: `cmp+je`.
fn fused(i: &Text) -> Option<Typed> {
    let (stem, branch) = i.mnemonic.split_once('+')?;
    let (name, cc) = (stem.to_uppercase(), condition(branch, "j")?);
    let [a, b] = i.operands[..] else { return None };
    let (source, slots) = match b {
        Operand::Immediate if is_memory(a) => ("FromByte", "d-"),
        Operand::Immediate => ("FromDisp", "d-"),
        _ => ("FromReg", "ds"),
    };
    let w = if b == Operand::Immediate { width(a)?.rust() } else { same(a, b)? };
    match stem {
        "cmp" if is_memory(b) => {
            Some((format!("CompareLoad<{}, {w}, {cc}>", rm(b, "RegS")?), "ds"))
        }
        "cmp" | "test" => {
            Some((format!("Compare<{}, {source}, {w}, {name}, {cc}>", rm(a, "RegD")?), slots))
        }
        "add" | "sub" | "and" if is_register(a) => {
            Some((format!("Arithmetic<{source}, {w}, {name}, {cc}>"), slots))
        }
        _ => None,
    }
}

/// SSE.
fn vector(i: &Text) -> Option<Typed> {
    let [a, b] = i.operands[..] else { return None };
    match (i.mnemonic, address(a), address(b)) {
        ("movaps", None, None) => Some(("Binary<Xmm, Take>".into(), "ds")),
        ("movaps" | "movups", None, Some(m)) => {
            Some((format!("Binary<Full<{m}, {}>, Take>", i.mnemonic == "movaps"), "ds"))
        }
        ("movaps" | "movups", Some(m), None) => {
            Some((format!("StoreFull<{m}, {}>", i.mnemonic == "movaps"), "ds"))
        }
        ("movsd", None, Some(m)) => Some((format!("Binary<Narrow<{m}, u64>, Take>"), "ds")),
        ("movsd", Some(m), None) => Some((format!("StoreNarrow<{m}, Take, u64>"), "ds")),
        (mnemonic, None, source) if is_vector(a) => {
            let (stem, kind) = mnemonic.split_at_checked(mnemonic.len().checked_sub(2)?)?;
            let kind = match kind {
                "ps" if source.is_none() => "Packed<u32",
                "sd" => "Scalar<u64",
                _ => return None,
            };
            let operation = match stem {
                "add" => "Add",
                "sub" => "Sub",
                "mul" => "Mul",
                "div" => "Div",
                "max" => "Max",
                "sqrt" => "Sqrt",
                _ => return None,
            };
            let source = source.map_or("Xmm".into(), |m| format!("Narrow<{m}, u64>"));
            Some((format!("BinaryFp<{source}, {kind}, {operation}>>"), "ds"))
        }
        _ => None,
    }
}

/// The x87.
fn x87(i: &Text) -> Option<Typed> {
    match (i.mnemonic, &i.operands[..]) {
        ("fld", [a]) if is_register(*a) => return Some(("Fast<Duplicate>".into(), "d")),
        ("fxch", [_, _]) => return Some(("Fast<Exchange>".into(), "-s")),
        ("fcomip", [_, _]) => return Some(("Fast<Fcomi<true>>".into(), "--")),
        _ => {}
    }
    let name = i.mnemonic.strip_prefix('f')?;
    let (stem, pop) = name.strip_suffix('p').map_or((name, false), |stem| (stem, true));
    let op = X87.iter().position(|o| *o == stem)?;
    match i.operands[..] {
        [a] => {
            let w = width(a)?.rust();
            Some((format!("Fast<ArithM<Float<{w}>, {op}, {}>>", address(a)?), "d"))
        }
        [_, _] if pop => Some((format!("Fast<Arith<{op}, true, true>>"), "d-")),
        [_, _] => Some((format!("Fast<Arith<{op}, false, false>>"), "-s")),
        _ => None,
    }
}
