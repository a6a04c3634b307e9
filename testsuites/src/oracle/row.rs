//! A case with its outcome as a line of text: what `testsuites/vectors/` is made of.
//!
//! `FORM BITS BYTES SEED PAGE [s] [KEY=VALUE …] => VECTOR[:ERROR[:ADDRESS]] [KEY=VALUE …]`, numbers in
//! hexadecimal. The first list is what differs from [`base::state`] and [`base::data`] of the seeds,
//! the second what the instruction changed. `s`: TF is set. A key is a register of the state, see
//! [`fields`], or `m` and the offset of eight bytes of data.

use super::case::{Case, DATA_SIZE, Event, Mode, Outcome, Patch, St, State};
use super::{base, case};
use anyhow::{Context, Result, bail, ensure};
use std::fmt::Write as _;

/// The registers of a state with their keys: `r` general-purpose in encoding order, `ip`, `fl` flags,
/// `s` segment registers in encoding order, `b` bases of FS and GS, `mx` MXCSR, `cw` `sw` `tg` x87
/// control, status and tags, `f` ST (sign and exponent, then significand), `x` XMM, `y` the upper
/// halves of YMM.
pub fn fields(s: &State) -> Vec<(String, u128)> {
    let mut out = Vec::with_capacity(80);
    let mut list = |key: &str, values: &mut dyn Iterator<Item = u128>| {
        out.extend(values.enumerate().map(|(n, v)| (format!("{key}{n}"), v)));
    };
    list("r", &mut s.regs.iter().map(|v| *v as u128));
    list("s", &mut s.segs.iter().map(|v| *v as u128));
    list("b", &mut s.bases.iter().map(|v| *v as u128));
    list("f", &mut s.st.iter().map(|v| (v.se as u128) << 64 | v.m as u128));
    list("x", &mut s.xmm.iter().copied());
    list("y", &mut s.upper.iter().copied());
    let State { rip, flags, mxcsr, cw, sw, tags, .. } = *s;
    let single = [("mx", mxcsr as u64), ("cw", cw as u64), ("sw", sw as u64), ("tg", tags as u64)];
    let single = [("ip", rip), ("fl", flags)].into_iter().chain(single);
    out.extend(single.map(|(k, v)| (k.to_string(), v as u128)));
    out
}

/// Sets the register that [`fields`] calls `key`.
pub fn set(s: &mut State, key: &str, v: u128) -> Result<()> {
    let (name, number) = key.split_at(key.find(|c: char| c.is_ascii_digit()).unwrap_or(key.len()));
    let n: usize = if number.is_empty() { 0 } else { number.parse()? };
    let missing = || format!("no register {key}");
    let word = v as u64;
    match name {
        "r" => *s.regs.get_mut(n).with_context(missing)? = word,
        "s" => *s.segs.get_mut(n).with_context(missing)? = v as u16,
        "b" => *s.bases.get_mut(n).with_context(missing)? = word,
        "f" => *s.st.get_mut(n).with_context(missing)? = St { m: word, se: (v >> 64) as u16 },
        "x" => *s.xmm.get_mut(n).with_context(missing)? = v,
        "y" => *s.upper.get_mut(n).with_context(missing)? = v,
        "ip" => s.rip = word,
        "fl" => s.flags = word,
        "mx" => s.mxcsr = v as u32,
        "cw" => s.cw = v as u16,
        "sw" => s.sw = v as u16,
        "tg" => s.tags = v as u16,
        _ => bail!(missing()),
    }
    Ok(())
}

