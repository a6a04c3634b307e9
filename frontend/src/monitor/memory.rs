//! Memory as `x` and `xp` show it, and values as `print` does.

use platform::machine::Machine;
use std::fmt::Write;

/// Items that one command shows.
const MOST: u64 = 4096;

/// `/COUNT FORMAT SIZE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    count: u64,
    form: char,
    bytes: usize,
}

/// Splits a format off; what follows.
pub(super) fn format(text: &str) -> Result<(Format, &str), String> {
    let mut format = Format { count: 1, form: 'x', bytes: 4 };
    let Some(rest) = text.strip_prefix('/') else { return Ok((format, text)) };
    let (letters, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let digits = letters.find(|c: char| !c.is_ascii_digit()).unwrap_or(letters.len());
    if digits > 0 {
        format.count = letters[..digits].parse().map_err(|_| "the count is too large")?;
    }
    for letter in letters[digits..].chars() {
        match letter {
            'x' | 'd' | 'u' | 'o' | 'c' | 'i' => format.form = letter,
            'b' => format.bytes = 1,
            'h' => format.bytes = 2,
            'w' => format.bytes = 4,
            'g' => format.bytes = 8,
            _ => return Err(format!("invalid char in format: '{letter}'")),
        }
    }
    if format.count > MOST {
        return Err(format!("accepted are at most {MOST} items"));
    }
    Ok((format, rest.trim_start()))
}

/// A value in a format.
pub(super) fn value(format: Format, value: u64) -> String {
    let bits = format.bytes as u32 * 8;
    let value = value & u64::MAX >> (64 - bits);
    let signed = (value << (64 - bits)) as i64 >> (64 - bits);
    match format.form {
        'd' => signed.to_string(),
        'u' => value.to_string(),
        'o' => format!("0{value:o}"),
        'c' => match value as u8 {
            c @ b' '..=b'~' => format!("'{}'", c as char),
            c => format!("'\\x{c:02x}'"),
        },
        _ => format!("0x{value:0width$x}", width = format.bytes * 2),
    }
}

/// What `print` shows, which has no width.
pub(super) fn print(format: Format, number: u64) -> String {
    match format.form {
        'x' | 'i' => format!("{number:#x}"),
        _ => value(Format { bytes: 8, ..format }, number),
    }
}

/// Memory from `address` on: of the machine, or as `processor` has it mapped.
pub(super) fn dump(
    machine: &Machine,
    processor: Option<usize>,
    format: Format,
    address: u64,
) -> String {
    if format.form == 'i' {
        return code(machine, processor, format.count, address);
    }
    let a_line = match format.bytes {
        1 | 2 => 8,
        4 => 4,
        _ => 2,
    };
    let mut text = String::new();
    for n in 0..format.count {
        let at = address.wrapping_add(n * format.bytes as u64);
        if n % a_line == 0 {
            _ = write!(text, "{}{at:016x}:", if n == 0 { "" } else { "\n" });
        }
        let mut bytes = [0; 8];
        let there = match processor {
            Some(processor) => machine.read_linear(processor, at, &mut bytes[..format.bytes]),
            None => machine.read_physical(at, &mut bytes[..format.bytes]),
        };
        if !there {
            return text + " Cannot access memory\n";
        }
        _ = write!(text, " {}", value(format, u64::from_le_bytes(bytes)));
    }
    text + "\n"
}

fn code(machine: &Machine, processor: Option<usize>, count: u64, address: u64) -> String {
    let lines = machine.disassemble(processor, address, count.min(256) as usize);
    if lines.is_empty() {
        return format!("{address:016x}: Cannot access memory\n");
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let format = |count, form, bytes| Format { count, form, bytes };
        let check = |text, expect| assert_eq!(super::format(text), Ok(expect), "{text}");
        check("/8xb 0x10", (format(8, 'x', 1), "0x10"));
        check("/i $rip", (format(1, 'i', 4), "$rip"));
        check("0x10", (format(1, 'x', 4), "0x10"));
        check("/dg", (format(1, 'd', 8), ""));
        assert!(super::format("/5000x 0").is_err() && super::format("/q 0").is_err());
        assert!(super::format("/99999999999999999999x 0").is_err());
    }

    #[test]
    fn values() {
        let check = |form, bytes, number, expect: &str| {
            assert_eq!(value(Format { count: 1, form, bytes }, number), expect);
        };
        check('x', 4, 0x1_0000_00FF, "0x000000ff");
        check('d', 1, 0xFF, "-1");
        check('u', 2, 0xFFFF, "65535");
        check('o', 4, 8, "010");
        check('c', 1, b'a'.into(), "'a'");
        check('c', 1, 7, "'\\x07'");
        check('d', 8, u64::MAX, "-1");
    }
}
