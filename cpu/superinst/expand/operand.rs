//! Operands of the tables of superinstructions. The header of `exact.txt` has the grammar.

/// Any of the registers.
pub(super) const ANY: u8 = 0xff;
/// A register that is not pinned.
const OTHER: u8 = 0xfe;
/// No register in an address.
const NONE: u8 = 0x80;
/// The page that holds the block.
const PAGE: u8 = 0x88;

const QWORDS: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const DWORDS: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
const WORDS: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
const BYTES: [&str; 8] = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"];
const HIGH: [&str; 4] = ["ah", "ch", "dh", "bh"];

/// What a register or a word in memory holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Width {
    Byte,
    Word,
    Dword,
    Qword,
    Xmm,
    St,
}

impl Width {
    /// The Rust type of a word.
    pub(super) fn rust(self) -> &'static str {
        match self {
            Width::Byte => "u8",
            Width::Word => "u16",
            Width::Dword => "u32",
            _ => "u64",
        }
    }

    /// What the width is called in `reg8` and in templates.
    fn suffix(self) -> &'static str {
        match self {
            Width::Byte => "8",
            Width::Word => "16",
            Width::Dword => "32",
            Width::Qword => "64",
            Width::Xmm => "xmm",
            Width::St => "st",
        }
    }
}

/// A register, or what is known of one, by its place in the processor's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Register {
    pub(super) place: u8,
    /// Whether it is the destination of the operation before.
    pub(super) linked: bool,
}

/// The form of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// `[base]`
    Base,
    /// `[base+index]`
    Index,
    /// `seg:[base]`
    General,
}

/// An operand, or what the tables say of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operand {
    Register { width: Width, register: Register },
    Memory { width: Option<Width>, form: Form, base: Register, index: Register, scale: u8 },
    Immediate,
    SamePage,
    OtherPage,
}

impl Operand {
    /// The operand that `text` is.
    pub(super) fn read(text: &str) -> Result<Operand, String> {
        match text {
            "imm" => return Ok(Operand::Immediate),
            "same_page" => return Ok(Operand::SamePage),
            "other_page" => return Ok(Operand::OtherPage),
            _ => {}
        }
        if text.ends_with(']') {
            return memory(text);
        }
        let (linked, name) = linked(text);
        let (width, place) = register(name).ok_or_else(|| format!("{text:?} is no operand"))?;
        Ok(Operand::Register { width, register: Register { place, linked } })
    }

    /// The operand with slots of an operation (`d`, `s`, `b`, `x`) in place of registers; one that is no memory is
    /// in `slot`.
    pub(super) fn template(self, slot: char) -> String {
        match self {
            Operand::Register { width, .. } => format!("{{{slot}:{}}}", width.suffix()),
            Operand::Memory { width, form, .. } => {
                let size = match width {
                    None => "",
                    Some(Width::Byte) => "byte ",
                    Some(Width::Word) => "word ",
                    Some(Width::Dword) => "dword ",
                    Some(Width::Qword) => "qword ",
                    Some(_) => "xmmword ",
                };
                let address = match form {
                    Form::Base => "[{b:address}]",
                    Form::Index => "[{b:address}+{x:address}]",
                    Form::General => "seg:[{b:address}]",
                };
                format!("{size}{address}")
            }
            Operand::Immediate => "imm".into(),
            Operand::SamePage => "same_page".into(),
            Operand::OtherPage => "other_page".into(),
        }
    }
}

fn linked(text: &str) -> (bool, &str) {
    text.strip_prefix('=').map_or((false, text), |rest| (true, rest))
}

/// A register's width and place.
fn register(name: &str) -> Option<(Width, u8)> {
    let numbered = |prefix: &str, width: Width| {
        let n: u8 = name.strip_prefix(prefix)?.parse().ok().filter(|n| *n < 16)?;
        Some((width, 16 * n))
    };
    let general = |names: &[&str], suffix: &str, width: Width| {
        let k = names.iter().position(|n| *n == name);
        let k = k.or_else(|| {
            QWORDS[8..].iter().position(|q| format!("{q}{suffix}") == name).map(|k| k + 8)
        });
        Some((width, 8 * k? as u8))
    };
    let high = || HIGH.iter().position(|n| *n == name).map(|k| (Width::Byte, 8 * k as u8 + 1));
    general(&QWORDS[..8], "", Width::Qword)
        .or_else(|| general(&DWORDS, "d", Width::Dword))
        .or_else(|| general(&WORDS, "w", Width::Word))
        .or_else(|| general(&BYTES, "b", Width::Byte))
        .or_else(high)
        .or_else(|| numbered("xmm", Width::Xmm))
        .or_else(|| numbered("st", Width::St))
        .or_else(|| unknown(name))
}

/// A register of which the width alone is known, or that it is none of the pinned.
fn unknown(name: &str) -> Option<(Width, u8)> {
    let widths = [Width::Byte, Width::Word, Width::Dword, Width::Qword];
    let with = |prefix: &str, place: u8| {
        let suffix = name.strip_prefix(prefix)?;
        widths.into_iter().find(|w| w.suffix() == suffix).map(|w| (w, place))
    };
    match name {
        "xmm" => Some((Width::Xmm, ANY)),
        "st" => Some((Width::St, ANY)),
        _ => with("reg", ANY).or_else(|| with("other", OTHER)),
    }
}

/// A register of an address.
fn part(text: &str) -> Result<Register, String> {
    let (linked, name) = linked(text);
    let place = match name {
        "reg" => Some(ANY),
        "other" => Some(OTHER),
        "none" => Some(NONE),
        "rip" => Some(PAGE),
        _ => QWORDS.iter().position(|q| *q == name).map(|k| 8 * k as u8),
    };
    Ok(Register {
        place: place.ok_or_else(|| format!("{name:?} is no register of an address"))?,
        linked,
    })
}

/// `size [base+index*scale]`
fn memory(text: &str) -> Result<Operand, String> {
    let (before, inner) =
        text.trim_end_matches(']').split_once('[').ok_or("an address lacks its [")?;
    let (size, segment) = match before.strip_suffix("seg:") {
        Some(size) => (size.trim_end(), true),
        None => (before.trim_end(), false),
    };
    let width = match size {
        "" => None,
        "byte" => Some(Width::Byte),
        "word" => Some(Width::Word),
        "dword" => Some(Width::Dword),
        "qword" => Some(Width::Qword),
        "xmmword" => Some(Width::Xmm),
        _ => return Err(format!("{size:?} is no size")),
    };
    let mut index = Register { place: ANY, linked: false };
    let (mut scale, mut form) = (0, if segment { Form::General } else { Form::Base });
    let mut base = inner;
    if let Some((first, second)) = inner.split_once('+') {
        let (name, times) = second.split_once('*').unwrap_or((second, "0"));
        scale = times.parse().ok().filter(|n| [0, 1, 2, 4, 8].contains(n)).ok_or("no scale")?;
        (base, index) = (first, part(name)?);
        if segment {
            return Err("of an address with a segment the base alone is said".into());
        }
        form = Form::Index;
    }
    Ok(Operand::Memory { width, form, base: part(base)?, index, scale })
}