fn differing(from: &State, to: &State, out: &mut String) {
    for ((key, a), (_, b)) in fields(from).into_iter().zip(fields(to)) {
        if a != b {
            let _ = write!(out, " {key}={b:x}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex<const N: usize>(text: &str, fill: u8) -> Result<([u8; N], usize)> {
    ensure!(
        text.is_ascii() && text.len().is_multiple_of(2) && text.len() <= 2 * N,
        "bad bytes {text:?}"
    );
    let mut out = [fill; N];
    for (k, b) in out[..text.len() / 2].iter_mut().enumerate() {
        *b = u8::from_str_radix(&text[2 * k..2 * k + 2], 16)?;
    }
    Ok((out, text.len() / 2))
}

/// The line for `case` and what came of it; of the two seeds that it may be written with, its own and
/// the quiet one, the one that makes it shorter.
pub fn write(case: &Case, outcome: &Outcome) -> String {
    let quiet = Case { seed: 0, ..case.clone() };
    [case, &quiet].map(before).into_iter().min_by_key(String::len).unwrap_or_default()
        + &after(case, outcome)
}

fn before(case: &Case) -> String {
    let form = case.instruction().code();
    let code = hex(&case.code[..case.len as usize]);
    let (bits, seed, page) = (case.mode.bits(), case.seed, case.page);
    let mut out = format!("{form:?} {bits} {code} {seed:x} {page:x}");
    out += if case.step { " s" } else { "" };
    differing(&base::state(case.mode, seed), &case.state, &mut out);
    for p in &case.patches {
        let _ = write!(out, " m{:x}={}", p.at, hex(&p.bytes));
    }
    out
}

fn after(case: &Case, o: &Outcome) -> String {
    let mut out = format!(" => {:x}", o.event.vector);
    if o.event.error != 0 || o.event.address != 0 {
        let _ = write!(out, ":{:x}", o.event.error);
    }
    if o.event.address != 0 {
        let _ = write!(out, ":{:x}", o.event.address);
    }
    differing(&case.state, &o.state, &mut out);
    let was = case.data();
    for line in &o.lines {
        for (k, now) in line.bytes.chunks_exact(8).enumerate() {
            let at = line.at as usize + 8 * k;
            if was[at..at + 8] != *now {
                let _ = write!(out, " m{at:x}={}", hex(now));
            }
        }
    }
    out
}

/// The case and the outcome of a line.
pub fn read(line: &str) -> Result<(Case, Outcome)> {
    let (before, after) = line.split_once(" => ").context("no =>")?;
    let case = read_case(before)?;
    let outcome = read_outcome(&case, after)?;
    Ok((case, outcome))
}

fn read_case(text: &str) -> Result<Case> {
    let mut words = text.split(' ');
    let mut next = || words.next().context("too short");
    let (form, bits, code) = (next()?, next()?, next()?);
    let mode = Mode::ALL.into_iter().find(|m| m.bits().to_string() == bits).context("no mode")?;
    let (code, len) = unhex::<15>(code, 0xcc)?;
    let (seed, page) = (u64::from_str_radix(next()?, 16)?, u64::from_str_radix(next()?, 16)?);
    let mut case = Case::new(mode, code, seed, page);
    case.len = len as u8;
    for word in words {
        match word.split_once('=') {
            None if word == "s" => case.step = true,
            None => bail!("what is {word:?}"),
            Some((key, v)) => match key.strip_prefix('m').filter(|k| *k != "x") {
                Some(at) => case.patches.push(patch(at, v)?),
                None => set(&mut case.state, key, u128::from_str_radix(v, 16)?)?,
            },
        }
    }
    ensure!(format!("{:?}", case.instruction().code()) == form, "these bytes are not {form}");
    Ok(case)
}

fn patch(at: &str, bytes: &str) -> Result<Patch> {
    let at = u16::from_str_radix(at, 16)?;
    ensure!(at % 8 == 0 && (at as usize) < DATA_SIZE, "bad offset {at:x}");
    Ok(Patch { at, bytes: unhex::<8>(bytes, 0)?.0 })
}

fn read_outcome(case: &Case, text: &str) -> Result<Outcome> {
    let mut words = text.split(' ');
    let mut numbers = words.next().context("too short")?.split(':');
    let mut number = || numbers.next().map_or(Ok(0), |n| u64::from_str_radix(n, 16));
    let event = Event { vector: number()? as u8, error: number()? as u32, address: number()? };
    let mut state = case.state.clone();
    let was = case.data();
    let mut now = was.clone();
    for word in words {
        let (key, v) = word.split_once('=').with_context(|| format!("what is {word:?}"))?;
        match key.strip_prefix('m').filter(|k| *k != "x") {
            Some(at) => {
                let p = patch(at, v)?;
                now[p.at as usize..][..8].copy_from_slice(&p.bytes);
            }
            None => set(&mut state, key, u128::from_str_radix(v, 16)?)?,
        }
    }
    Ok(Outcome { event, state, lines: case::changes(&was, &now) })
}

#[cfg(test)]
mod tests {
    use super::super::case::{CODE, LINE, Line};
    use super::super::{Random, wild};
    use super::*;

    /// A line reads back as what it was written from.
    #[test]
    fn round_trip() {
        let r = &mut Random(7);
        for n in 0..500 {
            let case = wild::case(Mode::ALL[n % 3], n as u64 / 50, r);
            let event = Event { vector: 14, error: n as u32 & 1, address: r.word() };
            let mut state = base::state(case.mode, r.draw());
            state.rip = CODE;
            let mut bytes = [0; LINE];
            bytes[n % LINE] = 77;
            let mut now = case.data();
            now[128..192].copy_from_slice(&bytes);
            let lines: Vec<Line> = case::changes(&case.data(), &now);
            let outcome = Outcome { event, state, lines };
            let line = write(&case, &outcome);
            let (mut c, o) = read(&line).expect(&line);
            c.seed = case.seed;
            assert_eq!((c, o), (case, outcome), "{line}");
        }
    }
}
